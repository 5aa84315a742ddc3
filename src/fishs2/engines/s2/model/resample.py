"""Reference audio at the rate of the codec, as the official code makes it.

The codes of a reference depend on the filter, so this is the filter of the official preparation
(windowed sinc with a Hann window), not the best one.
"""

from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

_ZEROS = 6  # zero crossings on each side (spec 7.4)
_ROLLOFF = 0.99
_BLOCK = 1 << 16  # samples computed at once: 16 MB of taps


def resample(pcm: NDArray[np.float32], rate_hz: int, target_hz: int) -> NDArray[np.float32]:
    """Samples at `target_hz`: float32 [n] to float32 [ceil(n * target / rate)].

    Source: spec 7.4; the phases are tabled once, so any pair of rates costs the same.
    """
    if rate_hz == target_hz or not len(pcm):
        return pcm
    common = gcd(rate_hz, target_hz)
    old, new = rate_hz // common, target_hz // common
    cutoff = _ROLLOFF * min(old, new)
    width = ceil(_ZEROS * old / cutoff)
    taps = np.arange(-width, width + 1)
    # Output i lies at old * i / new of the input: `phase / new` samples after an input sample.
    phases = np.arange(new)[:, None] / new
    t = np.clip(cutoff / old * (taps - phases), -_ZEROS, _ZEROS)
    weights = np.sinc(t) * np.cos(t * np.pi / _ZEROS / 2) ** 2 * cutoff / old
    weights = weights.astype(np.float32)
    padded = np.pad(pcm, (width, width + 1))
    resampled = np.empty(ceil(new * len(pcm) / old), np.float32)
    for start in range(0, len(resampled), _BLOCK):
        index = np.arange(start, min(start + _BLOCK, len(resampled)), dtype=np.int64)
        source, phase = np.divmod(index * old, new)
        window = padded[source[:, None] + taps + width]
        resampled[start : start + len(index)] = np.einsum("nt,nt->n", window, weights[phase])
    return resampled
