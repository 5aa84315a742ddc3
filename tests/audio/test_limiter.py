import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.limiter import Limiter
from fishs2.audio.pcm import Pcm

RATE_HZ = 24_000
CEILING = 10 ** (-1 / 20)


def limit(pcm: Pcm, piece_samples: int) -> Pcm:
    limiter = Limiter(RATE_HZ)
    pieces = [
        limiter.limit(pcm[start : start + piece_samples])
        for start in range(0, len(pcm), piece_samples)
    ]
    return np.concatenate([*pieces, limiter.flush()])


@given(
    seed=st.integers(0, 1000),
    num_samples=st.integers(0, 3000),
    loudness=st.sampled_from([0.1, 1.0, 30.0]),
    piece_samples=st.sampled_from([1, 7, 119, 5000]),
)
@settings(max_examples=40, deadline=None)
def test_nothing_exceeds_the_ceiling_and_pieces_do_not_matter(
    seed: int, num_samples: int, loudness: float, piece_samples: int
) -> None:
    noise = np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32) * loudness

    limited = limit(noise, piece_samples)

    assert len(limited) == len(noise)
    assert np.abs(limited).max(initial=0.0) <= CEILING + 1e-6
    np.testing.assert_allclose(limited, limit(noise, 10_000), atol=1e-6)


def test_sound_below_the_ceiling_passes_unchanged() -> None:
    quiet = np.random.default_rng(0).uniform(-0.8, 0.8, 5000).astype(np.float32)

    np.testing.assert_allclose(limit(quiet, 480), quiet, rtol=1e-6)


@pytest.mark.parametrize("pitch_hz", [90, 150, 440])
def test_a_loud_steady_tone_is_turned_down_not_bent(pitch_hz: int) -> None:
    time_s = np.arange(RATE_HZ) / RATE_HZ
    tone = np.sin(2 * np.pi * pitch_hz * time_s).astype(np.float32)

    middle = slice(RATE_HZ // 4, 3 * RATE_HZ // 4)
    limited = limit(5 * tone, 480)[middle]

    distortion = limited - tone[middle] * (limited @ tone[middle]) / (tone[middle] @ tone[middle])
    assert np.std(distortion) < 1e-3 * np.std(limited)
