"""Whether a recording has a voice in it: what a reference must have, whatever engine is to use it.

Two measures, each on frames of 40 ms, every 10 ms, of the recording at 8 to 16 kHz.

*Voiced* sound repeats itself: the autocorrelation of a frame, relative to that of its window, has a
peak at the period of the voice. Noise reaches 0.2 there, and 0.4 for single frames if it is
coloured; 0.5 in six frames in a row with one pitch is reached by nothing but tones and narrow
bands, such as a fan's. Speech reaches it under as much noise. A band sounds the same throughout,
which speech never does; a tone that does repeats itself better than any noise, and passes for a
hummed note.

*Whispered* sound has no period, but its colour changes all the time: the shares of the bands vary
by 5 dB and more between their quartiles, where those of steady noise, of noise that is switched or
swells, and of clicks stay under 2.5.

Measured on eSpeak in 14 languages and 17 variants (croaking, whispering, a child's), clean, over a
telephone, at -70 dB, clipped, and in four noises of 0 to 20 dB; on re-synthesised whisper; on
singing from 82 to 1,000 Hz; against 24 kinds of noise, clicks and hum. Costs 40 ms for 30 s.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishs2.audio.pcm import Pcm

MIN_VOICE_S = 0.25
"""A syllable or two: less says nothing about a voice. Half a second of speech has about this."""

_WORK_RATE_HZ = 8_000
_WINDOW_S, _HOP_S = 0.04, 0.01
_FRAMES_PER_BLOCK = 512  # bounds memory to a few MB whatever the duration

# Bass voices and sopranos; mains hum, at 50 and 60 Hz, is below.
_MIN_F0_HZ, _MAX_F0_HZ = 65.0, 1_050.0
_MIN_CORRELATION = 0.5
_MIN_RUN_FRAMES = 6
# The pitch of speech glides by less than this from frame to frame.
_MAX_PITCH_STEP = 0.12
# A period is taken for its first multiple unless that is a better one by far.
_FIRST_PEAK = 0.85

_BAND_EDGES_HZ = (200, 500, 900, 1_400, 2_000, 2_800, 3_900)
_SMOOTH_FRAMES = 5
_MIN_WHISPER_CHANGE_DB = 4.0
_MIN_WHISPER_S = 0.4
# Under this a sound is steady: a voice only if it repeats itself as no noise does.
_STEADY_CHANGE_DB = 1.9
_PURE_CORRELATION = 0.97

# A frame is active when it is at most this much below the loud frames, and more than one step of
# 16 bits.
_ACTIVE_RANGE_DB = 40.0
_WHISPER_RANGE_DB = 30.0
_MIN_POWER = 1e-10


@dataclass(frozen=True, slots=True)
class _Frames:
    """What is measured of each frame. lag: of its best period, in samples; bands: [T, bands]."""

    power: NDArray[np.float64]
    correlation: NDArray[np.float64]
    lag: NDArray[np.int64]
    bands: NDArray[np.float64]


def measure_voice_s(pcm: Pcm, sample_rate_hz: int) -> float:
    """Seconds of a recording in which a voice is heard, voiced or whispered.

    pcm: float32 [n], finite. 0 for silence, noise, clicks and hum.
    """
    low, rate_hz = _decimate(pcm, sample_rate_hz)
    frames = _measure_frames(low, rate_hz)
    if frames is None:
        return 0.0
    loud = float(np.percentile(frames.power, 95))
    is_voiced = _find_voiced(frames, _is_active(frames, loud, _ACTIVE_RANGE_DB))
    voiced_s = float(is_voiced.sum()) * _HOP_S
    if voiced_s >= MIN_VOICE_S and (
        _change_db(frames, is_voiced, loud) >= _STEADY_CHANGE_DB
        or np.median(frames.correlation[is_voiced]) >= _PURE_CORRELATION
    ):
        return voiced_s
    is_active = _is_active(frames, loud, _WHISPER_RANGE_DB)
    active_s = float(is_active.sum()) * _HOP_S
    is_whisper = _change_db(frames, is_active, loud) >= _MIN_WHISPER_CHANGE_DB
    return active_s if is_whisper and active_s >= _MIN_WHISPER_S else 0.0


def measure_pitch_hz(pcm: Pcm, sample_rate_hz: int) -> NDArray[np.float64]:
    """The pitch of each voiced frame, every 10 ms, in Hz: [n]; none for what has no voice."""
    low, rate_hz = _decimate(pcm, sample_rate_hz)
    frames = _measure_frames(low, rate_hz)
    if frames is None:
        return np.zeros(0)
    loud = float(np.percentile(frames.power, 95))
    is_voiced = _find_voiced(frames, _is_active(frames, loud, _ACTIVE_RANGE_DB))
    return np.asarray(rate_hz / frames.lag[is_voiced])


def is_silent(pcm: Pcm) -> bool:
    """Whether there is nothing but a constant, or less than one step of 16 bits."""
    return float(np.var(pcm, dtype=np.float64)) < _MIN_POWER


def _decimate(pcm: Pcm, sample_rate_hz: int) -> tuple[NDArray[np.float64], float]:
    """Bring PCM to 8..16 kHz by a whole factor; the mean is filter enough for what is asked."""
    factor = max(1, sample_rate_hz // _WORK_RATE_HZ)
    num_samples = pcm.size // factor
    low = pcm[: num_samples * factor].reshape(num_samples, factor).mean(axis=1, dtype=np.float64)
    return low, sample_rate_hz / factor


def _measure_frames(low: NDArray[np.float64], rate_hz: float) -> _Frames | None:
    window = np.hanning(round(_WINDOW_S * rate_hz))
    if low.size < window.size:
        return None
    views = np.lib.stride_tricks.sliding_window_view(low, window.size)[:: round(_HOP_S * rate_hz)]
    blocks = [
        _measure_block(views[start : start + _FRAMES_PER_BLOCK], window, rate_hz)
        for start in range(0, len(views), _FRAMES_PER_BLOCK)
    ]
    return _Frames(
        *(
            np.concatenate([getattr(block, name) for block in blocks])
            for name in ("power", "correlation", "lag", "bands")
        )
    )


def _measure_block(
    views: NDArray[np.float64], window: NDArray[np.float64], rate_hz: float
) -> _Frames:
    """Source of the correction for the window: Boersma, IFA Proceedings 17, 1993, equation 9."""
    size = window.size
    num_bins = 1 << (2 * size - 1).bit_length()
    frames = views - views.mean(axis=1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(frames * window, num_bins)) ** 2  # [T, bins]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, num_bins)) ** 2, num_bins)[:size]
    correlation = np.fft.irfft(spectrum, num_bins)[:, :size] / np.maximum(own, 1e-9 * own[0])
    correlation /= np.maximum(correlation[:, :1], 1e-20)
    first = int(rate_hz / _MAX_F0_HZ)
    last = min(int(rate_hz / _MIN_F0_HZ) + 1, size * 3 // 4)
    inner = correlation[:, first:last]
    is_peak = (inner >= correlation[:, first - 1 : last - 1]) & (
        inner > correlation[:, first + 1 : last + 1]
    )
    peaks = np.where(is_peak, inner, -1.0)
    best = peaks.max(axis=1)
    lag = np.argmax(peaks >= _FIRST_PEAK * best[:, np.newaxis], axis=1) + first
    hz = np.fft.rfftfreq(num_bins, 1 / rate_hz)
    edges = np.searchsorted(hz, [edge for edge in _BAND_EDGES_HZ if edge <= rate_hz / 2])
    bands = np.add.reduceat(spectrum, edges, axis=1)[:, :-1]
    return _Frames(frames.var(axis=1), best, lag, bands)


def _is_active(frames: _Frames, loud: float, range_db: float) -> NDArray[np.bool_]:
    return np.asarray(frames.power > max(loud * 10 ** (-range_db / 10), _MIN_POWER))


def _find_voiced(frames: _Frames, is_active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the frames that are in a run of voiced ones with one pitch: bool [T]."""
    is_periodic = is_active & (frames.correlation > _MIN_CORRELATION)
    is_linked = is_periodic.copy()
    step = np.abs(np.diff(np.log(frames.lag)))
    is_linked[1:] &= is_periodic[:-1] & (step < _MAX_PITCH_STEP)
    borders = np.flatnonzero(np.diff(np.concatenate([[False], is_linked, [False]])))
    is_voiced = np.zeros(len(is_linked), np.bool_)
    for start, end in zip(borders[::2], borders[1::2], strict=True):
        if end - start >= _MIN_RUN_FRAMES - 1:
            is_voiced[start:end] = True
    return is_voiced


def _change_db(frames: _Frames, chosen: NDArray[np.bool_], loud: float) -> float:
    """How far apart the quartiles of the bands' shares are in the chosen frames, on average."""
    if chosen.sum() < 2 * _SMOOTH_FRAMES:
        return 0.0
    kernel = np.ones(_SMOOTH_FRAMES) / _SMOOTH_FRAMES
    smooth = np.stack([np.convolve(band, kernel, "same") for band in frames.bands.T], axis=1)
    level_db = 10 * np.log10(smooth[chosen] + max(loud, _MIN_POWER) * 1e-7)
    shares_db = level_db - level_db.mean(axis=1, keepdims=True)
    low, high = np.percentile(shares_db, (25, 75), axis=0)
    return float(np.mean(high - low))
