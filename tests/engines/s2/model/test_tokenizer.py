import json
from pathlib import Path

import pytest

from fishs2.engines.s2.model.tokenizer import Tokenizer, load_tokenizer
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import TOKENIZER_FILE, cases


@pytest.mark.parametrize("case", cases("tokenizer_golden"), ids=lambda case: repr(case["text"]))
def test_ids_equal_the_official_ones(case: dict[str, object]) -> None:
    tokenizer = load_tokenizer(TOKENIZER_FILE)

    assert tokenizer.encode_protocol(str(case["text"])).tolist() == case["official_ids"]


def test_protocol_ids_are_found_by_content() -> None:
    tokenizer = load_tokenizer(TOKENIZER_FILE)

    assert tokenizer.end_id == 502
    assert (tokenizer.semantic_begin_id, tokenizer.semantic_end_id) == (512, 767)


def test_a_missing_or_foreign_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match=r"put the tokenizer.json of S2 Pro beside"):
        load_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(EngineUnavailableError, match="not a readable tokenizer"):
        Tokenizer("{}", file="tokenizer.json")
    foreign = TOKENIZER_FILE.read_text().replace("<|voice|>", "<|other|>")
    with pytest.raises(EngineUnavailableError, match="has no token"):
        Tokenizer(foreign, file="tokenizer.json")


def test_tokenizer_that_the_package_panics_at_is_refused() -> None:
    document = json.loads(TOKENIZER_FILE.read_text(encoding="utf-8"))
    # Longer than the tokens that it is cut off from.
    document["model"]["continuing_subword_prefix"] = "x" * 5_000

    with pytest.raises(EngineUnavailableError, match="not a readable tokenizer"):
        Tokenizer(json.dumps(document), file="tokenizer.json")
