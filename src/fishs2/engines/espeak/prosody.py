"""What an approximate engine takes from a reference: its pitch and how long it speaks.

Here live the measurements on PCM, numpy only. How an engine turns them into its own settings is
that engine's matter; `engines.builtin` compares a reference with its own speech of the transcript.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishs2.engines.base import Pcm

MIN_F0_HZ = 60.0
MAX_F0_HZ = 500.0

# F0 needs no more bandwidth than a few harmonics, and the cost grows with the rate.
_WORK_RATE_HZ = 8_000
# The lag search reads W samples ahead of every lag: 25 ms of summed differences is the window of
# de Cheveigné and Kawahara, "YIN", JASA 111(4), 2002, section II.
_WINDOW_S = 0.025
_HOP_S = 0.010
# Aperiodicity below which a frame counts as voiced. YIN's own 0.1 finds 3 % of fast speech voiced,
# 0.25 finds 30 %, with the same median within 2 %, and still nothing in white or filtered noise.
_MAX_APERIODICITY = 0.25
# A frame is active when it is at most this much below the loud frames of the same audio.
_ACTIVE_RANGE_DB = 30.0
# And louder than one step of 16 bits: `service.voices` lets speech in however quiet it is.
_SILENCE_DBFS = -100.0
# Less voiced speech than this says nothing about a voice.
_MIN_VOICED_S = 0.2
# Stretches analysed at once; bounds memory to a few MB whatever the duration.
_FRAMES_PER_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Prosody:
    """Pitch and timing of a stretch of speech.

    median_f0_hz: over voiced frames, 60..500. active_s: seconds of speech, pauses left out.
    """

    median_f0_hz: float
    active_s: float


def measure_speech(pcm: Pcm, sample_rate_hz: int) -> Prosody | None:
    """Measure speech, or None when less than 0.2 s of it is voiced.

    pcm: float32 [n]; NaN and infinity count as silence.
    """
    low, low_rate_hz = _decimate(np.nan_to_num(pcm, posinf=0.0, neginf=0.0), sample_rate_hz)
    max_lag = int(low_rate_hz / MIN_F0_HZ) + 2
    window_samples = round(_WINDOW_S * low_rate_hz)
    frame_samples = window_samples + max_lag
    hop_samples = round(_HOP_S * low_rate_hz)
    if low.size < frame_samples:
        return None
    # [n] -> [T, window + max_lag], a view
    frames = np.lib.stride_tricks.sliding_window_view(low, frame_samples)[::hop_samples]
    is_active = _find_active(frames)
    f0_hz = np.full(len(frames), np.nan)
    for start in range(0, len(frames), _FRAMES_PER_BLOCK):
        block = slice(start, start + _FRAMES_PER_BLOCK)
        f0_hz[block] = _estimate_f0_hz(frames[block], window_samples, rate_hz=low_rate_hz)
    voiced_hz = f0_hz[is_active & ~np.isnan(f0_hz)]
    hop_s = hop_samples / low_rate_hz
    if voiced_hz.size * hop_s < _MIN_VOICED_S:
        return None
    return Prosody(
        median_f0_hz=float(np.median(voiced_hz)), active_s=float(is_active.sum()) * hop_s
    )


def _decimate(pcm: Pcm, sample_rate_hz: int) -> tuple[NDArray[np.float64], float]:
    """Bring PCM to 8..16 kHz by a whole factor.

    The mean over one output sample is filter enough: what aliases is far above MAX_F0_HZ.
    """
    factor = max(1, sample_rate_hz // _WORK_RATE_HZ)
    num_samples = pcm.size // factor
    low = pcm[: num_samples * factor].astype(np.float64).reshape(num_samples, factor).mean(axis=1)
    return low, sample_rate_hz / factor


def _find_active(frames: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the frames that hold speech: bool [T] of frames [T, n]."""
    power = frames.var(axis=1)  # without the DC offset of a poor microphone
    loud = np.percentile(power, 95)
    floor = max(loud * 10 ** (-_ACTIVE_RANGE_DB / 10), 10 ** (_SILENCE_DBFS / 10))
    return np.asarray(power > floor)


def _estimate_f0_hz(
    frames: NDArray[np.float64], window_samples: int, *, rate_hz: float
) -> NDArray[np.float64]:
    """Estimate F0 of every frame: float64 [T], NaN where a frame is not voiced.

    frames: [T, window + max_lag]. Source: YIN, steps 2 to 5 (equations 6 to 8, parabolic
    interpolation), with step 3's first dip below the threshold.
    """
    normalised = _difference(frames, window_samples)  # [T, max_lag]
    max_lag = normalised.shape[1]
    min_lag = int(rate_hz / MAX_F0_HZ)
    inner = normalised[:, min_lag : max_lag - 1]
    is_dip = (inner <= normalised[:, min_lag - 1 : max_lag - 2]) & (
        inner < normalised[:, min_lag + 1 :]
    )
    candidates = is_dip & (inner < _MAX_APERIODICITY)
    lag = np.argmax(candidates, axis=1) + min_lag  # first dip that is deep enough
    row = np.arange(len(frames))
    before, at, after = (normalised[row, lag + step] for step in (-1, 0, 1))
    curvature = before - 2 * at + after
    shift = np.divide(before - after, 2 * curvature, out=np.zeros_like(at), where=curvature > 1e-12)
    f0_hz = rate_hz / (lag + np.clip(shift, -0.5, 0.5))
    in_range = (f0_hz >= MIN_F0_HZ) & (f0_hz <= MAX_F0_HZ)
    return np.where(candidates.any(axis=1) & in_range, f0_hz, np.nan)


def _difference(frames: NDArray[np.float64], window_samples: int) -> NDArray[np.float64]:
    """Compute YIN's cumulative mean normalised difference: [T, window + max_lag] -> [T, max_lag].

    d(lag) = E(0) + E(lag) - 2 r(lag); the correlation r comes from one FFT a frame.
    """
    frame_samples = frames.shape[1]
    max_lag = frame_samples - window_samples
    # Wrapped around, the correlation only spoils lags that are cut off below.
    fft_samples = 1 << (frame_samples - 1).bit_length()
    spectrum = np.fft.rfft(frames, fft_samples)
    head = np.fft.rfft(frames[:, :window_samples], fft_samples)
    correlation = np.fft.irfft(spectrum * head.conj(), fft_samples)[:, :max_lag]
    energy_sum = np.cumsum(np.pad(frames**2, ((0, 0), (1, 0))), axis=1)
    energy = energy_sum[:, window_samples : window_samples + max_lag] - energy_sum[:, :max_lag]
    difference = np.maximum(energy[:, :1] + energy - 2 * correlation, 0.0)
    mean_so_far = np.cumsum(difference, axis=1)[:, 1:] / np.arange(1, max_lag)
    normalised = np.ones_like(difference)
    np.divide(difference[:, 1:], mean_so_far, out=normalised[:, 1:], where=mean_so_far > 1e-12)
    return normalised
