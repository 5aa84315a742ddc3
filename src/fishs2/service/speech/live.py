"""Text that grows while it is spoken, as a script.

What arrives while an utterance sounds waits as text and is packed into utterances together, so a
fast writer gets the melody of whole paragraphs and a slow one the first possible sound. It may wait
before there is an engine, too.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fishs2.engines.base import Part
from fishs2.errors import UserError
from fishs2.service.speech.plan import SpeechPlan
from fishs2.service.speech.script import Line
from fishs2.text.directing.pauses import SilenceCount
from fishs2.text.sourced import cut_source
from fishs2.text.splitting.incoming import IncomingText
from fishs2.text.splitting.silences import boundary_of
from fishs2.text.turns import last_speaker, speaker_tag

_MAX_SENTENCE_CHARS = 300
"""How much text may wait for the end of its sentence, where the request does not say."""

_PAGE_CHARS = 4_000
"""About how much text is read, or cut into utterances, before others have their turn."""

_MAX_SILENT_CHARS = 12_000
"""How much may come that has nothing to pronounce, before something that has."""

Reserve = Callable[[int], Awaitable[None]]
"""Asks whether so many characters more may be spoken; raises QuotaError."""


class LiveText:
    """The text of one speech, as it comes; it waits here until it is spoken. One event loop.

    max_chars: all text of the speech, and so what may wait. max_sentence_chars: how much may wait
    for the end of its sentence; None means ours.
    """

    def __init__(self, *, max_chars: int, max_sentence_chars: int | None = None) -> None:
        self._max_chars = max_chars
        self._num_received = 0
        self._text = IncomingText(max_chars=max_sentence_chars or _MAX_SENTENCE_CHARS)
        self._changed = asyncio.Event()
        self.is_ended = False

    @property
    def is_ready(self) -> bool:
        """Whether there is text to be spoken."""
        return self._text.is_ready

    async def add(self, text: str) -> None:
        """Take more text; a long one gives way to others. Raises UserError `input_too_long`."""
        self._num_received += len(text)
        if self._num_received > self._max_chars:
            raise _too_long("one speech", self._num_received, self._max_chars)
        for start in range(0, len(text), _PAGE_CHARS):
            page = text[start : start + _PAGE_CHARS]
            self._text.add(page, goes_on=start + len(page) < len(text))
            self._changed.set()
            await asyncio.sleep(0)

    def flush(self) -> None:
        """Speak what is here, whether its sentence has ended or not."""
        self._text.flush()
        self._changed.set()

    def end(self) -> None:
        """No more text comes: speak the rest."""
        self.is_ended = True
        self.flush()

    def take(self) -> str:
        """About a page of the text that is ready."""
        return self._text.take(_PAGE_CHARS)

    async def wait(self) -> None:
        """Wait until something has changed; returns at once if nobody has waited since it did."""
        await self._changed.wait()
        self._changed.clear()


class LiveScript:
    """What is spoken of a text that may still grow. For one performance, in one event loop."""

    def __init__(self, plan: SpeechPlan, text: LiveText, reserve: Reserve) -> None:
        self._plan = plan
        self._text = text
        self._reserve = reserve
        # Bounded by a page of text.
        self._lines: deque[Line] = deque()
        self._speech_id = uuid.uuid4().hex
        self._speaker = plan.narrator
        self._directions = plan.directions
        self._silent: list[str] = []
        self._num_silent = 0
        self._sources: list[str] = []
        self._num_chars = 0
        self._num_after = 0
        self._silence = SilenceCount()
        self._tail_s = 0.0

    @property
    def plan(self) -> SpeechPlan:
        """How it is spoken."""
        return self._plan

    @property
    def num_chars(self) -> int:
        """Characters of the text that has been reserved, as it was received."""
        return self._num_chars

    @property
    def num_utterances(self) -> int:
        """Those that have been written."""
        return len(self._sources)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to be spoken until more text comes."""
        return not (self._text.is_ready or self._lines)

    @property
    def sources(self) -> list[str]:
        """The text of each utterance, as it was received; joined, all that has been written."""
        return self._sources

    def source(self, start: int, end: int) -> str:
        """A part of all that was received, which is not long ago."""
        parts: list[str] = []
        at = self._num_chars + self._num_after
        for part in reversed(self._sources):
            at -= len(part)
            parts.append(part)
            if at <= start:
                break
        return "".join(reversed(parts))[start - at : end - at]

    @property
    def tail_s(self) -> float:
        """Silence that was asked for behind the last line, where nothing was said any more."""
        return self._tail_s

    @property
    def has_louder_parts(self) -> bool:
        """Whether a part of it is to be louder than the rest."""
        return False

    async def line(self, index: int) -> Line | None:
        """The line of this number, in order, once there is text for it; None at the end.

        Raises UserError, QuotaError.
        """
        while not self._lines:
            if self._text.is_ready:
                await self._write()
            elif self._text.is_ended:
                if self._sources and self._silent:
                    after = "".join(self._silent)
                    self._sources[-1] += after
                    self._num_after = len(after)
                    self._tail_s = self._silence_of_silent()
                    self._silent = []
                return None
            else:
                await self._text.wait()
        line = self._lines.popleft()
        if not self._plan.request.is_continuous:
            return line
        is_last = self._text.is_ended and self.is_idle
        part = Part(self._speech_id, index, is_last=is_last)
        return replace(line, utterance=replace(line.utterance, part=part))

    async def _write(self) -> None:
        """Make utterances of the text that is ready, as far as a page goes."""
        fresh = self._text.take()
        self._silent.append(fresh)
        self._num_silent += len(fresh)
        text, lines = "", []
        directed = self._plan.direct(fresh)
        self._silence.add(directed)
        if self._plan.can_speak(directed):
            text = "".join(self._silent)
            whole = self._plan.direct(text)
            before = self._turn_of(whole.text.text) + self._directions
            lines = self._plan.write(whole, before=before)
        if not lines:
            # Spaces, dots, tags: they belong to what comes after them, and are paid for with it.
            if self._num_silent > _MAX_SILENT_CHARS:
                what = "text without anything to pronounce"
                raise _too_long(what, self._num_silent, _MAX_SILENT_CHARS)
            return
        self._silent, self._num_silent = [], 0
        self._directions = ""
        await self._reserve(len(text))
        offset = self._num_chars
        self._num_chars += len(text)
        self._sources += cut_source(text, [line.text for line in lines])
        usual = self._plan.silences.after(boundary_of(text))
        lines[-1] = replace(lines[-1], pause_s=usual.seconds, is_exact=usual.is_exact)
        self._lines.extend(replace(line, offset=offset) for line in lines)

    def _silence_of_silent(self) -> float:
        cues = self._plan.direct("".join(self._silent)).cues.values()
        return sum(cue.pause_s or 0.0 for cue in cues)

    def _turn_of(self, text: str) -> str:
        """The tag of whoever has the turn at the start of `text`, where several speak."""
        if len(self._plan.cast) == 1:
            return ""
        tag = speaker_tag(self._speaker)
        self._speaker = last_speaker(text, self._speaker)
        return tag


def _too_long(what: str, num_chars: int, limit: int) -> UserError:
    return UserError(
        f"{what} has {num_chars:,} characters; the limit is {limit:,}",
        code="input_too_long",
        param="input",
    )
