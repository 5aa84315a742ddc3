"""Recordings for tests: what sounds like a voice, and what does not. All float64 [n]."""

import io

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

RATE_HZ = 16_000


def make_voice(seconds: float = 2.0, pitch_hz: float = 140.0, rate_hz: int = RATE_HZ) -> Samples:
    """Syllables of changing vowels on a gliding pitch, with hisses between them; peak 0.5."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch = pitch_hz * (1 + 0.08 * np.sin(2 * np.pi * 0.9 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    # Two formants that move at rates of their own, so that no two syllables are alike.
    formants = (500 + 250 * np.sin(2 * np.pi * 1.3 * time_s), 1_500 + 600 * np.cos(9.0 * time_s))
    voiced = np.zeros_like(time_s)
    for number in range(1, int(min(3_800, rate_hz / 2) / (1.1 * pitch_hz))):
        gain = sum(np.exp(-(((number * pitch - formant) / 200) ** 2)) for formant in formants)
        voiced += (0.02 + gain) / number**0.3 * np.sin(number * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time_s), 0, 1)
    hiss = 0.1 * np.random.default_rng(1).standard_normal(len(time_s))
    whole = voiced / np.abs(voiced).max() * syllables + hiss * np.clip(-syllables + 0.3, 0, 1)
    return np.asarray(0.5 * whole / np.abs(whole).max())


def make_whisper(seconds: float = 4.0, rate_hz: int = RATE_HZ) -> Samples:
    """Noise through formants that move: speech without a pitch; peak 0.5."""
    size, hop = 512, 128
    rng, window = np.random.default_rng(2), np.hanning(512)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    whole = np.zeros(round(seconds * rate_hz) + size)
    for start in range(0, len(whole) - size, hop):
        at_s = start / rate_hz
        first, second = 500 + 300 * np.sin(8.2 * at_s), 1_700 + 900 * np.cos(5.1 * at_s)
        envelope = np.exp(-(((hz - first) / 150) ** 2)) + np.exp(-(((hz - second) / 300) ** 2))
        level = 0.1 + np.clip(np.sin(2 * np.pi * 3.1 * at_s), 0, 1)
        noise = np.fft.rfft(rng.standard_normal(size) * window)
        whole[start : start + size] += np.fft.irfft(noise * (envelope + 0.02) * level) * window
    whole = whole[:-size]
    return np.asarray(0.5 * whole / np.abs(whole).max())


def make_noise(seconds: float = 20.0, exponent: float = 0.0, rate_hz: int = RATE_HZ) -> Samples:
    """Noise whose power falls as frequency to the `exponent`: 0 white, 1 pink, 2 brown; RMS 0.1."""
    spectrum = np.fft.rfft(np.random.default_rng(3).standard_normal(round(seconds * rate_hz)))
    hz = np.fft.rfftfreq(round(seconds * rate_hz), 1 / rate_hz)
    noise = np.fft.irfft(spectrum / np.maximum(hz, 20) ** (exponent / 2), round(seconds * rate_hz))
    return np.asarray(0.1 * noise / noise.std())


def make_clicks(seconds: float = 20.0, rate_hz: int = RATE_HZ) -> Samples:
    """Single samples at random times, four a second."""
    clicks = np.zeros(round(seconds * rate_hz))
    places = np.random.default_rng(4).integers(0, len(clicks), round(4 * seconds))
    clicks[places] = 0.8
    return clicks


def write_wav(
    samples: Samples, *, codec: str = "pcm_s16le", layout: str = "mono", rate_hz: int = RATE_HZ
) -> bytes:
    """A WAV file of samples [n] or [n, channels]; `pcm_f32le` keeps what is over full scale."""
    kind, scale = {"pcm_s16le": ("s16", 32_767), "pcm_f32le": ("flt", 1)}[codec]
    packed = samples.reshape(1, -1) * scale
    frame = av.AudioFrame.from_ndarray(
        packed.astype(np.float32) if kind == "flt" else packed.round().astype(np.int16),
        format=kind,
        layout=layout,
    )
    frame.sample_rate = rate_hz
    file = io.BytesIO()
    with av.open(file, "w", "wav") as container:
        stream = container.add_stream(codec, rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = layout
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


NO_SPEECH = {
    "silence": np.zeros(20 * RATE_HZ),
    "a constant": np.full(20 * RATE_HZ, 0.4),
    "100 samples": make_voice()[1_500:1_600],
    "white noise": make_noise(),
    "pink noise": make_noise(exponent=1),
    "brown noise": make_noise(exponent=2),
    "quiet noise": make_noise() * 1e-3,
    "noise that swells": make_noise() * (1 + np.sin(np.arange(20 * RATE_HZ) / RATE_HZ)),
    "noise that is switched": make_noise() * (np.arange(20 * RATE_HZ) % 8_000 < 4_000),
    "clicks": make_clicks(),
    "mains hum": 0.3 * np.sin(2 * np.pi * 50 * np.arange(20 * RATE_HZ) / RATE_HZ),
}
"""What is no reference, by what it is."""

BROKEN = {
    "NaN": np.where(np.arange(2 * RATE_HZ) == 9_000, np.nan, make_voice()),
    "infinity": np.where(np.arange(2 * RATE_HZ) == 9_000, np.inf, make_voice()),
    "whole numbers": make_voice() * 32_767,
}
"""Samples that only a float file can hold, by what they are."""


def make_adts(payload: bytes, *, num_bytes: int) -> bytes:
    """A file of AAC frames that each have a header and this in them: a million of nothing.

    Source: ISO/IEC 13818-7, 6.2, adts_fixed_header and adts_variable_header.
    """
    size = 7 + len(payload)
    header = bytes(
        (0xFF, 0xF1, 0x50, 0x40 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)
    )
    return (header + payload) * (num_bytes // size)
