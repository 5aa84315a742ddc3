"""A pool of workers that do one order at a time, over pipes; `inside` is what they are made of.

What an order says and brings is its owner's matter: eSpeak's, or the decoder's.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from fishs2.errors import EngineUnavailableError
from fishs2.processes.child import Child, Program, describe_end, start_child
from fishs2.processes.inside import HEADER, Kind
from fishs2.processes.supervisor import (
    Ending,
    LostError,
    RestartRules,
    Supervisor,
)

_logger = logging.getLogger(__name__)

_HAS_ENDED = None


class RefusedError(Exception):
    """The worker could not carry out an order; the text is what it says."""


class NoTurnError(Exception):
    """No worker became free in time."""


_Piece = bytes | LostError | RefusedError | None


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many seconds a worker may take before it counts as lost.

    start_s: to get ready. stall_s: between two messages of an order. abort_s: to end an aborted
    order. turn_s: until one is free.
    """

    start_s: float = 20.0
    stall_s: float = 10.0
    abort_s: float = 2.0
    turn_s: float = 60.0


class WorkerPool:
    """Workers of one program that are replaced when lost. Usable between `start` and `close`."""

    def __init__(
        self,
        make_program: Callable[[], Program],
        num_workers: int,
        limits: PoolLimits,
        *,
        name: str,
        broken: str,
        rules: RestartRules | None = None,
    ) -> None:
        """make_program: what to start; raises EngineUnavailableError where it is not there.

        name: as in `Program`. broken: what is said, with the remedy, of a program that says itself
        that it cannot work; why is in the log.
        """
        self._limits = limits
        self._supervisor: Supervisor[_Worker] = Supervisor(
            name,
            lambda: _Worker(make_program, limits, broken, self._announce),
            num_workers=num_workers,
            rules=rules,
        )

    @property
    def num_restarts(self) -> int:
        """How often a worker was lost and replaced."""
        return self._supervisor.num_restarts

    @property
    def num_busy(self) -> int:
        """Workers with an order."""
        return sum(not worker.is_free for worker in self._supervisor.workers)

    @property
    def trouble(self) -> str:
        """Why no worker can be had; "" if one can."""
        return self._supervisor.trouble

    async def start(self) -> bytes:
        """Start all workers; returns what one says when it is ready.

        Raises EngineUnavailableError if the program cannot work, LostError if a worker ends.
        """
        return (await self._supervisor.start())[0].greeting

    async def ask(self, *order: bytes) -> AsyncGenerator[bytes]:
        """Yield the pieces that an order, made of these parts, brings.

        Closing the generator stops the worker. Raises RefusedError, LostError if the worker is
        lost, NoTurnError, NoWorkerError.
        """
        worker = await self._take_worker()
        answer = worker.begin(*order)
        try:
            while (piece := await answer.pieces.get()) is not _HAS_ENDED:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            worker.abort(answer)

    async def close(self) -> None:
        """End every worker and every order: those under way are lost."""
        await self._supervisor.close()

    async def _take_worker(self) -> "_Worker":
        try:
            async with asyncio.timeout(self._limits.turn_s):
                return await self._supervisor.take()
        except TimeoutError:
            raise NoTurnError from None

    def _announce(self) -> None:
        self._supervisor.announce()


class _Answer:
    """What one order brings: pieces, then None for the end or the error that ended it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False
        self.is_aborted = False
        # Unbounded on purpose: a worker never waits for whoever reads. The order bounds it.
        self.pieces: asyncio.Queue[_Piece] = asyncio.Queue()

    def end(self, outcome: LostError | RefusedError | None = _HAS_ENDED) -> None:
        if not self.is_over:
            self.is_over = True
            self.pieces.put_nowait(outcome)


class _Worker:
    """One process and the order it works on."""

    def __init__(
        self,
        make_program: Callable[[], Program],
        limits: PoolLimits,
        broken: str,
        announce: Callable[[], None],
    ) -> None:
        self._make_program = make_program
        self._limits = limits
        self._broken = broken
        self._announce = announce
        # Without a limit, as its transport is never paused: see _Answer.
        self._stdout = asyncio.StreamReader()
        self._child: Child | None = None
        self._answer: _Answer | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._last_number = 0
        self._verdict = ""
        self._is_alive = self._is_spent = False
        self.greeting = b""

    @property
    def is_free(self) -> bool:
        return self._is_alive and self._answer is None

    async def start(self) -> None:
        """As `Worker` says."""
        try:
            self._child = await start_child(self._make_program(), self._stdout)
        except OSError as error:
            raise LostError(f"could not be made ({error.strerror})") from error
        if self._verdict:  # killed before there was anything to kill
            self._kill(self._verdict)
        try:
            async with asyncio.timeout(self._limits.start_s):
                kind, _, self.greeting = await self._read_message()
        except TimeoutError:
            self._kill(f"gave no sign of life within {self._limits.start_s:g} s")
            raise await self._lost() from None
        except asyncio.IncompleteReadError:
            raise await self._lost() from None
        if kind != Kind.READY:
            _logger.error("%s", self.greeting.decode())
            raise EngineUnavailableError(self._broken)
        self._is_alive = not self._verdict

    def begin(self, *order: bytes) -> _Answer:
        """Send an order; only a worker that is free may get one."""
        assert self._answer is None
        self._last_number += 1
        self._answer = _Answer(self._last_number)
        # Not drained: it goes to a worker that waits for nothing else.
        self._send(Kind.ORDER, *order)
        self._set_watchdog(self._limits.stall_s)
        return self._answer

    def abort(self, answer: _Answer) -> None:
        """Stop an order if it is still in work. Does not wait: DONE frees the worker."""
        if answer is self._answer:
            answer.is_aborted = True
            self._send(Kind.ABORT)
            self._set_watchdog(self._limits.abort_s)

    async def listen(self) -> Ending:
        """Take messages until the worker ends."""
        try:
            while True:
                self._take(*await self._read_message())
        except asyncio.IncompleteReadError:
            pass
        except _NonsenseError:
            self._kill("answered without being asked")
        await self.close()
        return Ending(self._verdict, has_served=self._last_number > 0, is_expected=self._is_spent)

    def ask_to_leave(self) -> None:
        """End it at once; nothing is lost that SIGTERM, which it ignores, would save."""
        self._kill("was stopped")

    async def close(self) -> None:
        """As `Worker` says. Whoever waits here may be cancelled; the closing itself goes on."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._is_alive = False
        if self._child is not None:
            self._child.kill()
            status = await self._child.wait()
            await self._child.close()
            self._verdict = self._verdict or describe_end(status)
        self._end_answer(LostError(self._verdict))

    async def _lost(self) -> LostError:
        await self.close()
        return LostError(self._verdict)

    def _kill(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        self._is_alive = False
        if self._child is not None:
            self._child.kill()

    async def _read_message(self) -> tuple[int, int, bytes]:
        kind, number, payload_bytes = HEADER.unpack(await self._stdout.readexactly(HEADER.size))
        return kind, number, await self._stdout.readexactly(payload_bytes)

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        answer = self._answer
        if answer is None or number != answer.number:
            raise _NonsenseError
        match kind:
            case Kind.PIECE:
                # An aborted worker that goes on must not put off its watchdog.
                if not answer.is_aborted:
                    answer.pieces.put_nowait(payload)
                    self._set_watchdog(self._limits.stall_s)
            case Kind.FAILED:
                answer.end(RefusedError(payload.decode()))
            case _:
                self._is_spent = kind == Kind.LAST
                # Before anybody else runs: the next order must not go to one that leaves.
                self._is_alive = not self._is_spent
                self._end_answer(_HAS_ENDED)
                self._announce()

    def _send(self, kind: Kind, *payload: bytes) -> None:
        # A worker that is gone is noticed where we read.
        if self._child is not None:
            header = HEADER.pack(kind, self._last_number, sum(map(len, payload)))
            self._child.write(header, *payload)

    def _end_answer(self, outcome: LostError | None) -> None:
        self._set_watchdog(None)
        if self._answer is not None:
            self._answer.end(outcome)
            self._answer = None

    def _set_watchdog(self, limit_s: float | None) -> None:
        """Kill the worker unless this is called again within `limit_s`; None switches it off."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if limit_s is not None:
            self._watchdog = asyncio.get_running_loop().call_later(
                limit_s, self._kill, f"got nowhere for {limit_s:g} s"
            )


class _NonsenseError(Exception):
    """What a worker said makes no sense."""
