"""The text of an SSML document as it grows, each character with its place in the document."""

import re
from dataclasses import dataclass, field

import numpy as np

from fishs2.text.directing.cues import MARK, PLAIN, Cue, Manner
from fishs2.text.sourced import Sourced
from fishs2.text.splitting.cut import Boundary
from fishs2.text.turns import find_speaker_tags

_BELONGS_BEFORE = re.compile(r"[,.;:!?…)\]”’»、。，！？؟،।]*\s*")
"""What follows an element and is part of the words in it."""

NARRATOR = -1
"""Who begins: the voice of the request."""

_SPACE = re.compile(r"\s")


@dataclass(slots=True)
class Piece:
    """Characters with their places: one for each."""

    text: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, text: str, starts: list[int], ends: list[int]) -> None:
        """More characters."""
        self.text += text
        self.starts += starts
        self.ends += ends

    def add_at(self, text: str, start: int, end: int) -> None:
        """The same, which all stand for the characters from `start` to `end` of the document."""
        self.add(text, [start] * len(text), [end] * len(text))

    def sourced(self) -> Sourced:
        """All of it as a text. White space is one like another in XML."""
        return Sourced(
            _SPACE.sub(" ", "".join(self.text)),
            np.array(self.starts, np.int32),
            np.array(self.ends, np.int32),
        )


class SsmlText:
    """What is spoken, with marks for all that happens between.

    A change of the manner or the voice, and the end of a sentence, wait for the words after them:
    where none come, or another change comes first, nothing happens.
    """

    def __init__(self) -> None:
        self.cues: dict[tuple[int, int], Cue] = {}
        self.turns: list[tuple[int, int]] = []
        """Where another speaker begins, and who: an offset into the text, and a number."""
        self._piece = Piece()
        self._has_words = False
        self._boundary: Boundary | None = None
        self._manner = self._wanted = PLAIN
        self._speaker = self._turn = NARRATOR

    @property
    def num_chars(self) -> int:
        """How many characters there are."""
        return len(self._piece.text)

    def sourced(self) -> Sourced:
        """The text with its marks. A tag of a speaker that stands in the document is text."""
        piece = self._piece
        for at in find_speaker_tags("".join(piece.text)):
            piece.text[at] = " "
        return piece.sourced()

    def end_part(self, boundary: Boundary) -> None:
        """A sentence or a paragraph ends, or begins."""
        if self._boundary != "paragraph":
            self._boundary = boundary

    def turn(self, manner: Manner, speaker: int) -> None:
        """What follows is spoken so, by this speaker."""
        self._wanted, self._turn = manner, speaker

    def rest(self, seconds: float, start: int, end: int) -> None:
        """Be silent. start, end: of the element."""
        self.cues[start, end] = Cue(pause_s=seconds, boundary=self._boundary)
        self._piece.add_at(MARK, start, end)
        self._boundary = None

    def say(self, piece: Piece) -> None:
        """Speak more characters."""
        text, at = "".join(piece.text), 0
        if self._is_due():
            before = _BELONGS_BEFORE.match(text) if self._has_words else None
            at = before.end() if before else len(text) - len(text.lstrip())
            self._piece.add(text[:at], piece.starts[:at], piece.ends[:at])
            if at < len(text):
                self._change(piece.starts[at])
        self._has_words = self._has_words or bool(text[at:].strip())
        self._piece.add(text[at:], piece.starts[at:], piece.ends[at:])

    def _is_due(self) -> bool:
        changes = (self._manner, self._speaker) != (self._wanted, self._turn)
        return changes or self._boundary is not None

    def _change(self, at: int) -> None:
        """All that waits happens before the character of this place."""
        if self._has_words or self._manner != self._wanted:
            self.cues[at, at] = Cue(boundary=self._boundary, manner=self._wanted)
            self._piece.add_at(MARK, at, at)
        if self._speaker != self._turn:
            self.turns.append((self.num_chars, self._turn))
        self._manner, self._speaker = self._wanted, self._turn
        self._boundary = None
