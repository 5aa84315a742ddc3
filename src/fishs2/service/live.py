"""Speech whose text arrives while it is spoken: one stream of audio over all of it.

    add, flush, end            stream
    (whoever has text) -> IncomingText -> script -> feeds -> AudioPath -> (whoever listens)

Like any request it has at most two utterances at the engine: the one that is heard and the next.
What arrives meanwhile waits as text and is packed into utterances together, so a fast writer gets
the melody of whole paragraphs and a slow one the first possible sound.
"""

import asyncio
import re
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from fishs2.audio.joints import Joints
from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Part, Utterance
from fishs2.errors import BusyError, UserError
from fishs2.service.feed import UtteranceFeed
from fishs2.service.report import SpeechReport
from fishs2.service.script import PAUSE_S, Line
from fishs2.service.speech import SpeechPlan, SpeechService
from fishs2.text.incoming import IncomingText
from fishs2.text.source import split_source
from fishs2.text.turns import find_turns, speaker_tag

_MAX_SENTENCE_CHARS = 300
"""How much text may wait for the end of its sentence, where the request does not say."""

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*\Z")

Reserve = Callable[[int], Awaitable[None]]
"""Asks whether so many characters more may be spoken; raises QuotaError."""


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """In characters. max_waiting: text that is not spoken yet. max_total: all text of a speech."""

    max_waiting: int = 12_000
    max_total: int = 200_000


@dataclass(frozen=True, slots=True)
class _Started:
    """An utterance at the engine. num_chars: of the text that it was made of."""

    feed: UtteranceFeed
    pause_s: float
    num_chars: int


class LiveSpeech:
    """One speech. `add`, `flush` and `end` never wait; one task reads `stream`. One event loop."""

    def __init__(
        self, service: SpeechService, plan: SpeechPlan, limits: LiveLimits, reserve: Reserve
    ) -> None:
        """plan: as `SpeechService.prepare` gives it."""
        self._service = service
        self._plan = plan
        self._limits = limits
        self._reserve = reserve
        sentence_chars = plan.request.max_utterance_chars or _MAX_SENTENCE_CHARS
        self._text = IncomingText(max_chars=min(sentence_chars, limits.max_waiting))
        self._changed = asyncio.Event()
        self._is_ended = False
        self._num_received = 0
        self._num_unspoken = 0
        self._written: list[str] = []
        self._utterances: list[Utterance] = []
        # Bounded by max_waiting, as all that has been written and not been spoken.
        self._lines: deque[tuple[Line, int]] = deque()
        self._feeds: set[UtteranceFeed] = set()
        self._speech_id = uuid.uuid4().hex
        self._speaker = 0
        self._silent_text = ""
        self.sources: list[str] = []
        """The text of each utterance, as it was received; joined, all that has been written."""

    @property
    def is_idle(self) -> bool:
        """Whether everything that could be spoken has been."""
        return not (self._text.is_ready or self._lines or self._feeds)

    @property
    def plan(self) -> SpeechPlan:
        """What has been spoken, or is being."""
        request = replace(self._plan.request, text="".join(self._written))
        return replace(self._plan, request=request, utterances=tuple(self._utterances))

    def add(self, text: str) -> None:
        """Take more text. Raises UserError `input_too_long`."""
        self._num_received += len(text)
        if self._num_received > self._limits.max_total:
            raise _too_long("one speech", self._num_received, self._limits.max_total)
        num_waiting = self._text.num_chars + self._num_unspoken + len(text)
        if num_waiting > self._limits.max_waiting:
            raise _too_long("text that is not spoken yet", num_waiting, self._limits.max_waiting)
        self._text.add(text)
        self._changed.set()

    def flush(self) -> None:
        """Speak what is here, whether its sentence has ended or not."""
        self._text.flush()
        self._changed.set()

    def end(self) -> None:
        """No more text comes: speak the rest, then `stream` ends."""
        self._is_ended = True
        self.flush()

    async def stream(self, report: SpeechReport) -> AsyncGenerator[bytes]:
        """Yield encoded audio as it is made: one stream, however the text came.

        Ends when all text has been spoken after `end`; without anything to pronounce it yields
        nothing. Closing it aborts the work. Raises BusyError, UserError, EngineError.
        """
        path = self._service.open_path(self._plan)
        pieces = self._service.perform(self._pcm(report), path, report, lambda: self.plan)
        async with aclosing(pieces) as encoded:
            async for piece in encoded:
                yield piece

    async def _pcm(self, report: SpeechReport) -> AsyncGenerator[Pcm]:
        """Yield the PCM of all utterances in order, with the pauses between them."""
        pause_s = 0.0
        joints = Joints(self._service.sample_rate_hz)
        upcoming = asyncio.create_task(self._start_next())
        try:
            while (started := await upcoming) is not None:
                upcoming = asyncio.create_task(self._start_next())
                join = joints.add_before_pause if started.pause_s else joints.add
                async with aclosing(started.feed.read()) as pieces:
                    async for pcm in pieces:
                        if pause_s:
                            yield joints.pause(pause_s)
                        pause_s = 0.0
                        report.num_begun = report.num_spoken + 1
                        joined = join(pcm)
                        if len(joined):
                            yield joined
                if report.num_begun > report.num_spoken and started.pause_s:
                    yield joints.end()
                report.num_rerolls += started.feed.num_rerolls
                report.num_spoken += 1
                if report.num_begun == report.num_spoken:
                    pause_s = started.pause_s
                self._num_unspoken -= started.num_chars
                await self._close(started.feed)
        except (UserError, BusyError):
            # What was heard until then was asked for, and is paid for.
            report.outcome = "aborted" if report.num_begun else "failed"
            raise
        finally:
            upcoming.cancel()
            # All at once: who is cancelled while it waits for one must not leave another behind.
            for feed in self._feeds:
                feed.abort()
            await asyncio.wait([upcoming])
            if not upcoming.cancelled():
                upcoming.exception()  # Seen already, or by nobody because nobody listens.
            for feed in list(self._feeds):
                await self._close(feed)
            self._service.end_speech(self._speech_id)

    async def _start_next(self) -> _Started | None:
        """Send the next utterance to the engine, once there is text for it; None at the end."""
        while not self._lines:
            if self._text.is_ready:
                await self._write()
            elif self._is_ended:
                if self.sources:
                    self.sources[-1] += self._silent_text
                return None
            else:
                self._changed.clear()
                await self._changed.wait()
        line, num_chars = self._lines.popleft()
        utterance = self._numbered(line.utterance)
        feed = self._service.open_feed(utterance)
        self._feeds.add(feed)
        self._utterances.append(utterance)
        if len(self._utterances) == 1:
            await feed.start_as_first()
        else:
            feed.start()
        return _Started(feed, line.pause_s, num_chars)

    async def _write(self) -> None:
        """Make utterances of all text that is ready."""
        fresh = self._text.take()
        self._num_unspoken += len(fresh)
        await self._reserve(len(fresh))
        self._written.append(fresh)
        text = self._silent_text + fresh
        lines = self._service.write(self._plan, self._with_speaker(text))
        if not lines:
            # Spaces, or dots: they belong to what comes after them.
            self._silent_text = text
            return
        self._silent_text = ""
        sources = split_source(text, [line.utterance.text for line in lines])
        self.sources += sources
        lines[-1] = replace(lines[-1], pause_s=_pause_s(text))
        self._lines.extend(zip(lines, map(len, sources), strict=True))

    def _with_speaker(self, text: str) -> str:
        """The text with the tag of whoever has the turn at its start, where several speak."""
        if len(self._plan.cast) == 1:
            return text
        tagged = speaker_tag(self._speaker) + text
        self._speaker = find_turns(tagged)[-1].speaker
        return tagged

    def _numbered(self, utterance: Utterance) -> Utterance:
        if not self._plan.request.is_continuous:
            return utterance
        is_last = self._is_ended and not (self._lines or self._text.is_ready)
        part = Part(self._speech_id, len(self._utterances), is_last=is_last)
        return replace(utterance, part=part)

    async def _close(self, feed: UtteranceFeed) -> None:
        await feed.close()
        self._feeds.discard(feed)


def _pause_s(text: str) -> float:
    """The silence after a text that came in one go, in seconds, by how it ends."""
    if _PARAGRAPH_END.search(text):
        return PAUSE_S["paragraph"]
    is_sentence = not text.rstrip()[-1:].isalnum()
    return PAUSE_S["sentence" if is_sentence else "word"]


def _too_long(what: str, num_chars: int, limit: int) -> UserError:
    return UserError(
        f"{what} has {num_chars:,} characters; the limit is {limit:,}",
        code="input_too_long",
        param="input",
    )
