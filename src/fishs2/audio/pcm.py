"""PCM as every other module of the program passes it on: float32 mono, and how it changes shape.

Conversion to and from 16-bit integers, silence, and the change of sample rate of a stream. No
codecs (`encode`, `decode`) and no change of sound (`effects`).
"""

from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from fishs2.errors import EngineError

Pcm = NDArray[np.float32]
"""Mono samples, float32 [n], nominally within -1..1."""

_INT16_SCALE = 32768.0  # so that from_int16 and to_int16 are exact inverses
_NO_PCM: Pcm = np.zeros(0, np.float32)


def cut(pcm: Pcm, num_samples: int) -> Iterator[Pcm]:
    """Yield it in pieces of so many samples, the last perhaps shorter; nothing of nothing."""
    for start in range(0, len(pcm), num_samples):
        yield pcm[start : start + num_samples]


def check_finite(pcm: Pcm) -> None:
    """Raise EngineError if a sample is NaN or infinite.

    Such a sample would become noise in an answer that looks like a success.
    """
    # One sum is three times faster than isfinite on every sample and is finite only if all of them
    # are; a sum that overflows from finite samples is as broken.
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.add.reduce(pcm)
    if not np.isfinite(total):
        raise EngineError("the engine made audio that has NaN or infinite samples")


def to_int16(pcm: Pcm) -> NDArray[np.int16]:
    """Round to 16-bit integers, saturating outside -1..1. Raises EngineError as check_finite."""
    check_finite(pcm)
    scaled = pcm * np.float32(_INT16_SCALE)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32768.0, 32767.0, out=scaled)
    return scaled.astype(np.int16)


def from_int16(samples: NDArray[np.int16]) -> Pcm:
    """Scale 16-bit integers to -1..1; the exact inverse of to_int16."""
    return samples.astype(np.float32) / np.float32(_INT16_SCALE)


def silence(seconds: float, sample_rate_hz: int) -> Pcm:
    return np.zeros(round(seconds * sample_rate_hz), np.float32)


class Resampler:
    """Changes the sample rate of a stream; hands back its input where the rates are equal.

    The total output is the input times `out_rate_hz / in_rate_hz`, within one sample. After
    `flush` it must not be used again.
    """

    def __init__(self, in_rate_hz: int, out_rate_hz: int) -> None:
        self._stream: soxr.ResampleStream | None = None
        if in_rate_hz != out_rate_hz:
            # HQ is 20-bit precision, finer than any output has; it costs 0.5 ms per second.
            self._stream = soxr.ResampleStream(
                in_rate_hz, out_rate_hz, 1, dtype="float32", quality="HQ"
            )

    def resample(self, pcm: Pcm) -> Pcm:
        """Give the output that is certain by now: it lags by about 20 ms."""
        if self._stream is None:
            return pcm
        return self._advance(pcm, is_last=False)

    def flush(self) -> Pcm:
        """Give what is left of the output."""
        if self._stream is None:
            return _NO_PCM
        return self._advance(_NO_PCM, is_last=True)

    def _advance(self, pcm: Pcm, *, is_last: bool) -> Pcm:
        assert self._stream is not None
        resampled: Pcm = self._stream.resample_chunk(np.ascontiguousarray(pcm), last=is_last)
        return resampled
