"""The server's end of one child process: its start, its messages, and how it ends.

A link lives as long as its child. Whatever goes wrong with the child (it dies, says nothing, gets
nowhere, does not stop) ends the link, with a reason for people; the supervisor then makes another.
"""

import asyncio
import contextlib
import logging
import shutil
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import numpy as np

from fishs2.engines.base import AudioChunk, Codes, EngineStats, Pcm, Utterance
from fishs2.engines.hosted.messages import (
    Failure,
    Kind,
    LogRecord,
    Message,
    Profile,
    Recipe,
    error_of,
    open_streams,
    pack,
    pack_rate,
    read_message,
    read_pcm,
    read_stats,
    unpack,
    write_message,
    write_pieces,
)
from fishs2.engines.hosted.references import ReferenceBook, cut_samples, without_audio
from fishs2.engines.hosted.start import describe_end, start_child
from fishs2.engines.hosted.watch import Answer, HostLimits, Watch
from fishs2.errors import EngineError, EngineUnavailableError
from fishs2.processes.child import Child
from fishs2.processes.supervisor import Ending, LostError

logger = logging.getLogger(__name__)


class Link:
    """One child process; a `Worker` for a supervisor, which many may use at once."""

    def __init__(
        self,
        recipe: Recipe,
        limits: HostLimits,
        folder: Path,
        check_profile: Callable[[Profile], None],
    ) -> None:
        """folder: for the child's temporary files; it is made, and removed by `close`.

        check_profile: gets what the child says of itself; may raise Fishs2Error.
        """
        self._recipe = recipe
        self._limits = limits
        self._folder = folder
        self._check_profile = check_profile
        self._child: Child | None = None
        self._answers: dict[int, Answer] = {}
        self._last_number = 0
        self._references = ReferenceBook()
        self._sending = asyncio.Lock()
        self._watch = Watch(limits)
        self._verdict = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self._is_alive = self._is_blameless = False
        self._num_finished = 0  # orders that were carried out to their end
        self.stats: EngineStats | None = None

    @property
    def is_free(self) -> bool:
        return self._is_alive

    async def start(self) -> None:
        """Start the child and its engine, as `Worker` says.

        Raises EngineUnavailableError or SettingsError as the engine did.
        """
        try:
            self._streams = await self._start_child()
        except OSError as error:
            raise EngineUnavailableError(
                f"the engine's process cannot be started: {error.strerror}"
            ) from error
        if self._verdict:  # killed before there was anything to kill
            self._kill(self._verdict)
        try:
            async with asyncio.timeout(self._limits.start_s):
                self._write(Kind.RECIPE, 0, pack(self._recipe))
                self._check_profile(await self._await_ready(self._streams[0]))
        except TimeoutError:
            self._kill(f"did not start within {self._limits.start_s:g} s")
            raise EngineUnavailableError(f"the engine {self._verdict}; see the log") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._lost() from None
        self._is_alive = not self._verdict
        self._pinging = asyncio.create_task(self._ping())

    async def listen(self) -> Ending:
        """Take messages until the child is gone."""
        assert self._streams is not None
        try:
            while True:
                self._take(await read_message(self._streams[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._is_alive = False
        except EngineError as error:
            self._kill(f"was ended: {error.message}")
        await self.close()
        return Ending(
            self._verdict, has_served=self._num_finished > 0, is_blameless=self._is_blameless
        )

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        """Yield what the child says. Raises LostError, and what the engine raises there."""
        async with aclosing(self._ask(partial(self._send, utterance))) as pieces:
            async for piece in pieces:
                assert isinstance(piece, AudioChunk)
                yield piece

    async def encode(self, pcm: Pcm, sample_rate_hz: int) -> bytes:
        """The codes of a recording, int32 [K, T] as bytes. Raises as `speak`."""
        rate = pack_rate(sample_rate_hz)
        async with aclosing(self._ask(partial(self._send_array, Kind.ENCODE, rate, pcm))) as pieces:
            return b"".join([piece async for piece in pieces if isinstance(piece, bytes)])

    async def decode(self, codes: Codes) -> Pcm:
        """The samples of codes. Raises as `speak`."""
        async with aclosing(
            self._ask(partial(self._send_array, Kind.DECODE, b"", codes))
        ) as pieces:
            heard = [piece.pcm async for piece in pieces if isinstance(piece, AudioChunk)]
        return np.concatenate([np.zeros(0, np.float32), *heard])

    def _kill(self, verdict: str) -> None:
        """End the process at once. verdict: why, as it follows on "the engine's process"."""
        self._verdict = self._verdict or verdict
        self._is_alive = False
        if self._child is not None:
            self._child.kill()

    def ask_to_leave(self) -> None:
        """Let the child end its work and go; it is killed if it does not."""
        if not self._is_alive:
            self._kill("was stopped")
            return
        self._verdict = "was stopped"
        self._is_alive = False
        self._write(Kind.CLOSE)
        loop = asyncio.get_running_loop()
        self._leaving = loop.call_later(self._limits.close_s, self._kill, "was stopped")

    def end_speech(self, speech: str) -> None:
        """As SpeechEngine says."""
        self._write(Kind.SPEECH_END, 0, speech.encode())

    async def close(self) -> None:
        """As `Worker` says. Whoever waits here may be cancelled; the closing itself goes on."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _start_child(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # Nobody else may read voices; a child that has left may have removed the outer folder,
        # and whoever tidies up the one around it.
        self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._child = await start_child(self._recipe, self._folder, theirs)
            return await open_streams(ours)
        except BaseException:
            ours.close()
            raise

    async def _await_ready(self, reader: asyncio.StreamReader) -> Profile:
        while True:
            message = await read_message(reader)
            match message.kind:
                case Kind.READY:
                    return unpack(Profile, message.payload)
                case Kind.FAILED:
                    raise error_of(unpack(Failure, message.payload))
                case _:
                    self._take(message)

    async def _ask(
        self, send: Callable[[int], Awaitable[None]]
    ) -> AsyncGenerator[AudioChunk | bytes]:
        """Send an order, and yield what it brings."""
        if not self._is_alive:
            raise LostError(self._verdict)
        self._last_number += 1
        number, answer = self._last_number, Answer()
        self._answers[number] = answer
        is_sent = False
        try:
            await send(number)
            is_sent = True
            while (item := await answer.items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            if not is_sent:
                self._answers.pop(number, None)
            if not answer.is_over and self._is_alive:
                answer.abort()
                self._write(Kind.ABORT, number)

    async def _send_array(
        self, kind: Kind, payload: bytes, array: Pcm | Codes, number: int
    ) -> None:
        """Send an order after the array that it is about, in pieces that let others in between."""
        assert self._streams is not None
        writer = self._streams[1]
        try:
            for _ in write_pieces(writer, Kind.PIECE, number, array):
                await writer.drain()
                self._watch.note_progress()
        except ConnectionError:
            raise await self._lost() from None
        self._write(kind, number, payload)

    async def _send(self, utterance: Utterance, number: int) -> None:
        """Send an utterance, after the references that the child does not have."""
        assert self._streams is not None
        keys = frozenset(each.key for each in utterance.references)
        # One after the other: a second utterance must not overtake the audio that it needs.
        async with self._sending:
            try:
                for reference in utterance.references:
                    if not self._references.has(reference.key):
                        for samples in cut_samples(reference):
                            self._write(Kind.SAMPLES, 0, pack(samples))
                            await self._streams[1].drain()
                            self._watch.note_progress()
                        self._references.add(reference)
            except ConnectionError:
                raise await self._lost() from None
            except asyncio.CancelledError:
                self._forget([reference.key])
                raise
            self._forget(self._references.choose_forgotten(keys))
            # Not drained: a few kB.
            self._write(Kind.SPEAK, number, pack(without_audio(utterance)))
        self._watch.note_progress()

    def _forget(self, keys: list[str]) -> None:
        for key in keys:
            self._references.discard(key)
            self._write(Kind.FORGET, 0, key.encode())

    def _write(self, kind: Kind, number: int = 0, *payload: bytes) -> None:
        # A child that is gone is noticed where we read.
        if self._streams is not None and not self._streams[1].is_closing():
            write_message(self._streams[1], kind, number, *payload)

    async def _lost(self) -> LostError:
        await self.close()
        return LostError(self._verdict)

    def _take(self, message: Message) -> None:
        self._watch.note_sign_of_life()
        match message.kind:
            case Kind.PCM | Kind.CODES | Kind.DONE | Kind.FAILED:
                self._watch.note_progress()
                self._take_answer(message)
            case Kind.PONG:
                stats = read_stats(message.payload)
                if stats != self.stats:
                    self._watch.note_progress()
                self.stats = stats
            case Kind.LOG:
                line = unpack(LogRecord, message.payload)
                logging.getLogger(line.logger).log(line.level, "%s", line.text)
            case _:
                raise EngineError(f"the engine's process sent a {message.kind.name}")

    def _take_answer(self, message: Message) -> None:
        answer = self._answers.get(message.number)
        if answer is None:
            return  # given up before it was sent whole
        if message.kind in (Kind.PCM, Kind.CODES):
            if not answer.is_aborted:
                is_pcm = message.kind == Kind.PCM
                answer.items.put_nowait(read_pcm(message.payload) if is_pcm else message.payload)
            return
        del self._answers[message.number]
        if message.kind == Kind.FAILED:
            answer.end(error_of(unpack(Failure, message.payload)))
            return
        if self._leaving is not None and not answer.is_aborted:
            # It was cut off, because we asked the child to leave.
            answer.end(LostError(self._verdict))
            return
        self._num_finished += not answer.is_aborted
        answer.end(None)

    async def _ping(self) -> None:
        """Ask now and then whether the child is alive."""
        while True:
            await asyncio.sleep(self._limits.ping_s)
            self._write(Kind.PING)
            is_loading = self.stats is not None and not self.stats.is_loaded
            verdict = self._watch.count_ping(self._answers.values(), is_loading=is_loading)
            if verdict is not None:
                self._is_blameless = verdict.is_blameless
                self._kill(verdict.reason)

    async def _close(self) -> None:
        self._is_alive = False
        if self._leaving is not None and self._child is not None:
            await self._child.wait()
            self._leaving.cancel()
        if self._child is not None:
            await self._end_child(self._child)
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.wait([self._pinging])
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
        for answer in self._answers.values():
            answer.end(LostError(self._verdict))
        self._answers.clear()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _end_child(self, child: Child) -> None:
        if not self._verdict:
            # It has closed the channel, so it is about to end; its status says how.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), self._limits.close_s)
            if child.status is None:
                self._verdict = "closed the connection and did not end"
        self._kill("")
        status = await child.wait()
        await child.close()
        self._verdict = self._verdict or describe_end(status)
