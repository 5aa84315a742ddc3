"""Cutting a sentence that is too long for one utterance.

Borders in order of preference: a clause end, a word end, and only inside a word without end a
character that a reader would cut at. A tag is never cut and never left behind at the end of a
piece. Called by `split`; what ends a sentence is not decided here.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from fishs2.text.graphemes import is_grapheme_border
from fishs2.text.normalize import has_speech
from fishs2.text.scripts import CLOSERS, PHRASE_SPACED, TAG_MASK, UNSPACED
from fishs2.text.tags import Span, select_styles

Boundary = Literal["scene", "paragraph", "line", "sentence", "clause", "word"]
"""What ends an utterance, strongest first; the pause after it follows from that."""

# Something to pronounce follows each border, so that no piece consists of a dash or a row of stars.
# The bound, and no backtracking into a run (++, (?>...)), keep the search linear in a text that is
# nothing but punctuation.
_SPEECH_FOLLOWS = r"(?=(?:[^\w\s]|_){0,32}[^\W_])"
_BEHIND_MARK = rf"(?=[\s{TAG_MASK}{UNSPACED}\"'”’»)])"
_CLAUSE_END = re.compile(
    rf"(?:(?P<strong>[;:·]{_BEHIND_MARK}|[؛；：፤፥፦៖]|(?<=\w)—++|(?<=\s)[–—-](?=\s))"
    rf"|,{_BEHIND_MARK}|[،、，፣၊՝]|(?<![.…])(?:\.\.|…)[.…]*+|[)”»](?=\s)"
    rf")(?>{CLOSERS})(?=\s*+{_SPEECH_FOLLOWS})"
    rf"|(?<=[{PHRASE_SPACED}])(?=\s++{_SPEECH_FOLLOWS})"
)
_WORD_END = re.compile(rf"(?<!\s)(?=\s++{_SPEECH_FOLLOWS})")
_TAGS = re.compile(rf"{TAG_MASK}+")

_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Passage:
    """Text and its mask: the same text with every tag, and the space after it, as `TAG_MASK`.

    repeated: spans of tags that stand here once more, from a piece before.
    """

    text: str
    mask: str
    repeated: tuple[Span, ...] = ()

    def select(self, start: int, end: int) -> "Passage":
        """Return the part from `start` to `end` without white space around it."""
        part = self.text[start:end]
        start += len(part) - len(part.lstrip())
        end = start + len(part.strip())
        return Passage(self.text[start:end], self.mask[start:end])

    @property
    def is_silent(self) -> bool:
        """There is nothing to pronounce beside tags."""
        return not has_speech(self.mask)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sentence, or a whole one, with what ended it."""

    passage: Passage
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class _Borders:
    """Where a passage may be cut; offsets in order."""

    strong_clauses: Sequence[int]
    clauses: Sequence[int]
    words: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Window:
    """Where a piece that begins at `start` should end: at `aim`, not before `least` if possible,
    never after `most`.
    """

    start: int
    least: int
    aim: int
    most: int


def mask_tags(text: str, tags: Sequence[Span], *, max_tag_chars: int) -> Passage:
    """Return `text` with its `tags` masked; a tag above `max_tag_chars` counts as ordinary text."""
    parts: list[str] = []
    done = 0
    for start, end in tags:
        if end - start > max_tag_chars:
            continue
        space = _SPACE.match(text, end)
        end = space.end() if space else end
        parts += [text[done:start], TAG_MASK * (end - start)]
        done = end
    return Passage(text, "".join(parts) + text[done:])


def cut_evenly(passage: Passage, boundary: Boundary, *, max_chars: int) -> Iterator[Piece]:
    """Yield `passage` in pieces of at most `max_chars`, about equally long; whole if it fits.

    boundary: what ends the passage. The style in force at a cut is repeated in front of the next
    piece (`_carry_style`).
    """
    if len(passage.text) <= max_chars:
        yield Piece(passage, boundary)
        return
    borders = _find_borders(passage.mask)
    start, style = 0, ""
    while True:
        room = max_chars - (len(style) + 1 if _needs_style(passage, start, style) else 0)
        remaining = len(passage.text) - start
        if remaining <= room:
            yield Piece(_carry_style(passage.select(start, len(passage.text)), style), boundary)
            return
        num_pieces = -(-remaining // room)
        aim = start + -(-remaining // num_pieces)
        window = _Window(start, start + (aim - start + 1) // 2, aim, start + room)
        end, kind = _choose_border(passage, borders, window)
        part = passage.select(start, end)
        yield Piece(_carry_style(part, style), kind)
        style = _style_in_force(part, style, max_chars=max_chars)
        space = _SPACE.match(passage.text, end)
        start = space.end() if space else end


def _find_borders(mask: str) -> _Borders:
    clauses = list(_CLAUSE_END.finditer(mask))
    return _Borders(
        strong_clauses=[match.end() for match in clauses if match["strong"]],
        clauses=[match.end() for match in clauses],
        words=[match.end() for match in _WORD_END.finditer(mask)],
    )


def _choose_border(
    passage: Passage, borders: _Borders, window: _Window
) -> tuple[int, Literal["clause", "word"]]:
    """Return the offset of the best border in `window` and what it ends.

    Semicolon, colon and dash before comma, comma before word; among equals the one nearest to the
    aim.
    """
    for clauses in (borders.strong_clauses, borders.clauses):
        clause = _find_nearest(clauses, window)
        if clause is not None:
            return clause, "clause"
    word = _find_nearest(borders.words, window)
    if word is not None:
        return word, "word"
    earlier = bisect_left(borders.words, window.least) - 1
    if earlier >= 0 and borders.words[earlier] > window.start:
        return borders.words[earlier], "word"
    return _find_border_in_word(passage, window), "word"


def _find_nearest(offsets: Sequence[int], window: _Window) -> int | None:
    low = bisect_left(offsets, window.least)
    high = bisect_right(offsets, window.most)
    if low == high:
        return None
    after = bisect_left(offsets, window.aim, low, high)
    nearby = offsets[max(low, after - 1) : min(high, after + 1)]
    return min(nearby, key=lambda offset: abs(offset - window.aim))


def _find_border_in_word(passage: Passage, window: _Window) -> int:
    """Return a grapheme border near the aim that is not in or behind a tag, if there is one."""
    downwards = range(window.aim, window.start, -1)
    upwards = range(window.aim + 1, window.most + 1)
    for offset in chain(downwards, upwards):
        is_behind_tag = passage.mask[offset - 1] == TAG_MASK
        if not is_behind_tag and is_grapheme_border(passage.text, offset, since=window.start):
            return offset
    # A pile of tags, or one character with more accents than an utterance has room for.
    for offset in range(window.most, window.start, -1):
        if passage.mask[offset] == TAG_MASK and passage.text[offset] in "[(":
            return offset
    return window.most


def _style_in_force(part: Passage, before: str, *, max_chars: int) -> str:
    """Return the style tags that act at the end of `part`, if they leave room for text.

    before: those that acted at its start.
    """
    style = before
    for tags in _TAGS.finditer(part.mask):
        style = select_styles(part.text[slice(*tags.span())]) or style
    return style if len(style) <= max_chars // 2 else ""


def _carry_style(part: Passage, style: str) -> Passage:
    """Return `part` with `style` said again in front of it, unless it opens with tags of its own.

    S2 reads each utterance afresh, so a style would otherwise end in the middle of a sentence. Tags
    for one-off events are not repeated (`select_styles`); words never are.
    """
    if not _needs_style(part, 0, style):
        return part
    num_chars = len(style) + 1
    return Passage(f"{style} {part.text}", TAG_MASK * num_chars + part.mask, ((0, num_chars),))


def _needs_style(passage: Passage, start: int, style: str) -> bool:
    return bool(style) and passage.mask[start] != TAG_MASK
