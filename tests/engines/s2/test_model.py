import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fishs2.engines.s2.model import ModelFiles, Precision, load_codec, load_model
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import (
    CODEC_CONFIG,
    CODEC_FILE,
    GOLDEN,
    MODEL_FILES,
    TOKENIZER_FILE,
)


def test_a_whole_model_loads_and_every_byte_is_counted() -> None:
    num_bytes: list[int] = []

    model = load_model(MODEL_FILES, Precision(), on_progress=num_bytes.append)

    assert model.ar.config.slow.head_dim == 16
    assert len(num_bytes) == 367
    total = sum(each.numel() for each in model.codec.parameters())
    assert total == sum(torch.Size(shape).numel() for shape in json_shapes(GOLDEN / "codec_tiny"))


def json_shapes(folder: Path) -> list[list[int]]:
    """Shapes in the golden codec file, the gains of weight norm left out."""
    raw = (folder / "codec.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return [
        entry["shape"]
        for name, entry in header.items()
        if name != "__metadata__" and not name.endswith(("original0", "weight_g"))
    ]


def test_the_codec_loads_alone() -> None:
    codec = load_codec(ModelFiles(CODEC_FILE, codec_config=CODEC_CONFIG))

    assert codec.config.samples_per_frame == 2048


def test_a_codec_of_another_size_is_refused_by_shape() -> None:
    with pytest.raises(EngineUnavailableError, match="codebooks, the first of 4096; the model"):
        load_model(replace(MODEL_FILES, codec_config=None), Precision())


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    foreign = TOKENIZER_FILE.read_text().replace("<|semantic:255|>", "<|semantic:other|>")
    (tmp_path / "tokenizer.json").write_text(foreign)

    with pytest.raises(EngineUnavailableError, match="semantic ids 512 to 766; the model expects"):
        load_model(replace(MODEL_FILES, tokenizer=tmp_path / "tokenizer.json"), Precision())


def test_a_missing_tokenizer_says_where_it_belongs() -> None:
    with pytest.raises(EngineUnavailableError, match=r"put the tokenizer.json of S2 Pro beside"):
        load_model(replace(MODEL_FILES, tokenizer=None), Precision())
