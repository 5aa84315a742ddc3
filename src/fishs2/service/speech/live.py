"""Speech whose text arrives while it is spoken: one stream of audio over all of it.

    add, flush, end                    stream
    (whoever has text) -> LiveText -> script -> feeds -> AudioPath -> (whoever listens)

Like any request it has at most two utterances at the engine: the one that is heard and the next.
What arrives meanwhile waits as text and is packed into utterances together, so a fast writer gets
the melody of whole paragraphs and a slow one the first possible sound. It may wait before there is
an engine, too. While it has nothing to speak it takes no place among the requests in progress.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace

from fishs2.audio.joints import Joints
from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Part, Utterance
from fishs2.errors import BusyError, UserError
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.performance import SpeechPlan, SpeechService
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.script import PAUSE_S, Line
from fishs2.text.incoming import IncomingText
from fishs2.text.source import split_source
from fishs2.text.turns import find_turns, speaker_tag

_MAX_SENTENCE_CHARS = 300
"""How much text may wait for the end of its sentence, where the request does not say."""

_PAGE_CHARS = 4_000
"""About how much text is read, or cut into utterances, before others have their turn."""

_MAX_SILENT_CHARS = 12_000
"""How much may come that has nothing to pronounce, before something that has."""

Reserve = Callable[[int], Awaitable[None]]
"""Asks whether so many characters more may be spoken; raises QuotaError."""


@dataclass(frozen=True, slots=True)
class _Started:
    """An utterance at the engine."""

    feed: UtteranceFeed
    pause_s: float


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


class LiveSpeech:
    """One speech of a text that may still grow; one task reads `stream`. One event loop."""

    def __init__(
        self, service: SpeechService, plan: SpeechPlan, text: LiveText, reserve: Reserve
    ) -> None:
        """plan: as `SpeechService.prepare` gives it."""
        self._service = service
        self._plan = plan
        self._text = text
        self._reserve = reserve
        self._place = ExitStack()
        self._has_place = False
        self._written: list[str] = []
        self._utterances: list[Utterance] = []
        # Bounded by a page of text.
        self._lines: deque[Line] = deque()
        self._feeds: set[UtteranceFeed] = set()
        self._speech_id = uuid.uuid4().hex
        self._speaker = 0
        self._silent: list[str] = []
        self._num_silent = 0
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

    async def stream(self, report: SpeechReport) -> AsyncGenerator[bytes]:
        """Yield encoded audio as it is made: one stream, however the text came.

        Ends when all text has been spoken after `end`; without anything to pronounce it yields
        nothing. Closing it aborts the work. Raises BusyError, UserError, EngineError.
        """
        path = self._service.open_path(self._plan)
        # It takes its place later, when it has something to speak.
        place = self._place
        pieces = self._service.perform(self._pcm(report), path, report, lambda: self.plan, place)
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
            self._service.end_speech(self._speech_id)
            await asyncio.wait([upcoming])
            if not upcoming.cancelled():
                upcoming.exception()  # Seen already, or by nobody because nobody listens.
            for feed in list(self._feeds):
                await self._close(feed)

    async def _start_next(self) -> _Started | None:
        """Send the next utterance to the engine, once there is text for it; None at the end."""
        while not self._lines:
            if self._text.is_ready:
                await self._write()
            elif self._text.is_ended:
                if self.sources:
                    self.sources[-1] += "".join(self._silent)
                return None
            else:
                await self._text.wait()
        line = self._lines.popleft()
        utterance = self._numbered(line.utterance)
        self._take_place()
        feed = self._service.open_feed(utterance)
        self._feeds.add(feed)
        self._utterances.append(utterance)
        if len(self._utterances) == 1:
            await feed.start_as_first()
        else:
            feed.start()
        return _Started(feed, line.pause_s)

    async def _write(self) -> None:
        """Make utterances of the text that is ready, as far as a page goes."""
        fresh = self._text.take()
        self._silent.append(fresh)
        self._num_silent += len(fresh)
        text, lines = "", []
        if self._service.can_speak(self._plan, fresh):
            text = "".join(self._silent)
            lines = self._service.write(self._plan, self._with_speaker(text))
        if not lines:
            # Spaces, dots, tags: they belong to what comes after them, and are paid for with it.
            if self._num_silent > _MAX_SILENT_CHARS:
                what = "text without anything to pronounce"
                raise _too_long(what, self._num_silent, _MAX_SILENT_CHARS)
            return
        self._silent, self._num_silent = [], 0
        await self._reserve(len(text))
        self._written.append(text)
        self.sources += split_source(
            text, [line.utterance.text for line in lines], self._plan.cleaning
        )
        lines[-1] = replace(lines[-1], pause_s=_pause_s(text))
        self._lines.extend(lines)

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
        is_last = self._text.is_ended and not (self._lines or self._text.is_ready)
        part = Part(self._speech_id, len(self._utterances), is_last=is_last)
        return replace(utterance, part=part)

    async def _close(self, feed: UtteranceFeed) -> None:
        await feed.close()
        self._feeds.discard(feed)
        if self.is_idle:
            self._leave_place()

    def _take_place(self) -> None:
        """Be a request in progress, unless it is one. Raises BusyError."""
        if not self._has_place:
            self._place.enter_context(self._service.open_place())
            self._has_place = True

    def _leave_place(self) -> None:
        self._place.close()
        self._has_place = False


def _pause_s(text: str) -> float:
    """The silence after a text that came in one go, in seconds, by how it ends."""
    words = text.rstrip()
    if text.count("\n", len(words)) > 1:
        return PAUSE_S["paragraph"]
    is_sentence = not words[-1:].isalnum()
    return PAUSE_S["sentence" if is_sentence else "word"]


def _too_long(what: str, num_chars: int, limit: int) -> UserError:
    return UserError(
        f"{what} has {num_chars:,} characters; the limit is {limit:,}",
        code="input_too_long",
        param="input",
    )
