from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fishs2.engines.s2.model.kv_cache import KvCache, allocate_kv_cache
from fishs2.engines.s2.model.layers import place
from fishs2.engines.s2.model.slow_ar import embed, prefill, run_slow, semantic_logits
from fishs2.engines.s2.model.step import DualAr
from tests.engines.s2.golden import MODEL_FILE, arrays, load_ar


@pytest.fixture(scope="module")
def ar() -> DualAr:
    return load_ar()


def prompt_tokens() -> Tensor:
    return torch.from_numpy(arrays("lm_golden")["prompt"])[None]


def poisoned_cache(ar: DualAr, *, num_rows: int = 1, num_positions: int = 100) -> KvCache:
    """A cache in which every entry is NaN until it is written."""
    cache = allocate_kv_cache(
        ar.config.slow, num_rows, num_positions, dtype=ar.dtype, device=ar.device
    )
    for each in (*cache.keys, *cache.values):
        each.fill_(float("nan"))
    return cache


def run_prompt(ar: DualAr, cache: KvCache) -> Tensor:
    """Hidden states of the whole golden prompt: [T, D]."""
    tokens = prompt_tokens()
    positions = torch.arange(tokens.shape[2])[None]
    return run_slow(ar.slow, tokens, positions, cache, span=tokens.shape[2])[0]


def all_logits(ar: DualAr, hidden: Tensor) -> Tensor:
    """Logits over the whole vocabulary, which the engine itself never computes."""
    table = ar.slow.embeddings.rows(slice(0, ar.config.vocab_size))
    return (hidden.to(table.dtype) @ table.T).float()


def test_rope_tables_equal_the_golden_ones(ar: DualAr) -> None:
    golden = arrays("lm_golden")

    np.testing.assert_array_equal(ar.slow.rope[:64], golden["rope_table_slow_first64"])
    np.testing.assert_array_equal(ar.fast.rope, golden["rope_table_fast"])


def test_prefill_equals_the_golden_layer_by_layer(ar: DualAr) -> None:
    golden, cache = arrays("lm_golden"), poisoned_cache(ar)
    tokens = prompt_tokens()
    x = embed(ar.slow, tokens)
    placement = place(torch.arange(68)[None], ar.slow.rope, span=68)
    first: Any = ar.slow.layers[0]

    q, k, _ = first.attention.project(first.attention_norm(x), placement.rope)
    outputs = []
    hidden = x
    for block, keys, values in zip(ar.slow.layers, cache.keys, cache.values, strict=True):
        hidden = block(hidden, placement, keys, values)
        outputs.append(hidden[0])

    np.testing.assert_allclose(x[0], golden["prefill_slow_input_embed"], atol=1e-6)
    np.testing.assert_allclose(q[0].transpose(0, 1), golden["prefill_l0_q_rope"], atol=1e-5)
    np.testing.assert_allclose(k[0].transpose(0, 1), golden["prefill_l0_k_rope"], atol=1e-5)
    np.testing.assert_allclose(outputs[0], golden["prefill_slow_layer0_out"], atol=1e-5)
    np.testing.assert_allclose(outputs[1], golden["prefill_slow_layer1_out"], atol=1e-5)


def test_prefill_logits_and_hidden_states_equal_the_golden_ones(ar: DualAr) -> None:
    golden = arrays("lm_golden")

    hidden = run_prompt(ar, poisoned_cache(ar))

    np.testing.assert_allclose(hidden, golden["prefill_hidden_normed"], rtol=0, atol=1e-4)
    logits = all_logits(ar, hidden)
    np.testing.assert_allclose(logits, golden["prefill_logits"], rtol=0, atol=1e-4)


def test_the_small_head_gives_the_logits_that_count(ar: DualAr) -> None:
    hidden = run_prompt(ar, poisoned_cache(ar))

    small = semantic_logits(ar.slow, hidden)

    whole = all_logits(ar, hidden)
    np.testing.assert_allclose(small[:, 0], whole[:, 502], atol=1e-5)
    np.testing.assert_allclose(small[:, 1:], whole[:, 512:768], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
def test_half_types_stay_near_the_golden_logits(dtype: torch.dtype) -> None:
    ar = load_ar(dtype=dtype)

    logits = all_logits(ar, run_prompt(ar, poisoned_cache(ar)))

    golden = arrays("lm_golden")["prefill_logits"]
    error = logits.numpy() - golden
    # Each rounding errs by at most `unit` of its value, and what it errs by reaches the logits in
    # about that proportion, as every layer begins with a norm. In series they are: the embedding;
    # per layer what goes in and out of four products with their matrices, the rotation, the
    # attention, the two factors of the gate; the head with what goes in and out. Which of them a
    # processor rounds, and in what order it adds, is its own affair: the count is the same.
    num_roundings = 1 + 2 * (4 * 3 + 1 + 1 + 2) + 3
    unit = torch.finfo(dtype).eps / 2
    # Errors that know nothing of each other add up as squares; if all agree, they add up plainly.
    assert np.sqrt(np.mean(error**2)) < np.sqrt(num_roundings) * unit * golden.std()
    assert np.abs(error).max() < num_roundings * unit * np.abs(golden).max()


def test_float16_weights_give_their_golden_logits() -> None:
    ar = load_ar(MODEL_FILE)

    logits = all_logits(ar, run_prompt(ar, poisoned_cache(ar)))

    golden = arrays("lm_golden_f16weights")["prefill_logits"]
    np.testing.assert_allclose(logits, golden, rtol=0, atol=1e-4)


@pytest.mark.parametrize("cut", [1, 20, 67])
def test_prefill_in_two_parts_equals_prefill_at_once(ar: DualAr, cut: int) -> None:
    tokens, cache = prompt_tokens(), poisoned_cache(ar)

    prefill(ar.slow, tokens[:, :, :cut], cache)
    hidden = prefill(ar.slow, tokens[:, :, cut:], cache, start=cut)

    whole = prefill(ar.slow, tokens, poisoned_cache(ar))
    torch.testing.assert_close(hidden, whole, atol=1e-5, rtol=0)


def test_decoding_token_by_token_equals_prefill(ar: DualAr) -> None:
    tokens, cache = prompt_tokens(), poisoned_cache(ar)
    whole = run_prompt(ar, poisoned_cache(ar))

    for index in range(tokens.shape[2]):
        piece = tokens[:, :, index : index + 1]
        hidden = run_slow(ar.slow, piece, torch.tensor([[index]]), cache, span=index + 1)
        torch.testing.assert_close(hidden[0, 0], whole[index], atol=1e-5, rtol=0)


def test_rows_of_other_lengths_do_not_touch_each_other(ar: DualAr) -> None:
    tokens = prompt_tokens()
    lengths = [5, 40, 23]
    cache = poisoned_cache(ar, num_rows=3)
    for row, length in enumerate(lengths):
        prefill(ar.slow, tokens[:, :, :length], cache.rows(row, row + 1))
    step = torch.cat([tokens[:, :, length : length + 1] for length in lengths])

    positions = torch.tensor(lengths)[:, None]
    together = run_slow(ar.slow, step, positions, cache, span=max(lengths) + 1)

    for row, length in enumerate(lengths):
        alone_cache = poisoned_cache(ar)
        prefill(ar.slow, tokens[:, :, :length], alone_cache)
        alone = run_slow(
            ar.slow, step[row : row + 1], positions[row : row + 1], alone_cache, span=length + 1
        )
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


def test_a_used_row_equals_a_fresh_one(ar: DualAr) -> None:
    tokens, used = prompt_tokens(), poisoned_cache(ar)
    prefill(ar.slow, tokens, used)

    again = prefill(ar.slow, tokens[:, :, 3:30], used)

    fresh = prefill(ar.slow, tokens[:, :, 3:30], poisoned_cache(ar))
    assert torch.equal(again, fresh)
