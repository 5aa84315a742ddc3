"""Speech that ran away is told from speech."""

import numpy as np
import pytest

from fishs2.engines.s2.engine.guard import count_silent, find_runaway, longest_speech


def frames(codes: list[int]) -> list[np.ndarray]:
    return [np.array([code, 0], np.int32) for code in codes]


@pytest.mark.parametrize(
    ("text", "spoken_s"),
    [
        ("Hm.", 2),
        ("It was the best of times, it was the worst of times.", 6),
        ("这是最好的时代，这是最坏的时代。", 5),
        ("[long pause] Well. [sighs]", 8),
    ],
)
def test_slow_speech_is_no_runaway_and_a_minute_of_it_is(text: str, spoken_s: float) -> None:
    assert 1.2 * spoken_s * 21.5 < longest_speech(text) < 60 * 21.5


def test_speech_without_an_end_is_found() -> None:
    assert find_runaway(frames(list(range(99))), 100) == ""
    assert "100 frames and found no end" in find_runaway(frames(list(range(100))), 100)


@pytest.mark.parametrize("period", [1, 3, 12])
def test_loop_is_found_once_it_has_gone_on_for_six_seconds(period: int) -> None:
    looped = frames([50, 60, 70, *(index % period for index in range(200))])

    found = [num for num in range(1, len(looped)) if find_runaway(looped[:num], 10_000)]

    assert found[0] in range(128 + 3, 128 + 3 + 16)
    assert f"the same {period} codes" in find_runaway(looped[: found[0]], 10_000)


def test_speech_with_a_few_repeated_codes_is_left_alone() -> None:
    chance = np.random.default_rng(1)
    codes = [int(code) for code in chance.integers(0, 30, 400)]
    codes[100:180] = [7] * 80

    assert not any(find_runaway(frames(codes[:num]), 10_000) for num in range(1, 400))


def test_silence_is_counted_at_the_end_and_across_pieces() -> None:
    loud, still = np.full(10, 0.1, np.float32), np.full(10, 0.0005, np.float32)

    assert count_silent(np.concatenate((loud, still, still)), 10, 5) == 2
    assert count_silent(np.concatenate((still, still)), 10, 5) == 7
    assert count_silent(np.concatenate((still, loud)), 10, 5) == 0
