import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fishs2.engines.s2.model.fast_ar import decode_codes, run_fast
from fishs2.engines.s2.model.generate import generate_columns, generate_frames
from fishs2.engines.s2.model.kv_cache import KvCache, allocate_kv_cache
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.prompt import (
    EncodedReference,
    Prompt,
    Turn,
    build_prompt,
    group_turns,
    split_turns,
)
from fishs2.engines.s2.model.sampler import keep_likely
from fishs2.engines.s2.model.slow_ar import run_slow
from fishs2.engines.s2.model.step import (
    DecodeStep,
    DualAr,
    UniformNumbers,
    describe_row,
    sampling_of,
)
from fishs2.engines.s2.model.tokenizer import load_tokenizer
from fishs2.errors import UserError
from tests.engines.s2.golden import GOLDEN, MODEL_FILE, TOKENIZER_FILE, arrays, load_ar
from tests.engines.s2.steps import KINDS, Kind, open_step

Codes = NDArray[np.int32]
GREEDY = GenerateParams(temperature=0, max_new_tokens=20)


def generate_as_official(
    ar: DualAr, prompt: Prompt, params: GenerateParams, *, step: DecodeStep
) -> Codes:
    """All columns that the official code computes, int32 [1 + K, F].

    A first end token does not stop it, and the end token is a column with meaningless codes; the
    official caller drops the last column whatever it is (spec 4.3).
    """
    columns: list[Codes] = []
    limit = params.max_new_tokens
    for frame in generate_columns(ar, prompt, params, max_frames=limit, step=step):
        columns.append(frame)
        if frame[0] == ar.end_id and len(columns) > 1:
            break
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def ar() -> DualAr:
    return load_ar()


def golden_prompt() -> np.ndarray:
    return arrays("lm_golden")["prompt"].astype(np.int32)


def given(numbers: np.ndarray) -> UniformNumbers:
    """Random numbers that the official code drew: [F, 1 + K]."""
    return lambda seeds, frames, num_draws: torch.from_numpy(numbers)[frames]


def fast_cache(ar: DualAr, *, num_rows: int) -> KvCache:
    cache = allocate_kv_cache(ar.config.fast, num_rows, 10, dtype=ar.dtype, device=ar.device)
    for each in (*cache.keys, *cache.values):
        each.fill_(float("nan"))
    return cache


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_equal_the_golden(ar: DualAr, kind: Kind) -> None:
    frames = list(generate_frames(ar, golden_prompt(), GREEDY, step=open_step(kind, ar)))

    np.testing.assert_array_equal(np.stack(frames, axis=1), arrays("lm_golden")["greedy_tokens"])


def test_float16_weights_give_their_golden_tokens() -> None:
    ar = load_ar(MODEL_FILE)

    frames = list(generate_frames(ar, golden_prompt(), GREEDY))

    golden = arrays("lm_golden_f16weights")["greedy_tokens"]
    np.testing.assert_array_equal(np.stack(frames, axis=1), golden)


def test_packing_leaves_plain_floats_as_they_are() -> None:
    ar = load_ar(MODEL_FILE, mode="packed")

    frames = list(generate_frames(ar, golden_prompt(), GREEDY))

    golden = arrays("lm_golden_f16weights")["greedy_tokens"]
    np.testing.assert_array_equal(np.stack(frames, axis=1), golden)


def test_teacher_forced_logits_equal_the_golden(ar: DualAr) -> None:
    golden = arrays("lm_golden")
    hidden = torch.from_numpy(golden["greedy_hidden_normed"])
    codes = torch.from_numpy(golden["greedy_tokens"][1:].T)  # [F, K]
    cache = fast_cache(ar, num_rows=20)

    inputs = torch.cat((hidden[:, None], ar.fast.embeddings(codes[:, :9])), dim=1)
    logits = run_fast(ar.fast, inputs, cache, start=0)

    np.testing.assert_allclose(logits, golden["greedy_fast_logits"], rtol=0, atol=2e-4)
    table = ar.slow.embeddings.rows(slice(0, 768))
    np.testing.assert_allclose(hidden @ table.T, golden["greedy_slow_logits"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", ["a", "b", "c"])
def test_sampled_tokens_equal_the_golden(ar: DualAr, run: str, kind: Kind) -> None:
    golden = arrays("lm_golden")
    temperature, top_p, top_k = golden[f"samp_{run}_params"]
    tokens = golden[f"samp_{run}_tokens"]
    params = GenerateParams(temperature, top_p, int(top_k), max_new_tokens=tokens.shape[1])

    step = open_step(kind, ar, numbers=given(golden["uniforms"]))
    columns = generate_as_official(ar, golden_prompt(), params, step=step)

    np.testing.assert_array_equal(columns, tokens)


@pytest.mark.parametrize("run", ["a", "b", "c"])
def test_fast_distributions_equal_the_golden(ar: DualAr, run: str) -> None:
    golden = arrays("lm_golden")
    temperature, top_p, top_k = golden[f"samp_{run}_params"]
    params = GenerateParams(temperature, top_p, int(top_k), max_new_tokens=40)
    columns = torch.from_numpy(golden[f"samp_{run}_tokens"].T)  # [F, 1 + K]
    prompt = torch.from_numpy(golden["prompt"].T)
    from_start = torch.cat((prompt, columns))[None].transpose(1, 2)
    cache = allocate_kv_cache(ar.config.slow, 1, 120, dtype=ar.dtype, device=ar.device)
    num_tokens = from_start.shape[2]
    hidden = run_slow(ar.slow, from_start, torch.arange(num_tokens)[None], cache, span=num_tokens)[
        0, 67:-1
    ]
    inputs = torch.cat((hidden[:, None], ar.fast.embeddings(columns[:, 1:10])), dim=1)
    logits = run_fast(ar.fast, inputs, fast_cache(ar, num_rows=len(hidden)), start=0)[:, 1:]
    row = describe_row(0, params, num_prompt=0, num_frames=0)
    sampling = sampling_of(torch.tensor([row] * len(hidden)), max_top_k=int(top_k))
    for codebook in range(9):
        kept = keep_likely(logits[:, codebook], sampling)
        probabilities = kept.spread(logits.shape[-1])
        golden_probabilities = golden[f"samp_{run}_probs_fast"][:, codebook]
        np.testing.assert_allclose(probabilities, golden_probabilities, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_stop_rules_of_the_official_code_are_reproduced(ar: DualAr, kind: Kind) -> None:
    golden = arrays("lm_golden_extra")
    temperature, top_p, top_k = golden["stop_params"]
    for name, limit in (("stop_mid", 40), ("stop_first", 6)):
        params = GenerateParams(temperature, top_p, int(top_k), max_new_tokens=limit)

        step = open_step(kind, ar, numbers=given(golden[f"{name}_uniforms"]))
        columns = generate_as_official(ar, golden_prompt(), params, step=step)

        np.testing.assert_array_equal(columns, golden[f"{name}_tokens"])


@pytest.mark.parametrize("kind", KINDS)
def test_our_stop_rules_keep_the_good_frames_only(ar: DualAr, kind: Kind) -> None:
    golden = arrays("lm_golden_extra")
    temperature, top_p, top_k = golden["stop_params"]
    params = GenerateParams(temperature, top_p, int(top_k), max_new_tokens=40)
    mid, first = (
        list(
            generate_frames(
                ar,
                golden_prompt(),
                params,
                step=open_step(kind, ar, numbers=given(golden[f"{name}_uniforms"])),
            )
        )
        for name in ("stop_mid", "stop_first")
    )

    np.testing.assert_array_equal(np.stack(mid, axis=1), golden["stop_mid_tokens"][:, :-1])
    assert first == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_waits_for_the_wanted_number_of_frames(ar: DualAr, kind: Kind) -> None:
    golden = arrays("lm_golden_extra")
    temperature, top_p, top_k = golden["stop_params"]
    params = GenerateParams(
        temperature, top_p, int(top_k), max_new_tokens=12, min_tokens_before_end=9
    )

    step = open_step(kind, ar, numbers=given(golden["stop_first_uniforms"]))
    frames = list(generate_frames(ar, golden_prompt(), params, step=step))

    assert len(frames) >= 9


def test_several_batches_with_history_equal_the_golden(ar: DualAr) -> None:
    golden = arrays("e2e_generate_long_golden")
    case = json.loads((GOLDEN / "e2e_generate_long_golden.json").read_text())
    prompts = arrays("prompts_golden")
    tokenizer = load_tokenizer(TOKENIZER_FILE)
    references = [
        EncodedReference(text, prompts[name].astype(np.int32))
        for text, name in zip(case["prompt_text"], case["prompt_codes"], strict=True)
    ]
    history: list[Turn] = []
    # The official code generates 8 and drops the last.
    params = GenerateParams(case["temperature"], case["top_p"], case["top_k"], max_new_tokens=7)
    batches = group_turns(split_turns(case["text"]), max_bytes=case["chunk_length"])

    for index, text in enumerate(batches):
        prompt = build_prompt(tokenizer, text, references=references, history=history)
        frames = np.stack(list(generate_frames(ar, prompt, params)), axis=1)
        np.testing.assert_array_equal(prompt, golden[f"prompt_{index}"])
        np.testing.assert_array_equal(frames[1:], golden[f"codes_{index}"])
        history.append(Turn(text, frames[1:]))
    assert len(history) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_is_the_same_alone_and_in_a_batch(ar: DualAr, kind: Kind) -> None:
    hidden = torch.randn(6, 64, generator=torch.Generator().manual_seed(5))
    rows = np.array(
        [
            describe_row(slot, GenerateParams(0.5 + slot / 10), num_prompt=9, num_frames=0)
            for slot in range(6)
        ]
    )

    def run(chosen: slice) -> np.ndarray:
        step = open_step(kind, ar, num_slots=6)
        step.tables.hidden[:6] = hidden
        return step.draw(rows[chosen])

    together = run(slice(0, 6))

    for row in range(6):
        np.testing.assert_array_equal(together[row : row + 1], run(slice(row, row + 1)))


def test_joint_first_pass_equals_one_position_at_a_time(ar: DualAr) -> None:
    hidden = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []

    def choose(codebook: int, logits: torch.Tensor) -> torch.Tensor:
        seen.append(logits)
        return logits.argmax(-1)

    codes = decode_codes(
        ar.fast, hidden, torch.tensor([7]), fast_cache(ar, num_rows=1), choose=choose
    )

    cache = fast_cache(ar, num_rows=1)
    run_fast(ar.fast, hidden[:, None], cache, start=0)
    for index in range(1, 10):
        x = ar.fast.embeddings(codes[:, index - 1])[:, None]
        alone = run_fast(ar.fast, x, cache, start=index)[:, 0]
        torch.testing.assert_close(seen[index - 1], alone, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_frames(ar: DualAr) -> None:
    def run(seed: int) -> np.ndarray:
        params = GenerateParams(1.0, 0.95, 50, seed=seed, max_new_tokens=6)
        return np.stack(list(generate_frames(ar, golden_prompt(), params)))

    assert np.array_equal(run(3), run(3))
    assert not np.array_equal(run(3), run(4))
    assert run(2**70 + 1).shape == run(-1).shape


def test_a_prompt_that_leaves_no_room_is_refused(ar: DualAr) -> None:
    prompt = np.zeros((11, 2500), np.int32)

    with pytest.raises(UserError, match="a prompt of 2500 tokens; the limit is 2048"):
        next(generate_frames(ar, prompt, GREEDY))


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 2.1), ("top_p", -0.1), ("top_k", 0), ("max_new_tokens", -1)],
)
def test_values_out_of_range_are_refused(ar: DualAr, name: str, value: Any) -> None:
    with pytest.raises(UserError, match=name):
        next(generate_frames(ar, golden_prompt(), GenerateParams(**{name: value})))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_of_any_size_are_folded(ar: DualAr, kind: Kind) -> None:
    def run(seed: int) -> np.ndarray:
        params = GenerateParams(1.0, 0.95, 50, seed=seed, max_new_tokens=3)
        return np.stack(
            list(generate_frames(ar, golden_prompt(), params, step=open_step(kind, ar)))
        )

    np.testing.assert_array_equal(run(2**64 + 5), run(5))
