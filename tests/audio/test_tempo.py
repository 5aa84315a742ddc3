import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.pcm import Pcm
from fishs2.audio.tempo import TempoChanger

RATE_HZ = 24_000
SPEEDS = [0.25, 0.5, 0.8, 1.25, 2.0, 4.0]


def change(pcm: Pcm, speed: float, piece_samples: list[int]) -> Pcm:
    tempo = TempoChanger(speed, RATE_HZ)
    cuts = np.cumsum(piece_samples)
    pieces = [tempo.change(piece) for piece in np.split(pcm, cuts[cuts < len(pcm)])]
    return np.concatenate([*pieces, tempo.flush()])


def make_tone(pitch_hz: float, num_samples: int) -> Pcm:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(num_samples) / RATE_HZ)).astype(
        np.float32
    )


@given(
    num_samples=st.integers(0, 6000),
    speed=st.floats(0.25, 4.0),
    piece_samples=st.lists(st.integers(0, 2000), max_size=8),
)
@settings(max_examples=50, deadline=None)
def test_duration_is_exact_and_pieces_do_not_matter(
    num_samples: int, speed: float, piece_samples: list[int]
) -> None:
    noise = np.random.default_rng(num_samples).standard_normal(num_samples).astype(np.float32)

    changed = change(noise, speed, piece_samples)

    assert len(changed) == round(num_samples / speed)
    np.testing.assert_array_equal(changed, change(noise, speed, []))


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("pitch_hz", [110.0, 330.0])
def test_a_tone_keeps_its_pitch_and_loudness_and_has_no_clicks(
    speed: float, pitch_hz: float
) -> None:
    changed = change(make_tone(pitch_hz, 2 * RATE_HZ), speed, [])

    # The last 30 ms may fade. The phase may drift, so each 20 ms are compared on their own.
    window = RATE_HZ // 50
    time_s = np.arange(window) / RATE_HZ
    basis = np.stack([np.sin(2 * np.pi * pitch_hz * time_s), np.cos(2 * np.pi * pitch_hz * time_s)])
    for start in range(0, len(changed) - RATE_HZ * 5 // 100, window // 2):
        piece = changed[start : start + window]
        weights, *_ = np.linalg.lstsq(basis.T, piece, rcond=None)
        assert np.std(piece - weights @ basis) < 0.03 * np.std(piece)
        assert np.hypot(*weights) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("speed", SPEEDS)
def test_start_and_end_of_the_sound_are_kept(speed: float) -> None:
    pcm = np.zeros(RATE_HZ, np.float32)
    pcm[:600] = make_tone(1000, 600)
    pcm[-1200:] = make_tone(1000, 1200)

    changed = change(pcm, speed, [])

    assert np.std(changed[:200]) > 0.2
    np.testing.assert_allclose(changed[:200], pcm[:200], atol=0.01)
    assert np.abs(changed[-1000:]).max() > 0.2


def test_first_sound_comes_after_less_than_sixty_milliseconds() -> None:
    tempo = TempoChanger(1.25, RATE_HZ)

    assert len(tempo.change(make_tone(220, RATE_HZ * 55 // 1000))) > 0
