"""Recordings of every kind that people upload, made with PyAV: the material of mutated uploads."""

import io
from functools import cache

import av
import numpy as np

KINDS: dict[str, tuple[str, str, int]] = {
    "wav 16 bits": ("wav", "pcm_s16le", 22_050),
    "wav 24 bits": ("wav", "pcm_s24le", 44_100),
    "wav floats": ("wav", "pcm_f32le", 48_000),
    "wav mu-law": ("wav", "pcm_mulaw", 8_000),
    "wav A-law": ("wav", "pcm_alaw", 8_000),
    "wav 8 bits": ("wav", "pcm_u8", 11_025),
    "wav ADPCM": ("wav", "adpcm_ima_wav", 22_050),
    "w64": ("w64", "pcm_s16le", 22_050),
    "aiff": ("aiff", "pcm_s16be", 44_100),
    "au": ("au", "pcm_s16be", 16_000),
    "caf": ("caf", "pcm_s16le", 44_100),
    "mp3": ("mp3", "libmp3lame", 44_100),
    "mp2": ("mp2", "mp2", 44_100),
    "flac": ("flac", "flac", 44_100),
    "ogg opus": ("ogg", "libopus", 48_000),
    "webm opus": ("webm", "libopus", 48_000),
    "matroska": ("matroska", "pcm_s16le", 44_100),
    "matroska opus": ("matroska", "libopus", 48_000),
    "aac": ("adts", "aac", 44_100),
    "m4a": ("ipod", "aac", 44_100),
    "mp4 fragments": ("mp4", "aac", 44_100),
    "m4a lossless": ("ipod", "alac", 44_100),
    "avi": ("avi", "pcm_s16le", 44_100),
}
"""By what they are: container, codec, rate in Hz."""


@cache
def make_recording(kind: str, seconds: float = 0.6) -> bytes:
    """Syllables of a voice-like tone in a file of this kind."""
    container_name, codec, rate_hz = KINDS[kind]
    file = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov"} if kind == "mp4 fragments" else {}
    with av.open(file, "w", container_name, options=options) as container:
        stream = container.add_stream(codec, rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = "mono"
        resampler = av.AudioResampler(
            format=stream.codec_context.format or "s16",
            layout="mono",
            rate=rate_hz,
            frame_size=stream.codec_context.frame_size or 1_024,
        )
        frame = av.AudioFrame.from_ndarray(_voice(seconds, rate_hz), "s16", "mono")
        frame.sample_rate = rate_hz
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


def _voice(seconds: float, rate_hz: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """int16 [1, n]: harmonics of 140 Hz that come and go."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    tones = [np.sin(2 * np.pi * 140 * n * times) / n for n in range(1, 12)]
    loudness = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * times)
    samples = np.asarray(6_000 * loudness * np.sum(tones, axis=0), np.int16)
    return samples.reshape(1, -1)
