"""When the words of a known text sound, by the words that were heard and their times.

The text is held against what was heard character by character, so that it does not matter how
either is cut into words, or whether a number was written in digits.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fishs2.listening.base import HeardWord

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word of a text and when it sounds. start, end: its characters in the text, end exclusive.

    Seconds from the beginning of the sound; words are in order and do not overlap.
    """

    start: int
    end: int
    start_s: float
    end_s: float


def place_words(
    text: str, heard: Sequence[HeardWord], *, seconds: float, spans: Sequence[tuple[int, int]] = ()
) -> list[PlacedWord]:
    """Say when each word of `text` sounds, by what was heard of it.

    seconds: length of the sound. spans: places of the words; none takes what stands between spaces.
    Words without a letter or digit, and words that were not heard, lie between their neighbours.
    """
    places = list(spans) or [match.span() for match in _WORD.finditer(text)]
    marks = _marks(text, heard, seconds)
    if not marks:
        return _spread(places, len(text), seconds)
    at = [mark[0] for mark in marks]
    times = [mark[1] for mark in marks]
    placed: list[PlacedWord] = []
    now_s = 0.0
    for start, end in places:
        first, last = _sounding(text, start, end)
        start_s = min(seconds, max(now_s, _look_up(at, times, first, is_start=True)))
        end_s = min(seconds, max(start_s, _look_up(at, times, last, is_start=False)))
        placed.append(PlacedWord(start, end, round(start_s, 3), round(end_s, 3)))
        now_s = end_s
    return placed


def _marks(text: str, heard: Sequence[HeardWord], seconds: float) -> list[tuple[float, float]]:
    """Places in the text whose time is known, in order: the ends of characters that agree."""
    # Imported here: it belongs to the extra `asr`.
    from rapidfuzz.distance import Levenshtein

    known = _letters(text)
    said: list[tuple[str, float, float]] = []
    for word in heard:
        letters = [char for char, _ in _letters(word.text)]
        each_s = (word.end_s - word.start_s) / max(1, len(letters))
        said += [
            (char, word.start_s + number * each_s, word.start_s + (number + 1) * each_s)
            for number, char in enumerate(letters)
        ]
    marks: list[tuple[float, float]] = []
    left, right = "".join(char for char, _ in known), "".join(char for char, _, _ in said)
    for code in Levenshtein.opcodes(left, right):
        if code.tag != "equal":
            continue
        for offset in range(code.src_end - code.src_start):
            place = known[code.src_start + offset][1]
            _, start_s, end_s = said[code.dest_start + offset]
            marks += [(place, start_s), (place + 1, end_s)]
    return marks and [(0.0, min(marks[0][1], seconds)), *marks, (len(text), marks[-1][1])]


def _look_up(at: list[float], times: list[float], place: int, *, is_start: bool) -> float:
    """The time of a place: known, or between those of its neighbours."""
    # Where one character ends and the next begins there are two marks: a word ends at the first.
    index = bisect_right(at, place - 0.5)
    if is_start:
        while index + 1 < len(at) and at[index] == place and at[index + 1] == place:
            index += 1
    if index < len(at) and at[index] == place:
        return times[index]
    before, after = max(0, index - 1), min(index, len(at) - 1)
    width = at[after] - at[before]
    share = (place - at[before]) / width if width else 0.0
    return times[before] + share * (times[after] - times[before])


def _sounding(text: str, start: int, end: int) -> tuple[int, int]:
    """The part of a word that can be heard: without the marks around it."""
    first, last = start, end
    while first < last and not text[first].isalnum():
        first += 1
    while last > first and not text[last - 1].isalnum():
        last -= 1
    return (first, last) if first < last else (start, end)


def _letters(text: str) -> list[tuple[str, int]]:
    """Letters and digits in one case and plain, each with the place it stands at."""
    return [
        (plain, place)
        for place, char in enumerate(text)
        for plain in unicodedata.normalize("NFKD", char).casefold()
        if plain.isalnum()
    ]


def _spread(places: Sequence[tuple[int, int]], num_chars: int, seconds: float) -> list[PlacedWord]:
    """By characters alone, where nothing of the text was heard."""
    each_s = seconds / max(1, num_chars)
    return [
        PlacedWord(start, end, round(start * each_s, 3), round(end * each_s, 3))
        for start, end in places
    ]
