"""The one loop of speech: what a script says becomes sound, utterance by utterance.

    script (whole, live) -> feeds (at most two) -> joints -> AudioPath -> (whoever listens)

A request is a live speech whose text is all there. At most two utterances are at the engine: the
one that is heard and the next. While a script waits for text, or for whoever listens, it takes no
place among the requests in progress.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import Protocol

from fishs2.audio.joints import Joints
from fishs2.audio.pcm import Pcm
from fishs2.engines.base import SpeechEngine, Utterance
from fishs2.errors import BusyError, UserError
from fishs2.service.speech.admission import Admission, Place
from fishs2.service.speech.audio_path import AudioPath
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.plan import SpeechPlan
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.script import Line, worded
from fishs2.service.speech.verify import Verifier, Verify
from fishs2.service.speech.whole import nothing_to_speak


class Script(Protocol):
    """What is to be spoken. For one performance."""

    @property
    def plan(self) -> SpeechPlan:
        """How it is spoken."""
        ...

    @property
    def num_chars(self) -> int:
        """Characters of the text that is known to be spoken, as it was sent."""
        ...

    @property
    def num_utterances(self) -> int:
        """Those that are known."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to be spoken until more text comes."""
        ...

    @property
    def sources(self) -> Sequence[str]:
        """The text of each known utterance, as it was sent; joined, all of the known text."""
        ...

    async def line(self, index: int) -> Line | None:
        """The line of this number, from 0 and in order, once there is text for it; None at the end.

        Raises UserError, QuotaError.
        """
        ...


Read = Callable[[UtteranceFeed], AsyncGenerator[Pcm]]
"""How a feed is read: `UtteranceFeed.read` as it comes, `read_whole` once it is complete."""

_REST_AFTER_S = 0.5
"""A reader that keeps up takes less."""


@dataclass(frozen=True, slots=True)
class _Started:
    """An utterance at the engine, or about to be."""

    feed: UtteranceFeed
    pause_s: float


class Performance:
    """One speech of a script; one task reads `encoded` or `pcm`, once. One event loop."""

    def __init__(
        self,
        engine: SpeechEngine,
        admission: Admission,
        script: Script,
        report: SpeechReport,
        *,
        read: Read,
        verifier: Verifier | None = None,
    ) -> None:
        """verifier: hears what is spoken, where the request asks for it."""
        self._engine = engine
        self._admission = admission
        self._script = script
        self._report = report
        self._read = read
        self._verifier = verifier if script.plan.request.verify else None
        self._place = ExitStack()
        self._held: Place | None = None
        self._num_started = 0
        self._last: UtteranceFeed | None = None
        # At most two, but for those that are being closed.
        self._feeds: set[UtteranceFeed] = set()
        self._speech: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether everything that could be spoken has been."""
        return self._script.is_idle and not self._feeds

    async def encoded(self, path: AudioPath) -> AsyncGenerator[bytes]:
        """Yield the speech as `path` encodes it, and keep the report.

        The first item holds audio, so whoever has it knows that the engine works. A script that
        ends without anything to pronounce yields nothing. Closing it aborts the work. Raises
        BusyError or UserError before the first item, EngineError at any time; where text comes
        later, all of them at any time.
        """
        report, rate_hz = self._report, self._engine.capabilities.sample_rate_hz
        try:
            async with aclosing(self.pcm()) as pieces:
                async for pcm in pieces:
                    report.note_pcm(len(pcm) / rate_hz / path.speed)
                    encoded = await path.encode(pcm)
                    report.audio_s = path.audio_s
                    if encoded:
                        report.note_first_audio()
                        with self._resting():
                            yield encoded
            if path.has_sound:
                rest = await path.flush()
                report.audio_s = path.audio_s
                yield rest
            elif self._num_started:
                raise nothing_to_speak()
            report.outcome = "finished"
        finally:
            if report.outcome == "running":
                gone = isinstance(sys.exception(), GeneratorExit | asyncio.CancelledError)
                report.outcome = "aborted" if gone else "failed"
            report.num_chars = self._script.num_chars
            report.num_utterances = self._script.num_utterances
            report.seconds = time.perf_counter() - report.started_s

    async def pcm(self) -> AsyncGenerator[Pcm]:
        """Yield the PCM of all utterances in order, with the pauses between them.

        Raises what `encoded` raises. All feeds are closed at the end.
        """
        joints = Joints(self._engine.capabilities.sample_rate_hz)
        upcoming = asyncio.create_task(self._start_next())
        try:
            pause_s = 0.0
            while (started := await upcoming) is not None:
                upcoming = asyncio.create_task(self._start_next())
                if pause_s:
                    yield joints.pause(pause_s)
                async with aclosing(self._hear(started, joints)) as pieces:
                    async for pcm in pieces:
                        yield pcm
                has_sound = self._report.num_begun > self._report.num_spoken
                pause_s = started.pause_s if has_sound else 0.0
                self._report.num_spoken += 1
                if started.feed.verdict is not None:
                    self._report.verdicts.append(started.feed.verdict)
                await self._close(started.feed)
        except (UserError, BusyError):
            if self._report.is_live and self._report.num_begun:
                # What was heard until then was asked for, and is paid for.
                self._report.outcome = "aborted"
            raise
        finally:
            await self._end(upcoming)

    async def _hear(self, started: _Started, joints: Joints) -> AsyncGenerator[Pcm]:
        """Yield the PCM of one utterance, faded at its end where a pause follows."""
        join = joints.add_before_pause if started.pause_s else joints.add
        has_sound = False
        async with aclosing(self._read(started.feed)) as pieces:
            async for pcm in pieces:
                has_sound = True
                self._report.num_begun = self._report.num_spoken + 1
                joined = join(pcm)
                if len(joined):
                    yield joined
        if has_sound and started.pause_s:
            # What was held back is the end of this utterance still.
            yield joints.end()

    async def _start_next(self) -> _Started | None:
        """Send the next utterance to the engine, once there is text for it; None at the end."""
        line = await self._script.line(self._num_started)
        if line is None:
            return None
        self._take_place()
        utterance = line.utterance
        speakable = worded(utterance, self._engine.capabilities)
        feed = UtteranceFeed(
            self._engine,
            self._admission,
            speakable,
            in_hand=self._report.sound_in_hand_s,
            verify=self._verify(utterance, speakable),
        )
        self._feeds.add(feed)
        self._report.utterance_chars.append(len(utterance.text))
        if utterance.part is not None:
            self._speech = utterance.part.speech
        before, self._last = self._last, feed
        self._num_started += 1
        if before is None:
            await feed.start_as_first()
        else:
            feed.start_after(before)
        return _Started(feed, line.pause_s)

    def _verify(self, utterance: Utterance, speakable: Utterance) -> Verify | None:
        if self._verifier is None:
            return None
        language = self._script.plan.request.language
        return self._verifier.of(utterance, speakable.text, language)

    async def _end(self, upcoming: asyncio.Task[_Started | None]) -> None:
        """Let go of everything."""
        with self._place:
            upcoming.cancel()
            # All at once: who is cancelled while it waits for one must not leave another behind.
            for feed in self._feeds:
                feed.abort()
            if self._speech is not None:
                self._engine.end_speech(self._speech)
            await asyncio.wait([upcoming])
            if not upcoming.cancelled():
                upcoming.exception()  # Seen already, or by nobody because nobody listens.
            for feed in list(self._feeds):
                await self._close(feed)

    async def _close(self, feed: UtteranceFeed) -> None:
        await feed.close()
        self._report.num_rerolls += feed.num_rerolls
        self._feeds.discard(feed)
        if self.is_idle:
            self._leave_place()

    def _take_place(self) -> None:
        """Be a request in progress, unless it is one. Raises BusyError."""
        if self._held is None:
            self._held = self._place.enter_context(self._admission.stream())

    def _leave_place(self) -> None:
        self._place.close()
        self._held = None

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """In this block whoever listens takes what there is; its place rests if that takes long."""
        timer = asyncio.get_running_loop().call_later(_REST_AFTER_S, self._rest)
        try:
            yield
        finally:
            timer.cancel()
            if self._held is not None:
                self._held.resume()

    def _rest(self) -> None:
        if self._held is not None:
            self._held.rest()
