"""Text whose every character knows which part of the caller's text it stands for.

    source   "Pay &amp; go, **now**!"          what is heard can be shown where it was written: the
    text     "Pay & go, now!"                  "&" stands for "&amp;", the "n" of "now" for itself

Each step between what a client sends and what an engine reads is a list of edits; `Sourced` makes
them and keeps the places.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fishs2.text.edits import Edit

Places = NDArray[np.int32]
"""An offset into the source, in code points, for each character of a text: int32 [n]."""


@dataclass(frozen=True, slots=True, eq=False)
class Sourced:
    """A text and where it comes from.

    Character i stands for the characters from `starts[i]` to `ends[i]` of the source; for none,
    where both are the same. Neither ever falls, so that no two places cross.
    """

    text: str
    starts: Places
    ends: Places

    @staticmethod
    def of(source: str) -> "Sourced":
        """The source itself."""
        places = np.arange(len(source) + 1, dtype=np.int32)
        return Sourced(source, places[:-1], places[1:])

    def edit(self, edits: Iterable[Edit]) -> "Sourced":
        """The text with its edits made. edits: in order, not overlapping.

        Each character of a replacement stands for all that is replaced.
        """
        if isinstance(edits, list) and not edits:
            return self
        texts: list[str] = []
        starts: list[Places] = []
        ends: list[Places] = []
        done = 0
        for start, end, say in edits:
            if done < start:
                texts.append(self.text[done:start])
                starts.append(self.starts[done:start])
                ends.append(self.ends[done:start])
            if say:
                first, last = self._place(start, end)
                texts.append(say)
                starts.append(np.full(len(say), first, np.int32))
                ends.append(np.full(len(say), last, np.int32))
            done = end
        if not done and not texts:
            return self
        texts.append(self.text[done:])
        starts.append(self.starts[done:])
        ends.append(self.ends[done:])
        return Sourced("".join(texts), np.concatenate(starts), np.concatenate(ends))

    def sub(self, pattern: re.Pattern[str], say: str | Callable[[re.Match[str]], str]) -> "Sourced":
        """The text with each match of `pattern` replaced. say: as it stands, or made of a match."""
        edits = []
        for match in pattern.finditer(self.text):
            found = match.group()
            instead = say(match) if callable(say) else say
            if instead != found:
                edits.append(Edit(*match.span(), instead))
        return self.edit(edits)

    def recompose(self) -> "Sourced":
        """The text in NFC."""
        return self.edit(_find_recompositions(self.text))

    def select(self, start: int, end: int) -> "Sourced":
        """The part from `start` to `end`."""
        return Sourced(self.text[start:end], self.starts[start:end], self.ends[start:end])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Which part of the source the characters from `start` to `end` stand for."""
        return self._place(start, end)

    def _place(self, start: int, end: int) -> tuple[int, int]:
        if start < end:
            return int(self.starts[start]), int(self.ends[end - 1])
        if not start:
            at = int(self.starts[0]) if self.text else 0
            return at, at
        before = int(self.starts[start - 1]), int(self.ends[start - 1])
        if start < len(self.text) and self.starts[start] < before[1]:
            # Both stand for the same.
            return before
        return before[1], before[1]


def find_changes(source: str, parts: Sequence[Sourced]) -> list[Edit]:
    """Return what was changed between `source` and its parts, in order; white space is nothing."""
    text = join(parts)
    changes: list[Edit] = []
    at = said = 0
    for index, (start, end) in enumerate(zip(text.starts, text.ends, strict=True)):
        if end - start == 1 and start >= at and source[start] == text.text[index]:
            changes.append(Edit(at, int(start), text.text[said:index]))
            at, said = int(end), index + 1
    changes.append(Edit(at, len(source), text.text[said:]))
    return [each for each in changes if source[each.start : each.end].strip() or each.say.strip()]


def join(parts: Sequence[Sourced]) -> Sourced:
    """Adjoining parts as one text."""
    return Sourced(
        "".join(part.text for part in parts),
        np.concatenate([part.starts for part in parts] or [_NOWHERE]),
        np.concatenate([part.ends for part in parts] or [_NOWHERE]),
    )


NOTHING = Sourced.of("")
"""No text."""


def cut_source(source: str, utterances: Sequence[Sourced]) -> list[str]:
    """Cut `source` into one part per utterance; joined, they are the source, to the character.

    utterances: at least one, in order. What is spoken of none, as a mark, belongs to the utterance
    before it up to a space or an opening bracket, from there to the next.
    """
    borders = [0]
    for before, after in pairwise(utterances):
        end, start = _end_of(before, least=borders[-1]), _start_of(after)
        between = _OPENS_NEXT.match(source, end, max(end, start))
        borders.append(between.end() if between else end)
    borders.append(len(source))
    return [source[start:end] for start, end in pairwise(borders)]


_OPENS_NEXT = re.compile(r"[^\s\[(<]*+\s*+|.")


def _end_of(utterance: Sourced, *, least: int) -> int:
    return max(least, int(utterance.ends[-1])) if utterance.text else least


def _start_of(utterance: Sourced) -> int:
    # A style that is said again stands where it was first.
    own = np.flatnonzero(utterance.starts < utterance.ends)
    return int(utterance.starts[own[0]]) if len(own) else 0


_NOWHERE: Places = np.zeros(0, np.int32)

# Hangul vowels and final consonants join the syllable before them, and are no marks.
_JOINING_LETTERS = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb]")


def _find_recompositions(text: str) -> Iterator[Edit]:
    """Yield what NFC changes, a character with its marks at a time."""
    if unicodedata.is_normalized("NFC", text):
        return
    start = 0
    for at in range(1, len(text) + 1):
        if at < len(text) and _joins(text[at]):
            continue
        piece = text[start:at]
        if at - start > 1 or not piece.isascii():
            composed = unicodedata.normalize("NFC", piece)
            if composed != piece:
                yield Edit(start, at, composed)
        start = at


def _joins(character: str) -> bool:
    if character.isascii():
        return False
    is_mark = unicodedata.category(character)[0] == "M" or unicodedata.combining(character) > 0
    return is_mark or _JOINING_LETTERS.match(character) is not None
