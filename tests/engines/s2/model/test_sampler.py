import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fishs2.engines.s2.model.sampler import (
    END,
    NO_CODE,
    Kept,
    SamplingRows,
    draw,
    draw_semantic,
    keep_likely,
    philox,
    uniform_numbers,
)
from tests.engines.s2.golden import arrays


def rows(temperature: float, top_p: float, top_k: int, num_rows: int = 1) -> SamplingRows:
    return SamplingRows(
        torch.full((num_rows,), temperature, dtype=torch.float32),
        torch.full((num_rows,), top_p, dtype=torch.float32),
        torch.full((num_rows,), top_k),
        top_k,
    )


def test_filter_equals_the_golden_for_all_parameters() -> None:
    golden = arrays("lm_golden")
    seen: dict[int, int] = {}
    for source, temperature, top_p, top_k in golden["filter_params"]:
        number = seen.get(int(source), 0)
        seen[int(source)] = number + 1
        logits = torch.from_numpy(golden[f"filter_logits_{int(source)}"])[None]

        kept = keep_likely(logits, rows(temperature, top_p, int(top_k)))
        probabilities = kept.spread(logits.shape[1])

        np.testing.assert_allclose(
            probabilities[0], golden[f"filter_probs_{int(source)}_{number}"], rtol=0, atol=1e-6
        )
    assert sum(seen.values()) == 40


@pytest.mark.parametrize("run", ["a", "b", "c"])
def test_semantic_distributions_equal_the_golden(run: str) -> None:
    golden = arrays("lm_golden")
    temperature, top_p, top_k = golden[f"samp_{run}_params"]
    logits = torch.from_numpy(golden[f"samp_{run}_slow_logits"])
    counted = torch.cat((logits[:, 502:503], logits[:, 512:768]), dim=1)

    normal, freer = (
        keep_likely(counted, rows(values[0], values[1], int(top_k), len(counted))).spread(257)
        for values in ((temperature, top_p), (1.0, 0.9))
    )

    for ours, name in ((normal, "normal"), (freer, "high")):
        theirs = golden[f"samp_{run}_probs_{name}"]
        if name == "high":
            ours, theirs = ours[1:], theirs[1:]  # the official first frame draws once
        np.testing.assert_allclose(ours[:, 0], theirs[:, 502], rtol=0, atol=1e-5)
        np.testing.assert_allclose(ours[:, 1:], theirs[:, 512:], rtol=0, atol=1e-5)


def test_a_repeated_code_is_drawn_again_and_the_end_never_is() -> None:
    logits = torch.tensor([[0.0, 9.0, 8.9]])
    uniforms = torch.tensor([[0.1, 0.9]])
    fresh = torch.full((1, 10), NO_CODE)
    used = fresh.clone()
    used[0, 3] = 0
    greedy, free = rows(0.7, 1e-4, 30), rows(0.7, 0.9, 30)

    assert draw_semantic(logits, greedy, fresh, uniforms).item() == 1
    assert draw_semantic(logits, greedy, used, uniforms).item() in (1, 2)
    ending = torch.tensor([[9.0, 0.0, 0.0]])
    assert draw_semantic(ending, free, used, uniforms).item() == END


def test_draws_never_leave_the_kept_tokens() -> None:
    kept = Kept(torch.tensor([[2, 5, 8, 9, 11]]), torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]))

    assert draw(kept, torch.tensor([0.0])).item() == 5
    assert draw(kept, torch.tensor([1 - 2**-24])).item() == 9
    # Even a number that was rounded up to 1 stays inside.
    assert draw(kept, torch.tensor([1.0])).item() == 9


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 60),
    st.integers(1, 80),
    st.floats(0, 1),
    st.floats(0.1, 2),
    st.integers(0, 2**32),
)
def test_kept_tokens_are_those_of_a_full_sort(
    num_tokens: int, top_k: int, top_p: float, temperature: float, seed: int
) -> None:
    logits = 3 * torch.randn(1, num_tokens, generator=torch.Generator().manual_seed(seed))
    ordered, order = logits[0].double().sort(descending=True)
    mass = ordered.softmax(-1).cumsum(-1)
    near = ((mass - top_p).abs() < 1e-5).any()
    is_cut = (mass > top_p) & (top_p < 1) | (torch.arange(num_tokens) >= top_k)
    is_cut[0] = False
    expected = torch.zeros(num_tokens, dtype=torch.float64)
    expected[order] = (ordered.masked_fill(is_cut, float("-inf")) / temperature).softmax(-1)

    kept = keep_likely(logits, rows(temperature, top_p, top_k))

    assume(not near)
    torch.testing.assert_close(
        kept.spread(num_tokens)[0].double(), expected, atol=1e-5, rtol=0, check_dtype=False
    )


def test_philox_gives_the_published_test_vectors() -> None:
    # Random123, kat_vectors, "philox4x32 10".
    for words, key, expected in (
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ):
        a, b, c, d = (torch.tensor(word) for word in words)
        result = philox((a, b, c, d), (torch.tensor(key[0]), torch.tensor(key[1])))
        assert tuple(word.item() for word in result) == expected


def test_numbers_depend_on_seed_and_frame_and_not_on_the_batch() -> None:
    seeds, frames = torch.tensor([1, 2, -3]), torch.tensor([0, 7, 7])

    together = uniform_numbers(seeds, frames, 11)

    for row in range(3):
        alone = uniform_numbers(seeds[row : row + 1], frames[row : row + 1], 11)
        assert torch.equal(together[row : row + 1], alone)
    assert len(set(together.flatten().tolist())) == together.numel()
    assert ((together >= 0) & (together < 1)).all()


def test_numbers_are_spread_evenly() -> None:
    numbers = uniform_numbers(torch.arange(2000), torch.zeros(2000, dtype=torch.long), 11)

    assert abs(numbers.mean().item() - 0.5) < 0.01
    assert abs(numbers.var().item() - 1 / 12) < 0.005
