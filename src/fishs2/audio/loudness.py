"""Loudness as people hear it, and bringing speech to one: ITU-R BS.1770-5, annex 1.

Two filters weight the sound (a shelf for the head, a high-pass for the ear's deafness to bass),
the mean square of 400 ms blocks is taken every 100 ms, and blocks that are silence, or far below
the rest, do not count.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fishs2.audio.pcm import Pcm
from fishs2.audio.sink import Sink

_STEP_S = 0.1  # blocks of four steps overlap by 75 %
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_OFFSET_LUFS = -0.691  # so that a 997 Hz sine of full scale is at -3.01

# The analogue prototypes behind the 48 kHz coefficients of BS.1770, which at other rates have to be
# derived again. Source: BS.1770-5 annex 1, tables 1 and 2; values by De Man (2014), which give the
# tables' coefficients at 48 kHz.
_SHELF_HZ, _SHELF_Q, _SHELF_DB = 1681.974450955533, 0.7071752369554196, 3.999843853973347
_HIGH_PASS_HZ, _HIGH_PASS_Q = 38.13547087602444, 0.5003270373238773

_MAX_GAIN_DB = 20.0  # what needs more is noise that somebody recorded
_NUM_STEPS_PER_BLOCK = 4
# What comes out too loud is corrected sooner than what comes out too soft.
_FALL_DB_PER_STEP, _RISE_DB_PER_STEP = 1.2, 0.3

# After this time the weighting filters have forgotten a sound, to 120 dB below it: the high-pass
# has a double pole at 38 Hz, which decays by 2,080 dB per second.
_MEMORY_S = 0.08

_PIECE_BYTES = 1 << 20

Biquad = tuple[float, float, float, float, float]
"""b0, b1, b2, a1, a2; a0 is 1."""

F64 = NDArray[np.float64]


def k_weighting(sample_rate_hz: int) -> tuple[Biquad, Biquad]:
    """The two filters at a sample rate: shelf, then high-pass."""
    k = math.tan(math.pi * _SHELF_HZ / sample_rate_hz)
    high = 10 ** (_SHELF_DB / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / _SHELF_Q + k * k
    shelf = (
        (high + middle * k / _SHELF_Q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - middle * k / _SHELF_Q + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / _SHELF_Q + k * k) / a0,
    )
    k = math.tan(math.pi * _HIGH_PASS_HZ / sample_rate_hz)
    a0 = 1 + k / _HIGH_PASS_Q + k * k
    high_pass = (1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / _HIGH_PASS_Q + k * k) / a0)
    return shelf, high_pass


class LoudnessMeter:
    """Measures a stream of PCM. The result does not depend on how the stream is cut."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._step_len = round(_STEP_S * sample_rate_hz)
        self._response, self._tail_len = _weighting_response(sample_rate_hz, self._step_len)
        self._tail: F64 = np.zeros(self._tail_len)
        self._waiting: list[Pcm] = []
        self._num_waiting = 0
        self._powers: list[float] = []
        """Mean square of every complete step, weighted."""

    def add(self, pcm: Pcm) -> None:
        """Take float32 [n] more."""
        self._waiting.append(pcm)
        self._num_waiting += len(pcm)
        if self._num_waiting < self._step_len:
            return
        samples = np.concatenate(self._waiting)
        num_steps = len(samples) // self._step_len
        for step in samples[: num_steps * self._step_len].reshape(num_steps, self._step_len):
            weighted, self._tail = self._weight(step)
            self._powers.append(float(np.mean(weighted**2)))
        self._waiting = [samples[num_steps * self._step_len :]]
        self._num_waiting = len(self._waiting[0])

    def loudness(self) -> float:
        """Integrated loudness of all so far, in LUFS; -inf for silence.

        Sound of less than a block is one block.
        """
        powers = np.array(self._powers)
        if len(powers) >= _NUM_STEPS_PER_BLOCK:
            blocks = np.convolve(powers, np.full(_NUM_STEPS_PER_BLOCK, 0.25), mode="valid")
        else:
            blocks = np.array([self._mean_power()])
        loud = blocks[_to_lufs(blocks) > _ABSOLUTE_GATE_LUFS]
        if not len(loud):
            return -math.inf
        gate = _to_lufs(np.mean(loud, keepdims=True))[0] + _RELATIVE_GATE_LU
        return float(_to_lufs(np.mean(loud[_to_lufs(loud) > gate], keepdims=True))[0])

    def _mean_power(self) -> float:
        """Of everything so far, the incomplete step too."""
        rest = np.concatenate([np.zeros(0, np.float32), *self._waiting])
        num_samples = len(self._powers) * self._step_len + len(rest)
        if not num_samples:
            return 0.0
        energy = sum(self._powers) * self._step_len
        if len(rest):
            weighted, _ = self._weight(np.pad(rest, (0, self._step_len - len(rest))))
            energy += float(np.sum(weighted[: len(rest)] ** 2))
        return energy / num_samples

    def _weight(self, step: Pcm) -> tuple[F64, F64]:
        """Filter one step. Returns it, and what it adds to the steps after it."""
        num_fft = 2 * (len(self._response) - 1)
        full = np.fft.irfft(np.fft.rfft(step, num_fft) * self._response, num_fft)
        full = full[: self._step_len + self._tail_len]
        full[: self._tail_len] += self._tail
        return full[: self._step_len], full[self._step_len :]


class WholeLoudness:
    """Brings a sound to a loudness by one gain. It keeps everything until its end."""

    def __init__(self, target_lufs: float, sample_rate_hz: int, *, kept: Sink) -> None:
        """kept: where the sound is; an empty file, which the caller closes."""
        self._target_lufs = target_lufs
        self._meter = LoudnessMeter(sample_rate_hz)
        self._kept = kept

    def apply(self, pcm: Pcm) -> Pcm:
        """Take float32 [n]; gives nothing yet."""
        self._meter.add(pcm)
        self._kept.write(pcm.tobytes())
        return np.zeros(0, np.float32)

    def drain(self) -> Iterator[Pcm]:
        """Give the whole sound, in pieces."""
        gain_db = _gain_to(self._target_lufs, self._meter.loudness()) or 0.0
        gain = np.float32(10 ** (gain_db / 20))
        self._kept.seek(0)
        while piece := self._kept.read(_PIECE_BYTES):
            yield np.frombuffer(piece, np.float32) * gain


class StreamLoudness:
    """Brings a stream towards a loudness, by what has been heard of it.

    Every 100 ms it hears 300 ms ahead, and turns the gain slowly to what the loudness so far asks
    for. What has been given never changes, and does not depend on how the stream is cut.
    """

    def __init__(self, target_lufs: float, sample_rate_hz: int) -> None:
        self._target_lufs = target_lufs
        self._step_len = round(_STEP_S * sample_rate_hz)
        self._meter = LoudnessMeter(sample_rate_hz)
        self._waiting: Pcm = np.zeros(0, np.float32)  # heard by the meter, not yet given
        self._unheard: Pcm = np.zeros(0, np.float32)
        self._gain_db: float | None = None

    def apply(self, pcm: Pcm) -> Pcm:
        """Take float32 [n]; gives what is 300 ms before the end, in whole steps."""
        self._unheard = np.concatenate((self._unheard, pcm))
        given: list[Pcm] = [np.zeros(0, np.float32)]
        while len(self._unheard) >= self._step_len:
            self._hear(self._step_len)
            if len(self._waiting) >= _NUM_STEPS_PER_BLOCK * self._step_len:
                given.append(self._give(self._step_len))
        return np.concatenate(given)

    def drain(self) -> Iterator[Pcm]:
        """Give the rest."""
        self._hear(len(self._unheard))
        while len(self._waiting):
            yield self._give(min(self._step_len, len(self._waiting)))

    def _hear(self, num_samples: int) -> None:
        heard, self._unheard = self._unheard[:num_samples], self._unheard[num_samples:]
        self._meter.add(heard)
        self._waiting = np.concatenate((self._waiting, heard))

    def _give(self, num_samples: int) -> Pcm:
        step, self._waiting = self._waiting[:num_samples], self._waiting[num_samples:]
        before_db = self._gain_db
        wanted_db = _gain_to(self._target_lufs, self._meter.loudness())
        if wanted_db is None:
            return step  # nothing but silence so far
        if before_db is None:
            before_db = wanted_db
        after_db = min(max(wanted_db, before_db - _FALL_DB_PER_STEP), before_db + _RISE_DB_PER_STEP)
        self._gain_db = after_db
        ramp_db = np.linspace(before_db, after_db, num_samples, endpoint=False)
        turned: Pcm = (step * 10 ** (ramp_db / 20)).astype(np.float32)
        return turned


def _gain_to(target_lufs: float, loudness_lufs: float) -> float | None:
    """The gain in dB, within bounds; None for silence."""
    if loudness_lufs == -math.inf:
        return None
    return min(max(target_lufs - loudness_lufs, -_MAX_GAIN_DB), _MAX_GAIN_DB)


def _to_lufs(power: F64) -> F64:
    with np.errstate(divide="ignore"):
        lufs: F64 = _OFFSET_LUFS + 10 * np.log10(power)
    return lufs


@lru_cache(maxsize=16)
def _weighting_response(sample_rate_hz: int, step_len: int) -> tuple[NDArray[np.complex128], int]:
    """Both filters as one FIR: its spectrum for steps of `step_len`, and how far it reaches on."""
    num_long = 1 << (sample_rate_hz // 2).bit_length()
    unit = np.exp(-2j * np.pi * np.arange(num_long // 2 + 1) / num_long)
    spectrum = np.ones_like(unit)
    for b0, b1, b2, a1, a2 in k_weighting(sample_rate_hz):
        spectrum *= (b0 + b1 * unit + b2 * unit**2) / (1 + a1 * unit + a2 * unit**2)
    tail_len = min(round(_MEMORY_S * sample_rate_hz), step_len)
    impulse = np.fft.irfft(spectrum, num_long)[: tail_len + 1]
    num_fft = 1 << (step_len + tail_len - 1).bit_length()
    return np.fft.rfft(impulse, num_fft), tail_len
