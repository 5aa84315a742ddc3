"""What is found of recordings with one fault each."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fishs2.audio.checkup import Finding, examine
from fishs2.audio.pcm import Pcm
from tests.recordings import RATE_HZ, make_noise, make_voice

NAMES = ["length", "level", "clipping", "noise", "silence", "band_width", "speakers"]


def voice(seconds: float = 12.0, pitch_hz: float = 140.0) -> Pcm:
    made = make_voice(seconds, pitch_hz).astype(np.float32)
    return made * np.float32(0.5 / np.abs(made).max())


def found(pcm: Pcm, name: str) -> Finding:
    return next(each for each in examine(pcm, RATE_HZ) if each.name == name)


def test_each_finding_is_a_sentence_with_its_number() -> None:
    findings = examine(voice(), RATE_HZ)

    assert [each.name for each in findings] == NAMES
    for each in findings:
        assert each.unit
        assert "\n" not in each.text
        assert len(each.text) < 120


def quiet(pcm: Pcm) -> Pcm:
    return pcm * np.float32(0.004)


def clipped(pcm: Pcm) -> Pcm:
    return np.clip(pcm * 8, -1, 1)


def noisy(pcm: Pcm) -> Pcm:
    return pcm + np.float32(0.05) * make_noise(len(pcm) / RATE_HZ)[: len(pcm)].astype(np.float32)


def with_silence(pcm: Pcm) -> Pcm:
    return np.concatenate([pcm, np.zeros(4 * RATE_HZ, np.float32), pcm])


def short(pcm: Pcm) -> Pcm:
    return pcm[: 2 * RATE_HZ]


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (quiet, "level"),
        (clipped, "clipping"),
        (with_silence, "silence"),
        (short, "length"),
        (noisy, "noise"),
    ],
)
def test_fault_is_found_and_the_sound_one_is_not(spoil: Callable[[Pcm], Pcm], name: str) -> None:
    order = ["good", "fair", "poor"]
    before, after = found(voice(), name), found(spoil(voice()), name)

    assert order.index(after.grade) > order.index(before.grade) or before.value != after.value
    assert after.grade == "poor"


def test_telephone_is_told_by_its_band() -> None:
    pcm = np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)
    spectrum = np.fft.rfft(pcm)
    spectrum[np.fft.rfftfreq(len(pcm), 1 / RATE_HZ) > 3_400] = 0
    narrow = np.fft.irfft(spectrum).astype(np.float32)

    assert found(narrow, "band_width").grade == "poor"
    assert found(narrow, "band_width").value == pytest.approx(3_400, abs=300)
    assert found(pcm, "band_width").grade != "poor"


def test_two_voices_an_octave_apart_are_perhaps_two_people() -> None:
    one = found(voice(), "speakers")
    two = found(np.concatenate([voice(8, 110.0), voice(8, 240.0)]), "speakers")

    assert one.grade == "good"
    assert one.value < 4
    assert two.grade == "fair"
    assert two.value == pytest.approx(13.5, abs=2)


@given(
    arrays(np.float32, st.integers(1, 4_000), elements=st.floats(-1, 1, width=32)),
    st.sampled_from([4_000, 16_000, 48_000]),
)
def test_any_samples_have_finite_findings(pcm: Pcm, rate_hz: int) -> None:
    findings = examine(pcm, rate_hz)

    assert [each.name for each in findings] == NAMES
    assert all(np.isfinite(each.value) for each in findings)
