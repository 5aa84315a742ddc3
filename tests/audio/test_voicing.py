"""What counts as a voice, and what does not."""

from pathlib import Path

import numpy as np
import pytest

from fishs2.audio.decode import DecodedAudio, decode_audio
from fishs2.audio.pcm import Pcm, Resampler
from fishs2.audio.voicing import MIN_VOICE_S, measure_voice_s
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.recordings import (
    NO_SPEECH,
    RATE_HZ,
    Samples,
    make_noise,
    make_voice,
    make_whisper,
)


def measure(samples: Samples | Pcm, rate_hz: int = RATE_HZ) -> float:
    return measure_voice_s(samples.astype(np.float32), rate_hz)


@pytest.fixture(params=["male", "female"], scope="module")
def speech(request: pytest.FixtureRequest) -> DecodedAudio:
    """Some seconds of an engine's speech."""
    [path] = Path(SAMPLE_VOICES, f"sample_{request.param}").glob("*.wav")
    return decode_audio(path.read_bytes(), max_seconds=90)


@pytest.mark.parametrize("kind", NO_SPEECH)
def test_what_is_no_speech_is_no_voice(kind: str) -> None:
    assert measure(NO_SPEECH[kind]) == 0


def test_fan_that_hums_in_a_narrow_band_is_no_voice() -> None:
    noise = np.fft.rfft(make_noise())
    hz = np.fft.rfftfreq(20 * RATE_HZ, 1 / RATE_HZ)

    for middle_hz, width_hz in ((120, 5), (500, 60), (1_000, 300)):
        band = np.fft.irfft(noise * (0.02 + np.exp(-(((hz - middle_hz) / width_hz) ** 2))))
        assert measure(band / np.abs(band).max()) == 0


@pytest.mark.parametrize("pitch_hz", [80, 140, 220, 350, 600, 1_000])
def test_voices_of_every_pitch_are_heard(pitch_hz: float) -> None:
    assert measure(make_voice(3, pitch_hz)) > 0.5


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 44_100, 96_000, 192_000])
def test_speech_is_heard_at_every_sample_rate(speech: DecodedAudio, rate_hz: int) -> None:
    resampler = Resampler(speech.sample_rate_hz, rate_hz)
    pcm = np.concatenate([resampler.resample(speech.pcm), resampler.flush()])

    whole = measure_voice_s(speech.pcm, speech.sample_rate_hz)
    assert measure_voice_s(pcm, rate_hz) == pytest.approx(whole, rel=0.15)


@pytest.mark.parametrize("exponent", [0, 1, 2])
@pytest.mark.parametrize("snr_db", [20, 10, 5, 0])
def test_speech_in_noise_is_heard(speech: DecodedAudio, exponent: float, snr_db: float) -> None:
    noise = make_noise(len(speech.pcm) / RATE_HZ, exponent) * 10
    level = speech.pcm[np.abs(speech.pcm) > 0.01].std() * 10 ** (-snr_db / 20)

    assert measure(speech.pcm + noise * level, speech.sample_rate_hz) >= MIN_VOICE_S


@pytest.mark.parametrize("level", [1e-3, 3e-4])
def test_very_quiet_speech_is_heard(speech: DecodedAudio, level: float) -> None:
    quiet = np.round(speech.pcm * level * 32_768) / 32_768

    assert measure(quiet, speech.sample_rate_hz) > 0.5


def test_clipped_telephone_and_short_speech_is_heard(speech: DecodedAudio) -> None:
    spectrum = np.fft.rfft(speech.pcm)
    hz = np.fft.rfftfreq(len(speech.pcm), 1 / speech.sample_rate_hz)
    telephone = np.fft.irfft(np.where((hz > 300) & (hz < 3_400), spectrum, 0), len(speech.pcm))
    pause = np.zeros(5 * speech.sample_rate_hz)

    assert measure(np.clip(speech.pcm * 20, -1, 1), speech.sample_rate_hz) > 0.5
    assert measure(telephone, speech.sample_rate_hz) > 0.5
    assert measure(np.concatenate([pause, speech.pcm, pause]), speech.sample_rate_hz) > 0.5
    assert measure(speech.pcm[: speech.sample_rate_hz], speech.sample_rate_hz) >= MIN_VOICE_S


def test_whisper_is_heard_also_in_noise() -> None:
    whisper = make_whisper()

    assert measure(whisper) >= MIN_VOICE_S
    assert measure(whisper + make_noise(len(whisper) / RATE_HZ, 1) * 0.1) >= MIN_VOICE_S


def test_steady_note_is_taken_for_a_voice() -> None:
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ

    assert measure(0.4 * np.sin(2 * np.pi * 220 * time_s)) > 1
