"""The commonest recording read without FFmpeg: a short WAV of one channel and 16 bits.

Strict: whatever is not exactly that is for `audio.decode`, which reads it alike.
"""

import struct

import numpy as np

from fishs2.audio.decode import MAX_RATE_HZ, MIN_RATE_HZ, DecodedAudio

MAX_BYTES = 2_000_000
"""20 s at 48 kHz, read in 2 ms."""

_SHAPE = struct.Struct("<HHIIHH")  # format, channels, rate, bytes per second, per frame, bits
_PCM = 1
_FIRST_CHUNK = 36  # behind the shape


def read_plain_wav(source: bytes, *, max_seconds: float) -> DecodedAudio | None:
    """The samples of a plain WAV that is not too long; None for any other file."""
    if len(source) > MAX_BYTES or source[:4] != b"RIFF" or source[8:16] != b"WAVEfmt ":
        return None
    if len(source) < _FIRST_CHUNK + 10 or int.from_bytes(source[16:20], "little") != _SHAPE.size:
        return None
    kind, num_channels, rate_hz, _, frame_bytes, num_bits = _SHAPE.unpack_from(source, 20)
    if (kind, num_channels, frame_bytes, num_bits) != (_PCM, 1, 2, 16):
        return None
    start = _FIRST_CHUNK
    if source[start : start + 4] == b"LIST":  # what made it, a title; padded to a whole word
        list_bytes = int.from_bytes(source[start + 4 : start + 8], "little")
        start += 8 + list_bytes + list_bytes % 2
    sound_bytes = int.from_bytes(source[start + 4 : start + 8], "little")
    start += 8
    if source[start - 8 : start - 4] != b"data" or sound_bytes != len(source) - start:
        return None
    if sound_bytes == 0 or sound_bytes % 2:
        return None
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ or sound_bytes // 2 > max_seconds * rate_hz:
        return None
    samples = np.frombuffer(source, "<i2", offset=start)
    return DecodedAudio(samples.astype(np.float32) / np.float32(32_768), rate_hz)
