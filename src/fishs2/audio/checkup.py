"""What a recording is like as a reference for cloning: a number and a sentence for each question.

Levels are of frames of 20 ms. What counts as good is a rule of thumb: engines clone what they are
given, its room and its noise included.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fishs2.audio.pcm import Pcm
from fishs2.audio.voicing import measure_pitch_hz

Grade = Literal["good", "fair", "poor"]

_FRAME_S = 0.02
_MIN_POWER = 1e-12
_ACTIVE_RANGE_DB = 30.0
"""Frames of speech are at most this much below the loud ones."""

_FULL_SCALE = 0.999
_MIN_CLIPPED_RUN = 3
"""A peak touches full scale in one or two samples; what was cut off stays there."""

_BAND_RANGE_DB = 60.0
_BAND_HZ = 250.0
_MIN_SHARE = 0.2
_MAX_GAP = 7.0
"""Semitones: people who read aloud stay within this, and men and women are about 10 apart."""
_MIN_PITCHES = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. name: the question, part of the API. text: a sentence with the number in it."""

    name: str
    grade: Grade
    value: float
    unit: str
    text: str


def examine(pcm: Pcm, sample_rate_hz: int) -> list[Finding]:
    """Answer all questions that the samples alone can answer.

    pcm: float32 [n], finite, at least 40 ms. Blocks; 30 s take 0.1 s.
    """
    levels_db = _levels_db(pcm, sample_rate_hz)
    loud_db = float(np.percentile(levels_db, 95))
    is_active = levels_db > loud_db - _ACTIVE_RANGE_DB
    speech_db = _mean_db(levels_db[is_active])
    return [
        _length(len(pcm) / sample_rate_hz),
        _level(speech_db),
        _clipping(pcm),
        _noise(levels_db, speech_db),
        _silence(is_active),
        _band_width(pcm, sample_rate_hz),
        _speakers(pcm, sample_rate_hz),
    ]


def _finding(name: str, value: float, unit: str, grades: tuple[Grade, str]) -> Finding:
    grade, text = grades
    return Finding(name, grade, round(value, 2), unit, text)


def _length(seconds: float) -> Finding:
    said = f"the recording has {seconds:.1f} s"
    if seconds < 3:
        grades: tuple[Grade, str] = ("poor", f"{said}, which is very short: send 8 to 30 s")
    elif not 8 <= seconds <= 30:
        how = "short" if seconds < 8 else "long"
        grades = ("fair", f"{said}, which is {how}: 8 to 30 s do best")
    else:
        grades = ("good", f"{said}; 8 to 30 s do best")
    return _finding("length", seconds, "s", grades)


def _level(speech_db: float) -> Finding:
    said = f"speech is at {speech_db:.0f} dB of full scale"
    if speech_db < -45:
        grades: tuple[Grade, str] = ("poor", f"{said}, which is very quiet: record it louder")
    elif speech_db < -32 or speech_db > -9:
        how = "quiet" if speech_db < -32 else "loud"
        grades = ("fair", f"{said}, which is {how}: -32 to -9 dB do best")
    else:
        grades = ("good", f"{said}; -32 to -9 dB do best")
    return _finding("level", speech_db, "dBFS", grades)


def _clipping(pcm: Pcm) -> Finding:
    is_full = np.abs(pcm) >= _FULL_SCALE * max(_FULL_SCALE, float(np.abs(pcm).max()))
    borders = np.flatnonzero(np.diff(np.concatenate([[False], is_full, [False]]).astype(np.int8)))
    runs = borders[1::2] - borders[::2]
    permille = 1000 * float(runs[runs >= _MIN_CLIPPED_RUN].sum()) / len(pcm)
    said = f"{permille:.2f} of 1,000 samples are cut off at full scale"
    if permille > 1:
        grades: tuple[Grade, str] = ("poor", f"{said}: record it again with less gain")
    elif permille > 0.02:
        grades = ("fair", f"{said}: less gain would be better")
    else:
        grades = ("good", said)
    return _finding("clipping", permille, "permille", grades)


def _noise(levels_db: NDArray[np.float64], speech_db: float) -> Finding:
    floor_db = float(np.percentile(levels_db, 5))
    distance_db = min(speech_db - floor_db, 96.0)
    said = f"the noise between words is {distance_db:.0f} dB below the speech"
    if distance_db < 15:
        grades: tuple[Grade, str] = ("poor", f"{said}: record it where it is quiet")
    elif distance_db < 30:
        grades = ("fair", f"{said}; 30 dB or more do best")
    else:
        grades = ("good", said)
    return _finding("noise", distance_db, "dB", grades)


def _silence(is_active: NDArray[np.bool_]) -> Finding:
    borders = np.flatnonzero(np.diff(np.concatenate([[True], is_active, [True]]).astype(np.int8)))
    longest_s = float((borders[1::2] - borders[::2]).max(initial=0)) * _FRAME_S
    share = 1 - float(is_active.mean())
    said = f"the longest silence has {longest_s:.1f} s, and {share:.0%} of it all is silence"
    if longest_s > 3 or share > 0.7:
        grades: tuple[Grade, str] = ("poor", f"{said}: cut it out")
    elif longest_s > 1.5 or share > 0.5:
        grades = ("fair", f"{said}: shorter pauses would be better")
    else:
        grades = ("good", said)
    return _finding("silence", longest_s, "s", grades)


def _band_width(pcm: Pcm, sample_rate_hz: int) -> Finding:
    """Up to where there is more than what an encoder or a telephone leaves."""
    size = 1 << max(8, round(_FRAME_S * 2 * sample_rate_hz).bit_length())
    if len(pcm) < size:
        pcm = np.pad(pcm, (0, size - len(pcm)))
    num_frames = min(4_000, len(pcm) // size)
    frames = pcm[: num_frames * size].reshape(num_frames, size)
    power = np.zeros(size // 2 + 1)
    for start in range(0, num_frames, 256):
        spectrum = np.fft.rfft(frames[start : start + 256] * np.hanning(size), axis=1)
        power += np.square(np.abs(spectrum)).sum(axis=0)
    width = max(1, round(_BAND_HZ * size / sample_rate_hz))
    bands = power[: len(power) // width * width].reshape(-1, width).mean(axis=1)
    bands_db = 10 * np.log10(np.maximum(bands, _MIN_POWER))
    highest = int(np.flatnonzero(bands_db > bands_db.max() - _BAND_RANGE_DB).max(initial=0)) + 1
    top_hz = min(highest * width * sample_rate_hz / size, sample_rate_hz / 2)
    said = f"there is sound up to {top_hz:,.0f} Hz"
    if top_hz < 3_800:
        grades: tuple[Grade, str] = ("poor", f"{said}, as over a telephone: record it anew")
    elif top_hz < 7_000:
        grades = ("fair", f"{said}; up to 7,000 Hz or more does best")
    else:
        grades = ("good", said)
    return _finding("band_width", top_hz, "Hz", grades)


def _speakers(pcm: Pcm, sample_rate_hz: int) -> Finding:
    """How far apart the two halves of the voice's pitches are, where they are two heaps."""
    pitches = measure_pitch_hz(pcm, sample_rate_hz)
    gap = _gap_semitones(pitches)
    if gap is None:
        text = "too little of a pitched voice to tell whether one person speaks"
        return Finding("speakers", "fair", 0.0, "semitones", text)
    if gap > _MAX_GAP:
        grades: tuple[Grade, str] = (
            "fair",
            f"the voice has two pitches, {gap:.1f} semitones apart: perhaps two people speak, "
            "where one is needed",
        )
    else:
        text = f"the pitches of the voice are {gap:.1f} semitones apart, as one person's are"
        grades = ("good", text)
    return _finding("speakers", gap, "semitones", grades)


def _gap_semitones(pitches_hz: NDArray[np.float64]) -> float | None:
    """Between the means of two heaps of pitches; 0 where they are one, None where there are few."""
    if len(pitches_hz) < _MIN_PITCHES:
        return None
    tones = np.sort(12 * np.log2(pitches_hz))
    low, high = np.percentile(tones, (10, 90))
    for _ in range(20):
        is_high = tones > (low + high) / 2
        if not 0 < is_high.sum() < len(tones):
            return 0.0
        low, high = float(tones[~is_high].mean()), float(tones[is_high].mean())
    share = min(float(is_high.mean()), 1 - float(is_high.mean()))
    spread = (tones[is_high].std() + tones[~is_high].std()) / 2
    # Two heaps lie further apart than each is wide; one that is cut in two does not.
    is_two = share >= _MIN_SHARE and high - low > 3.5 * max(spread, 0.5)
    return high - low if is_two else 0.0


def _levels_db(pcm: Pcm, sample_rate_hz: int) -> NDArray[np.float64]:
    size = max(1, round(_FRAME_S * sample_rate_hz))
    frames = pcm[: max(size, len(pcm) // size * size)]
    if len(frames) < size:
        frames = np.pad(frames, (0, size - len(frames)))
    power = np.square(frames.reshape(-1, size), dtype=np.float64).mean(axis=1)
    return np.asarray(10 * np.log10(np.maximum(power, _MIN_POWER)))


def _mean_db(levels_db: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels_db / 10))))
