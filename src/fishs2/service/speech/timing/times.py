"""The words and sentences of one speech, as they are known: `Performance` adds each utterance.

A reader asks for what is new. Places are characters of the caller's text, code points from 0.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import WordMark
from fishs2.errors import Fishs2Error
from fishs2.service.speech.script import Line
from fishs2.service.speech.timing.placing import (
    Loudness,
    Placed,
    Span,
    place_by_marks,
    place_by_syllables,
)
from fishs2.service.speech.timing.units import Kind
from fishs2.text.sourced import Sourced
from fishs2.text.splitting.sentences import find_sentence_ends
from fishs2.text.words import find_words

logger = logging.getLogger(__name__)

Hear = Callable[[Pcm, str, Sequence[Span]], Awaitable[list[Placed]]]
"""Says when the words of a known text sound in float32 [n] of the engine. Raises Fishs2Error."""

GetSource = Callable[[int, int], str]
"""A part of the caller's text."""

_MAX_UNHEARD = 8
"""Utterances that may wait to be heard: a minute or two of sound."""

_ENDS_SENTENCE_S = 0.2
"""A pause as long as this ends a sentence that has no mark at its end, such as a heading."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A word or sentence. start_s, end_s: in the audio of the answer. char_start, char_end: its
    place in the caller's text, end exclusive, of which `text` is that part.
    """

    text: str
    start_s: float
    end_s: float
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance that has sounded. text: as the engine got it, with its places. pcm: float32 [n]
    at `rate_hz`, as the engine made it. start_s, end_s: where that is in the answer.
    """

    line: Line
    text: Sourced
    pcm: Pcm
    rate_hz: int
    words: Sequence[WordMark]
    start_s: float
    end_s: float


class SpeechTimes:
    """Of one speech. One event loop. words, sentences: those that are known, in order; is_complete:
    all there are.
    """

    def __init__(self, source: GetSource, *, is_marked: bool, hear: Hear | None = None) -> None:
        """is_marked: the engine marks words. hear: aligns where it does not."""
        self.kind: Kind = "exact" if is_marked else "aligned" if hear is not None else "estimated"
        self.words: list[Timed] = []
        self.sentences: list[Timed] = []
        self.is_complete = False
        self._changed = asyncio.Event()
        self._source = source
        self._hear = None if is_marked else hear
        self._open: Timed | None = None
        # Utterances in order, each with its sound; at most _MAX_UNHEARD.
        self._unheard: deque[asyncio.Task[None]] = deque()

    async def add(self, heard: Heard) -> None:
        """Note an utterance, in order. Waits while too many are still to be heard."""
        if self._hear is None:
            self._note(heard, self._place(heard))
            return
        while len(self._unheard) >= _MAX_UNHEARD:
            await self._await_first()
        before = self._unheard[-1] if self._unheard else None
        self._unheard.append(asyncio.create_task(self._align(heard, self._hear, before)))

    async def finish(self) -> None:
        """Wait until all is known. After it nothing may be added."""
        while self._unheard:
            await self._await_first()
        self._close_sentence()
        self.is_complete = True
        self._changed.set()

    async def wait(self) -> None:
        """Wait until something has changed; returns at once if nobody has waited since it did. For
        one reader.
        """
        await self._changed.wait()
        self._changed.clear()

    async def close(self) -> None:
        """End what is under way. After it nothing may be added."""
        tasks = set(self._unheard)
        self._unheard.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _await_first(self) -> None:
        await self._unheard[0]
        self._unheard.popleft()

    async def _align(self, heard: Heard, hear: Hear, before: asyncio.Task[None] | None) -> None:
        # One after another: those of one long text are not to take all turns at the listener.
        if before is not None:
            await asyncio.wait([before])
        words = list(find_words(heard.text.text))
        try:
            placed = await hear(heard.pcm, heard.text.text, words)
        except Fishs2Error as error:
            logger.warning("words are estimated, as nothing was heard: %s", error.message)
            self.kind = "estimated"
            placed = self._place(heard)
        self._note(heard, placed)

    def _place(self, heard: Heard) -> list[Placed]:
        words = list(find_words(heard.text.text))
        loudness = Loudness(heard.pcm, heard.rate_hz)
        if heard.words:
            return place_by_marks(words, heard.words, loudness)
        return place_by_syllables(heard.text.text, words, loudness)

    def _note(self, heard: Heard, placed: Sequence[Placed]) -> None:
        seconds = len(heard.pcm) / heard.rate_hz
        scale = (heard.end_s - heard.start_s) / seconds if seconds else 0.0
        fresh: list[Timed] = []
        for word in placed:
            char_start, char_end = self._find_word(heard, word.start, word.end)
            if char_start == char_end:
                continue
            start_s = heard.start_s + word.start_s * scale
            end_s = min(heard.end_s, heard.start_s + word.end_s * scale)
            last = fresh[-1] if fresh else None
            if last is not None and char_start < last.char_end:
                # Several words were said for what is one in the caller's text.
                fresh.pop()
                char_start, char_end = last.char_start, max(last.char_end, char_end)
                start_s = last.start_s
            text = self._source(char_start, char_end)
            fresh.append(Timed(text, start_s, max(start_s, end_s), char_start, char_end))
        if self.words and fresh and fresh[0].char_start < self.words[-1].char_end:
            # A word that was cut in two utterances.
            fresh = [each for each in fresh if each.char_start >= self.words[-1].char_end]
        self.words += fresh
        self._note_sentences(heard, fresh)
        self._changed.set()

    def _note_sentences(self, heard: Heard, words: Sequence[Timed]) -> None:
        text = heard.line.text.text
        # One more letter, so that the end of the text is none by itself.
        ends = [end for end in find_sentence_ends(f"{text} A") if end <= len(text)]
        is_ended = bool(ends) and not text[ends[-1] :].strip()
        start = 0
        for end in ends if is_ended else [*ends, len(text)]:
            self._extend(self._find_sentence(heard.line, start, end), words, heard)
            start = end
            if end != len(text) or is_ended or heard.line.silence_s >= _ENDS_SENTENCE_S:
                self._close_sentence()

    def _find_word(self, heard: Heard, start: int, end: int) -> Span:
        """Where the caller wrote what is said from `start` to `end`, without space around it.

        What cleaning says at the border of a table or of code stands for all of that: then it is
        the last place in there that has this word, if any has.
        """
        first, last = heard.text.span(start, end)
        first, last = first + heard.line.offset, last + heard.line.offset
        written = self._source(first, last)
        if "\n" in written.strip():
            said = heard.text.text[start:end]
            at = written.rfind(said)
            if at >= 0:
                return first + at, first + at + len(said)
        lead = len(written) - len(written.lstrip())
        return first + lead, first + max(lead, len(written.rstrip()))

    def _find_sentence(self, line: Line, start: int, end: int) -> Span:
        """Where the caller wrote a sentence: from its first character to its last, without marks
        that cleaning put around it for what it left out.
        """
        text = line.text
        while start < end and self._is_left_out(line, start):
            start += 1
        while end > start and self._is_left_out(line, end - 1):
            end -= 1
        first, last = text.span(start, end)
        return first + line.offset, last + line.offset

    def _is_left_out(self, line: Line, index: int) -> bool:
        """Whether a mark of what is said stands for more than a mark of what was written."""
        first, last = line.text.span(index, index + 1)
        if line.text.text[index].isalnum():
            return False
        written = self._source(first + line.offset, last + line.offset)
        return not written or any(char.isspace() for char in written)

    def _extend(self, span: Span, words: Sequence[Timed], heard: Heard) -> None:
        """Add a part of the text to the sentence that is open."""
        char_start, char_end = span
        if self.sentences:
            char_start = max(char_start, self.sentences[-1].char_end)
        inside = [each for each in words if char_start <= each.char_start < char_end]
        before = self._open
        if not inside and before is None:
            return
        if inside and "\n" in self._source(char_start, inside[0].char_start):
            # Code, or a table's head, that was left out before it.
            char_start = inside[0].char_start
        start_s = inside[0].start_s if inside else heard.start_s
        end_s = inside[-1].end_s if inside else heard.start_s
        if before is not None:
            char_start = before.char_start
            char_end = max(char_end, before.char_end)
            start_s, end_s = before.start_s, max(before.end_s, end_s)
        text = self._source(char_start, char_end)
        self._open = Timed(text, start_s, end_s, char_start, char_end)

    def _close_sentence(self) -> None:
        if self._open is None:
            return
        sentence, self._open = self._open, None
        lead = len(sentence.text) - len(sentence.text.lstrip())
        text = sentence.text.strip()
        start = sentence.char_start + lead
        self.sentences.append(
            Timed(text, sentence.start_s, sentence.end_s, start, start + len(text))
        )


def as_pcm(pieces: Sequence[Pcm]) -> Pcm:
    """Pieces as one: float32 [n]."""
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
