"""When the words of one utterance sound, by whatever is known of it.

    exact      the engine says where each word begins
    estimated  spread by syllables between the silences, each border at the nearest dip of the sound

Either way a word ends before the silence that follows it.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import ceil
from operator import add

import numpy as np

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import SILENCE, WordMark
from fishs2.text.words import count_syllables

_FRAME_S = 0.005
_GAP_S = 0.04
"""Shorter silences belong to the sounds around them: those before a p or t last so long."""

_PAUSE_S = 0.1
"""A silence within an utterance that a mark of the text stands for."""

_EDGE_S = 0.02
"""How far from the pause it stands for the border of a word may be."""

_MARK = re.compile(r"[,;:.!?…—–。、，；：！？()\n]")
_MARK_WEIGHT = 1.5
"""Syllables that a pause lasts, where it cannot be seen in the sound."""

_MAX_SNAP_S = 0.08
_SNAP_SHARE = 0.4

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """A word of an utterance. start, end: its characters there; seconds of its own sound."""

    start: int
    end: int
    start_s: float
    end_s: float


class Loudness:
    """How loud a stretch of sound is, frame by frame. pcm: float32 [n]."""

    def __init__(self, pcm: Pcm, rate_hz: int) -> None:
        size = max(1, round(_FRAME_S * rate_hz))
        self.frame_s = size / rate_hz
        self.seconds = len(pcm) / rate_hz
        num_frames = len(pcm) // size
        frames = pcm[: num_frames * size].reshape(num_frames, size)
        # [T], the mean square of each frame, at least one. A sum of squares is the one thing that
        # NumPy finds of short rows at the speed of memory.
        powers = np.einsum("ts,ts->t", frames, frames) / size if num_frames else np.zeros(1)
        self._powers = np.fmax(powers, 0.0)  # what is no number is no sound
        least = max(SILENCE, 0.01 * float(np.sqrt(self._powers.max())))
        # Numbers of the frames with sound, in order; a list too, as it is searched for every word.
        self._loud_frames = np.flatnonzero(self._powers > least * least)
        self._loud: list[int] = self._loud_frames.tolist()

    def sounding(self, start_s: float, end_s: float) -> tuple[float, float]:
        """The part of a stretch with sound in it: without long silences at its ends.

        A border may be a little beside the pause that it stands for: what sounds between the two
        is the neighbour's.
        """
        begin, end = self._search(start_s), self._search(end_s - self.frame_s)
        if begin >= end:
            return start_s, end_s
        inner_begin, inner_end = self._search(start_s + _EDGE_S), self._search(end_s - _EDGE_S)
        if begin < inner_begin < end and self._is_pause(inner_begin):
            begin = inner_begin
        if begin < inner_end < end and self._is_pause(inner_end):
            end = inner_end
        begins_s = self._loud[begin] * self.frame_s
        ends_s = (self._loud[end - 1] + 1) * self.frame_s
        return (
            begins_s if begins_s - start_s > _GAP_S else start_s,
            ends_s if end_s - ends_s > _GAP_S else end_s,
        )

    def pauses(self) -> list[tuple[float, float]]:
        """Silences between sounds that are long enough for a pause, in order."""
        steps = self._loud_frames[1:] - self._loud_frames[:-1]
        gaps = np.flatnonzero(steps * self.frame_s > _PAUSE_S).tolist()
        return [
            ((self._loud[gap] + 1) * self.frame_s, self._loud[gap + 1] * self.frame_s)
            for gap in gaps
        ]

    def quietest(self, near_s: float, within_s: float) -> float:
        """The time of the quietest frame that is so near."""
        first, last = self._frames(near_s - within_s, near_s + within_s)
        if last <= first:
            return near_s
        return (first + int(self._powers[first:last].argmin()) + 0.5) * self.frame_s

    def _search(self, seconds: float) -> int:
        """Which of the loud frames is the first that begins at a time or later."""
        return bisect_left(self._loud, seconds / self.frame_s)

    def _is_pause(self, index: int) -> bool:
        """Whether a pause is before the loud frame of this number."""
        return (self._loud[index] - self._loud[index - 1]) * self.frame_s > _PAUSE_S

    def _frames(self, start_s: float, end_s: float) -> tuple[int, int]:
        first = max(0, int(start_s / self.frame_s))
        return first, max(first, min(len(self._powers), ceil(end_s / self.frame_s)))


def place_by_marks(
    words: Sequence[Span], marks: Sequence[WordMark], loudness: Loudness
) -> list[Placed]:
    """Where the engine said that words begin; a word it did not name lies between its neighbours.

    words: in order. marks: in order of time, of the text that the words are in.
    """
    starts: list[float | None] = []
    at = 0
    for start, end in words:
        while at < len(marks) and marks[at].start < start:
            at += 1
        is_named = at < len(marks) and marks[at].start < end
        starts.append(min(marks[at].at_s, loudness.seconds) if is_named else None)
    return _trim(words, _fill(words, starts, loudness.seconds), loudness)


def place_by_syllables(text: str, words: Sequence[Span], loudness: Loudness) -> list[Placed]:
    """Spread over the sound; pauses in it are those of the marks in the text."""
    if not words:
        return []
    begin_s, end_s = loudness.sounding(0.0, loudness.seconds)
    weights = [count_syllables(text[start:end]) for start, end in words]
    has_mark = [bool(_MARK.search(text[end:start])) for (_, end), (start, _) in pairwise(words)]
    borders = _anchor(weights, has_mark, loudness, begin_s, end_s)
    starts: list[float | None] = [begin_s]
    for index, border_s in enumerate(borders[1:-1]):
        width_s = min(border_s - borders[index], borders[index + 2] - border_s)
        near_s = loudness.quietest(border_s, min(_MAX_SNAP_S, _SNAP_SHARE * max(0.0, width_s)))
        starts.append(near_s)
    return _trim(words, _fill(words, starts, end_s), loudness)


def _anchor(
    weights: Sequence[int],
    has_mark: Sequence[bool],
    loudness: Loudness,
    begin_s: float,
    end_s: float,
) -> list[float]:
    """Borders of the words in seconds, one more than there are words."""
    pauses = loudness.pauses()
    # NumPy takes longer to begin than to add so few numbers.
    lasts = [_MARK_WEIGHT if mark else 0.0 for mark in has_mark]
    guess = _spread(weights, [*lasts, 0.0], begin_s, end_s)
    marked = [index + 1 for index, mark in enumerate(has_mark) if mark]
    known = _match(pauses, marked, guess)
    borders = [begin_s]
    at = [0, *(index for index, _ in known), len(weights)]
    ends = [*(pause for _, pause in known), (end_s, end_s)]
    from_s = begin_s
    for (first, last), (until_s, next_s) in zip(pairwise(at), ends, strict=True):
        lasts_inside = [*lasts[first : last - 1], 0.0]
        borders += _spread(weights[first:last], lasts_inside, from_s, until_s)[1:-1]
        borders.append(next_s)
        from_s = next_s
    return borders


def _spread(
    weights: Sequence[int], lasts: Sequence[float], from_s: float, until_s: float
) -> list[float]:
    """Borders of words that last as long as they weigh, one more than there are words."""
    sums = [0.0, *accumulate(map(add, weights, lasts))]
    each_s = (until_s - from_s) / sums[-1]
    return [from_s + each * each_s for each in sums]


def _match(
    pauses: Sequence[tuple[float, float]], marked: Sequence[int], guess: Sequence[float]
) -> list[tuple[int, tuple[float, float]]]:
    """Which border each pause is: in order, the nearest that has a mark."""
    found: list[tuple[int, tuple[float, float]]] = []
    free = list(marked)
    for number, pause in enumerate(pauses):
        # Every later pause keeps a border, where there are enough.
        spare = len(free) - (len(pauses) - number)
        choices = free[: max(1, spare + 1)]
        if not choices:
            break
        middle_s = (pause[0] + pause[1]) / 2
        best = min(choices, key=lambda border: abs(guess[border] - middle_s))
        found.append((best, pause))
        free = free[free.index(best) + 1 :]
    return found


def _fill(words: Sequence[Span], starts: Sequence[float | None], end_s: float) -> list[float]:
    """The time of each word's beginning, and of the end: what is missing by characters between."""
    known = [(words[i][0], time) for i, time in enumerate(starts) if time is not None]
    last = words[-1][1] if words else 0
    at = [-1.0, *(float(place) for place, _ in known), float(last)]
    times = np.maximum.accumulate([0.0, *(time for _, time in known), end_s])
    if known and known[0][0] == 0:
        at, times = at[1:], times[1:]
    filled = np.interp([float(start) for start, _ in words], at, times)
    return [*(float(each) for each in np.maximum.accumulate(filled)), end_s]


def _trim(words: Sequence[Span], times: Sequence[float], loudness: Loudness) -> list[Placed]:
    placed: list[Placed] = []
    for index, (start, end) in enumerate(words):
        after_s = max(times[index], times[index + 1])
        start_s, end_s = loudness.sounding(times[index], after_s)
        placed.append(Placed(start, end, start_s, end_s))
    return placed
