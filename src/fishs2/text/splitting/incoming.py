"""Text that arrives in pieces, given on in whole sentences.

    "It is la" + "te. We sho" + "uld go."      ->      "It is late. "   "We should go."

A piece of text may be a token of a language model or a page. What is given on ends with a sentence,
with a paragraph, or, when too much has come without an end, between two words. Nothing is changed:
what is given on, joined, is what came.
"""

import re

import numpy as np

from fishs2.text.scripts import TAG_MASK
from fishs2.text.splitting.cut import mask_tags
from fishs2.text.splitting.sentences import find_sentence_ends
from fishs2.text.tags import MAX_TAG_CHARS, find_tags

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
_SPACE = re.compile(r"\s*")
_WORD_END = re.compile(r"(?<=\S)\s+")
_LINE_BREAK = re.compile(r"\s")
_OPEN_TAG = re.compile(rf"\[[^\[\]\n]{{0,{MAX_TAG_CHARS}}}\Z|<[^<>\s]{{0,20}}\Z")
_UNSURE_END = re.compile(r"(?:\d|\b\w)\.\Z")
_NEXT_SENTENCE = " Xx"
"""Stands for what may follow: a word in upper case, that is no abbreviation and no number."""

_SETTLED_CHARS = 32
"""More than this behind a mark changes nothing about whether it ends a sentence: quotes, a space
and the next word are shorter."""


class IncomingText:
    """Collects text and gives it on. max_chars: how much may wait for the end of its sentence."""

    def __init__(self, *, max_chars: int) -> None:
        self._max_chars = max_chars
        self._ready: list[str] = []
        self._rest = ""
        self._settled = 0  # No sentence ends before this offset of the rest.
        self.num_chars = 0
        """Characters that are here: ready ones and others."""

    @property
    def is_ready(self) -> bool:
        """Whether there is text to be spoken."""
        return bool(self._ready)

    def add(self, text: str, *, goes_on: bool = False) -> None:
        """Take the next piece. goes_on: what follows belongs to the same piece.

        Takes time linear in the piece, and no more for one character than a look over what waits.
        """
        if not text:
            return
        self.num_chars += len(text)
        self._rest += text
        # A mark that comes with its word is where somebody ended a sentence; a mark alone is a
        # token of a language model, and may go on as "3.5" or "..." or with a quote.
        is_written = not goes_on and any(character.isalnum() for character in text)
        end, settled = _find_end(self._rest, self._settled, is_written=is_written)
        self._settled = settled
        if end:
            self._give_on(end)
        while len(self._rest) >= self._max_chars:
            end = _find_word_end(self._rest, self._max_chars)
            if not end:
                break
            self._give_on(end)

    def flush(self) -> None:
        """Make ready what is here, whether its sentence has ended or not."""
        if self._rest:
            self._give_on(len(self._rest))

    def take(self, max_chars: int | None = None) -> str:
        """Return all that is ready, or so many whole pieces of it that they pass `max_chars`."""
        num_pieces, num_chars = 0, 0
        while num_pieces < len(self._ready) and (max_chars is None or num_chars < max_chars):
            num_chars += len(self._ready[num_pieces])
            num_pieces += 1
        text = "".join(self._ready[:num_pieces])
        del self._ready[:num_pieces]
        self.num_chars -= num_chars
        return text

    def _give_on(self, end: int) -> None:
        self._ready.append(self._rest[:end])
        self._rest = self._rest[end:]
        self._settled = max(0, self._settled - end)


def _find_end(text: str, settled: int, *, is_written: bool) -> tuple[int, int]:
    """The offset behind the last sentence of `text` that is certainly complete, or 0.

    settled: no sentence ends before it; second comes the offset that holds for the next time.
    """
    # A tag that has only begun belongs, with all that follows, to what is still to come.
    open_tag = _OPEN_TAG.search(text)
    known = text[: open_tag.start()] if open_tag else text
    if not known.strip():
        return 0, 0
    settled_then = max(0, len(known) - _SETTLED_CHARS)
    paragraphs = list(_PARAGRAPH_END.finditer(known))
    end = paragraphs[-1].end() if paragraphs else 0
    tail = known[end:]
    if not tail.strip():
        return end, settled_then
    mask = mask_tags(tail, find_tags(tail), max_tag_chars=MAX_TAG_CHARS).mask
    # A single line break may be one that a line was wrapped at.
    mask = _LINE_BREAK.sub(" ", mask)
    has_end = open_tag is not None or tail[-1].isspace() or (is_written and _is_sure(tail))
    since = min(max(0, settled - end), len(mask))
    ends = [at for at in find_sentence_ends(mask + _NEXT_SENTENCE, since=since) if at <= len(mask)]
    while ends and not has_end and ends[-1] >= len(mask.rstrip()):
        ends.pop()
    # A tag and what is before the first word belong to the next sentence.
    if ends and not mask[: ends[-1]].strip(TAG_MASK + " "):
        ends = []
    if not ends:
        return end, settled_then
    space = _SPACE.match(tail, ends[-1])
    return end + (space.end() if space else ends[-1]), settled_then


def _is_sure(text: str) -> bool:
    """Whether the mark at the end is an end, though nothing follows it: not "3." or "U.S."."""
    return not _UNSURE_END.search(text)


def _find_word_end(text: str, max_chars: int) -> int:
    """Where to cut a text without an end: behind the last word that fits, or in a very long one.

    Never inside a tag: 0 where the text begins with one whose end has not come.
    """
    open_tag = _OPEN_TAG.search(text)
    # An open one has no end yet.
    unsure = (open_tag.start(), len(text) + 1) if open_tag else (len(text), len(text))
    tags = [*find_tags(text), unsure]
    inside = np.zeros(len(text) + 1, np.bool_)
    for start, end in tags:
        inside[start + 1 : end] = True
    ends = [match.end() for match in _WORD_END.finditer(text, 0, max_chars)]
    outside = [end for end in ends if not inside[end]]
    if outside:
        return outside[-1]
    if not inside[max_chars]:
        return max_chars
    start, end = next(tag for tag in tags if tag[0] < max_chars < tag[1])
    return start or (end if end <= len(text) else 0)
