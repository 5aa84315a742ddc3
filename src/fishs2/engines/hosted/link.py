"""The server's end of one child process: its start, its messages, and how it ends.

A link lives as long as its child. Whatever goes wrong with the child (it dies, says nothing, gets
nowhere, does not stop) ends the link, with a reason for people; `host` then makes another.
"""

import asyncio
import contextlib
import logging
import shutil
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
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
from fishs2.engines.hosted.start import Child, describe_end, start_child
from fishs2.errors import EngineError, EngineUnavailableError, Fishs2Error

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HostLimits:
    """How long a child may take before it counts as lost, in seconds.

    start_s: to make its engine; a large model on a slow disk takes minutes. ping_s: between two
    questions whether it is alive; everything here is counted in these. silence_s: without any
    answer. stall_s: without any progress while it works; start_s while its model is not in memory.
    abort_s: to end an aborted order. close_s: to leave. open_s: between two tries once it is lost
    too often, which `max_losses` in a row are; the first of them is replaced at once, and then the
    pause doubles from `pause_s`.
    """

    start_s: float = 900.0
    ping_s: float = 1.0
    silence_s: float = 30.0
    stall_s: float = 120.0
    abort_s: float = 30.0
    close_s: float = 5.0
    pause_s: float = 0.5
    open_s: float = 30.0
    max_losses: int = 6


class LostError(Exception):
    """The child was lost while it worked on an utterance; the text says how, for people."""


class _Answer:
    """What one order brings: chunks or codes, then None for the end, or the error that ended it."""

    def __init__(self) -> None:
        self.is_over = False
        self.num_aborted_pings: int | None = None
        # Unbounded on purpose: the engine never waits for its reader, and the utterance bounds it.
        self.items: asyncio.Queue[AudioChunk | bytes | Fishs2Error | LostError | None] = (
            asyncio.Queue()
        )

    def end(self, outcome: Fishs2Error | LostError | None) -> None:
        if not self.is_over:
            self.is_over = True
            self.items.put_nowait(outcome)


class Link:
    """One child process. `start` it once, `listen` until it ends, then `close` it."""

    def __init__(self, recipe: Recipe, limits: HostLimits, folder: Path) -> None:
        """folder: for the child's temporary files; it is made, and removed by `close`."""
        self._recipe = recipe
        self._limits = limits
        self._folder = folder
        self._child: Child | None = None
        self._answers: dict[int, _Answer] = {}
        self._last_number = 0
        self._references = ReferenceBook()
        self._sending = asyncio.Lock()
        self._num_silent_pings = self._num_idle_pings = 0
        self._verdict = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._leaving: asyncio.TimerHandle | None = None
        self.is_alive = False
        self.num_finished = 0
        """Orders that were carried out to their end."""
        self.is_to_blame = True
        """Whether its loss says anything about the engine."""
        self.stats: EngineStats | None = None

    async def start(self) -> Profile:
        """Start the child and its engine; to be closed in any case.

        Raises EngineUnavailableError or SettingsError as the engine did; LostError if the child
        died. Must not be cancelled: asyncio would leave the process behind.
        """
        try:
            self._streams = await self._start_child()
        except OSError as error:
            raise EngineUnavailableError(
                f"the engine's process cannot be started: {error.strerror}"
            ) from error
        if self._verdict:  # killed before there was anything to kill
            self.kill(self._verdict)
        try:
            async with asyncio.timeout(self._limits.start_s):
                self._write(Kind.RECIPE, 0, pack(self._recipe))
                profile = await self._await_ready(self._streams[0])
        except TimeoutError:
            self.kill(f"did not start within {self._limits.start_s:g} s")
            raise EngineUnavailableError(f"the engine {self._verdict}; see the log") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise await self._lost() from None
        self.is_alive = not self._verdict
        self._watching = asyncio.create_task(self._watch())
        return profile

    async def listen(self) -> str:
        """Take messages until the child is gone; returns why, for people."""
        assert self._streams is not None
        try:
            while True:
                self._take(await read_message(self._streams[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.is_alive = False
        except EngineError as error:
            self.kill(f"was ended: {error.message}")
        await self.close()
        return self._verdict

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

    def kill(self, verdict: str) -> None:
        """End the process at once. verdict: why, as it follows on "the engine's process"."""
        self._verdict = self._verdict or verdict
        self.is_alive = False
        if self._child is not None:
            self._child.kill()

    def ask_to_leave(self) -> None:
        """Let the child end its work and go; it is killed if it does not."""
        if not self.is_alive:
            self.kill("was stopped")
            return
        self._verdict = "was stopped"
        self.is_alive = False
        self._write(Kind.CLOSE)
        loop = asyncio.get_running_loop()
        self._leaving = loop.call_later(self._limits.close_s, self.kill, "was stopped")

    def end_speech(self, speech: str) -> None:
        """As SpeechEngine says."""
        self._write(Kind.SPEECH_END, 0, speech.encode())

    async def close(self) -> None:
        """Take back all that belongs to the child, which is killed if it runs; again is harmless.

        Whoever waits here may be cancelled; the closing itself goes on.
        """
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
        if not self.is_alive:
            raise LostError(self._verdict)
        self._last_number += 1
        number, answer = self._last_number, _Answer()
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
            if not answer.is_over and self.is_alive:
                answer.num_aborted_pings = 0
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
                self._num_idle_pings = 0
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
                            self._num_idle_pings = 0
                        self._references.add(reference)
            except ConnectionError:
                raise await self._lost() from None
            except asyncio.CancelledError:
                self._forget([reference.key])
                raise
            self._forget(self._references.choose_forgotten(keys))
            # Not drained: a few kB.
            self._write(Kind.SPEAK, number, pack(without_audio(utterance)))
        self._num_idle_pings = 0

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
        self._num_silent_pings = 0
        match message.kind:
            case Kind.PCM | Kind.CODES | Kind.DONE | Kind.FAILED:
                self._num_idle_pings = 0
                self._take_answer(message)
            case Kind.PONG:
                stats = read_stats(message.payload)
                if stats != self.stats:
                    self._num_idle_pings = 0
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
        is_aborted = answer.num_aborted_pings is not None
        if message.kind in (Kind.PCM, Kind.CODES):
            if not is_aborted:
                is_pcm = message.kind == Kind.PCM
                answer.items.put_nowait(read_pcm(message.payload) if is_pcm else message.payload)
            return
        del self._answers[message.number]
        if message.kind == Kind.FAILED:
            answer.end(error_of(unpack(Failure, message.payload)))
            return
        if self._leaving is not None and not is_aborted:
            # It was cut off, because we asked the child to leave.
            answer.end(LostError(self._verdict))
            return
        self.num_finished += not is_aborted
        answer.end(None)

    async def _watch(self) -> None:
        """Ask now and then whether the child is alive, and count what it does not do.

        In pings and not by the clock: a server that was asleep must not blame its child.
        """
        limits = self._limits
        while True:
            await asyncio.sleep(limits.ping_s)
            # One that was idle loads its model again first, which takes as long as at the start.
            is_loading = self.stats is not None and not self.stats.is_loaded
            stall_s = limits.start_s if is_loading else limits.stall_s
            self._write(Kind.PING)
            self._num_silent_pings += 1
            self._num_idle_pings = self._num_idle_pings + 1 if self._answers else 0
            aborted = [s for s in self._answers.values() if s.num_aborted_pings is not None]
            for answer in aborted:
                answer.num_aborted_pings = (answer.num_aborted_pings or 0) + 1
            if self._num_silent_pings * limits.ping_s > limits.silence_s:
                self.kill(f"did not answer for {limits.silence_s:g} s")
            elif self._num_idle_pings * limits.ping_s > stall_s:
                self.kill(f"got nowhere for {stall_s:g} s")
            elif any((s.num_aborted_pings or 0) * limits.ping_s > limits.abort_s for s in aborted):
                # Many an engine cannot be stopped everywhere, and clients that leave must not take
                # it away from the others.
                self.is_to_blame = False
                self.kill(f"did not stop within {limits.abort_s:g} s")

    async def _close(self) -> None:
        self.is_alive = False
        if self._leaving is not None and self._child is not None:
            await self._child.wait()
            self._leaving.cancel()
        if self._child is not None:
            await self._end_child(self._child)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
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
        self.kill("")
        status = await child.wait()
        await child.close()
        self._verdict = self._verdict or describe_end(status)
