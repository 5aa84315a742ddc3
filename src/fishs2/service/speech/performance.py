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
from fishs2.service.speech.timing.times import Heard, SpeechTimes, as_pcm
from fishs2.service.speech.verify import Verifier, Verify
from fishs2.service.speech.whole import nothing_to_speak
from fishs2.text.directing.cues import PLAIN, Manner
from fishs2.text.directing.pauses import MAX_PAUSE_S


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

    @property
    def tail_s(self) -> float:
        """Silence after the last line, beside what that asks for; known once there is none more."""
        ...

    @property
    def has_louder_parts(self) -> bool:
        """Whether a part of it is to be louder than the rest."""
        ...

    def source(self, start: int, end: int) -> str:
        """A part of the text, as it was sent; of a text that grows, of its end."""
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
    line: Line


@dataclass(frozen=True, slots=True)
class Rest:
    """Silence that no effect changes, in seconds; at most ten of them."""

    seconds: float


Piece = Pcm | Rest | Manner
"""What a speech is made of: sound, float32 [n], silence, and how the sound after it is changed."""


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
        times: SpeechTimes | None = None,
    ) -> None:
        """verifier: hears what is spoken, where the request asks for it. times: is told when
        it sounds.
        """
        self._times = times
        # Of one utterance, where times are asked for.
        self._heard: list[Pcm] = []
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
        self._manner = PLAIN
        self._rest_s = 0.0

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
            async with aclosing(self.pieces()) as pieces:
                async for piece in pieces:
                    match piece:
                        case Rest(seconds):
                            report.note_rest(seconds)
                            encoded = await path.rest(seconds)
                        case Manner(speed, volume_db):
                            encoded = await path.turn(speed=speed, volume_db=volume_db)
                        case pcm:
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

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Yield all utterances in order, with the pauses between them; sound comes first.

        Raises what `encoded` raises. All feeds are closed at the end.
        """
        joints = Joints(self._engine.capabilities.sample_rate_hz)
        upcoming = asyncio.create_task(self._start_next())
        try:
            before: Line | None = None
            while (started := await upcoming) is not None:
                upcoming = asyncio.create_task(self._start_next())
                line = started.line
                for piece in self._pause(before, line, joints):
                    yield piece
                async with aclosing(self._hear(started, joints)) as pieces:
                    async for pcm in pieces:
                        for rest in self._take_rests():
                            yield rest
                        yield pcm
                has_sound = self._report.num_begun > self._report.num_spoken
                if has_sound:
                    await self._note_times(started)
                before = line if has_sound else None
                self._report.num_spoken += 1
                if started.feed.verdict is not None:
                    self._report.verdicts.append(started.feed.verdict)
                self._rest_s += line.rest_s or 0.0
                if self._report.num_begun:
                    for rest in self._take_rests():
                        yield rest
                await self._close(started.feed)
            self._rest_s += self._script.tail_s
            if self._report.num_begun:
                for rest in self._take_rests():
                    yield rest
        except (UserError, BusyError):
            if self._report.is_live and self._report.num_begun:
                # What was heard until then was asked for, and is paid for.
                self._report.outcome = "aborted"
            raise
        finally:
            await self._end(upcoming)

    def _pause(self, before: Line | None, after: Line, joints: Joints) -> Iterator[Piece]:
        """The silence between two lines that is no rest, and the manner of the second."""
        self._rest_s += after.before_s or 0.0
        if before is not None:
            is_usual = before.rest_s is None and after.before_s is None
            if not is_usual:
                joints.pause(0.0)
            elif before.is_exact:
                joints.pause(0.0)
                self._rest_s += before.pause_s
            elif before.pause_s:
                yield joints.pause(before.pause_s)
        if after.manner != self._manner:
            self._manner = after.manner
            yield after.manner

    def _take_rests(self) -> Iterator[Rest]:
        """The silence that is due, once there is sound: who has the first piece knows that the
        engine works.
        """
        while self._rest_s > 0:
            seconds = min(self._rest_s, MAX_PAUSE_S)
            self._rest_s -= seconds
            yield Rest(seconds)

    async def _hear(self, started: _Started, joints: Joints) -> AsyncGenerator[Pcm]:
        """Yield the PCM of one utterance, faded at its end where a pause follows."""
        is_faded = started.line.silence_s > 0
        join = joints.add_before_pause if is_faded else joints.add
        has_sound = False
        async with aclosing(self._read(started.feed)) as pieces:
            async for pcm in pieces:
                has_sound = True
                self._report.num_begun = self._report.num_spoken + 1
                if self._times is not None:
                    self._heard.append(pcm)
                joined = join(pcm)
                if len(joined):
                    yield joined
        if has_sound and is_faded:
            # What was held back is the end of this utterance still.
            yield joints.end()

    async def _note_times(self, started: _Started) -> None:
        """Say when an utterance was heard, now that all of it was."""
        if self._times is None:
            return
        pieces, self._heard = self._heard, []
        priming_s = self._script.plan.format.priming_s
        start_s, end_s = (each + priming_s for each in self._report.times_s[-1])
        await self._times.add(
            Heard(
                started.line,
                self._script.plan.worded(started.line),
                as_pcm(pieces),
                self._engine.capabilities.sample_rate_hz,
                started.feed.words,
                start_s,
                end_s,
            )
        )

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
        return _Started(feed, line)

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
