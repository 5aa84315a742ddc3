"""Loudness against the standard's own figures and FFmpeg's meter."""

import io
import math

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.effects import EffectChain, Effects, LoudnessStage
from fishs2.audio.loudness import (
    LoudnessMeter,
    StreamLoudness,
    WholeLoudness,
    k_weighting,
)
from fishs2.audio.pcm import Pcm
from fishs2.errors import UserError

RATE = 44_100


def sine(seconds: float, level_db: float = 0.0, rate_hz: int = RATE, hz: float = 997.0) -> Pcm:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def babble(seconds: float, rate_hz: int = RATE, seed: int = 1) -> Pcm:
    """Noise that swells and pauses four times a second, as speech does."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))
    times = np.arange(len(noise)) / rate_hz
    swell = np.clip(np.sin(2 * np.pi * 2 * times), 0, None) ** 0.5
    return (0.05 * noise * swell).astype(np.float32)


def make_whole(target_lufs: float, rate_hz: int) -> WholeLoudness:
    return WholeLoudness(target_lufs, rate_hz, kept=io.BytesIO())


def measure_loudness(pcm: Pcm, rate_hz: int) -> float:
    meter = LoudnessMeter(rate_hz)
    meter.add(pcm)
    return meter.loudness()


def ffmpeg_loudness(pcm: Pcm, rate_hz: int) -> float:
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate_hz, format="flt", layout="mono")
    meter = graph.add("ebur128", "metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(pcm[None, :], format="flt", layout="mono")
    frame.sample_rate = rate_hz
    graph.push(frame)
    graph.push(None)
    loudness = math.nan
    while True:
        try:
            pulled = graph.pull()
        except (av.EOFError, av.BlockingIOError):
            return loudness
        loudness = float(dict(pulled.metadata).get("lavfi.r128.I", loudness))


def test_filters_have_the_coefficients_of_the_standard_at_48_khz() -> None:
    shelf, high_pass = k_weighting(48_000)

    expected = (1.53512485958697, -2.69169618940638, 1.19839281085285)
    assert shelf[:3] == pytest.approx(expected, abs=1e-9)
    assert shelf[3:] == pytest.approx((-1.69065929318241, 0.73248077421585), abs=1e-9)
    assert high_pass[3:] == pytest.approx((-1.99004745483398, 0.99007225036621), abs=1e-9)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 192_000])
def test_sine_of_full_scale_is_at_minus_three(rate_hz: int) -> None:
    assert measure_loudness(sine(3, rate_hz=rate_hz), rate_hz) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(
    ("parts", "lufs"),
    [
        # Cases 1 to 3 of EBU Tech 3341, which are in stereo, 3 dB louder.
        ([(20, -23.0)], -26.0),
        ([(20, -33.0)], -36.0),
        ([(10, -36.0), (60, -23.0), (10, -36.0)], -26.0),
        ([(5, -72.0), (60, -23.0), (5, -72.0)], -26.0),
    ],
)
def test_quiet_parts_do_not_count(parts: list[tuple[float, float]], lufs: float) -> None:
    pcm = np.concatenate([sine(seconds, level) for seconds, level in parts])

    assert measure_loudness(pcm, RATE) == pytest.approx(lufs, abs=0.1)


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
def test_ffmpeg_hears_the_same(rate_hz: int) -> None:
    pcm = babble(6, rate_hz)

    assert measure_loudness(pcm, rate_hz) == pytest.approx(ffmpeg_loudness(pcm, rate_hz), abs=0.15)


def test_silence_has_no_loudness_and_short_sounds_have_one() -> None:
    assert measure_loudness(np.zeros(RATE, np.float32), RATE) == -math.inf
    assert measure_loudness(np.zeros(0, np.float32), RATE) == -math.inf
    assert measure_loudness(sine(0.15), RATE) == pytest.approx(-3.0, abs=0.3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=8))
def test_result_does_not_depend_on_the_pieces(lengths: list[int]) -> None:
    pcm = babble(2.5)
    borders = np.cumsum(lengths)
    meter, stream = LoudnessMeter(RATE), StreamLoudness(-19, RATE)
    given_out = []
    for piece in np.split(pcm, borders[borders < len(pcm)]):
        meter.add(piece)
        given_out.append(stream.apply(piece))
    given_out += stream.drain()
    whole = StreamLoudness(-19, RATE)

    assert meter.loudness() == measure_loudness(pcm, RATE)
    expected = np.concatenate((whole.apply(pcm), *whole.drain()))
    np.testing.assert_array_equal(np.concatenate(given_out), expected)


@pytest.mark.parametrize("seconds", [0.2, 1, 5])
@pytest.mark.parametrize("target", [-30.0, -19.0])
def test_whole_sound_meets_its_target(seconds: float, target: float) -> None:
    stage = make_whole(target, RATE)
    pcm = babble(seconds)

    out = np.concatenate((stage.apply(pcm), *stage.drain()))

    assert len(out) == len(pcm)
    assert measure_loudness(out, RATE) == pytest.approx(target, abs=0.1)


@pytest.mark.parametrize("level_db", [-10.0, 0.0, 6.0])
def test_stream_comes_near_its_target(level_db: float) -> None:
    stage = StreamLoudness(-19, RATE)
    pcm = np.float32(10 ** (level_db / 20)) * babble(6)

    out = np.concatenate((stage.apply(pcm), *stage.drain()))

    assert len(out) == len(pcm)
    assert measure_loudness(out, RATE) == pytest.approx(-19, abs=1.5)


@pytest.mark.parametrize("stage", [make_whole, StreamLoudness])
def test_silence_stays_silence(stage: LoudnessStage) -> None:
    made = stage(-19, RATE)

    out = np.concatenate((made.apply(np.zeros(RATE, np.float32)), *made.drain()))

    assert len(out) == RATE
    assert not out.any()


@pytest.mark.parametrize("stage", [make_whole, StreamLoudness])
def test_volume_comes_after_and_peaks_are_limited(
    stage: LoudnessStage,
) -> None:
    def run(**effects: float) -> Pcm:
        chain = EffectChain(Effects(**effects), RATE, loudness=stage)
        return np.concatenate((chain.apply(babble(4)), *chain.drain()))

    even = measure_loudness(run(loudness_lufs=-25), RATE)
    louder = run(loudness_lufs=-25, volume_db=20)

    assert measure_loudness(run(loudness_lufs=-25, volume_db=-6), RATE) == pytest.approx(
        even - 6, abs=0.2
    )
    assert np.abs(louder).max() <= 10 ** (-1 / 20) + 1e-4


@pytest.mark.parametrize("target", [-41.0, -9.0, math.nan, math.inf])
def test_target_out_of_range_is_refused(target: float) -> None:
    with pytest.raises(UserError) as caught:
        Effects(loudness_lufs=target)
    assert caught.value.code == "unsupported_loudness"
