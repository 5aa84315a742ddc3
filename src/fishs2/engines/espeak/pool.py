"""A pool of eSpeak worker processes: orders in, int16 PCM out, whatever happens to a worker.

Here lives the parent's side of `espeak.worker`: starting, feeding, aborting and replacing workers.
Nothing about voices' names or references; `engines.builtin` calls it, from one event loop.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader

from fishs2.engines.espeak import worker as espeak_worker
from fishs2.engines.espeak.worker import HEADER, Kind, Order
from fishs2.errors import EngineError, EngineLostError, EngineUnavailableError

_logger = logging.getLogger(__name__)

_MIN_RESTART_PAUSE_S = 0.05
_MAX_RESTART_PAUSE_S = 10.0
_MAX_LOGGED_LINE_BYTES = 300
_REMEDY = "reinstall it with: pip install --force-reinstall espeakng-loader"
if sys.platform == "win32":
    _REMEDY += " and install the Microsoft Visual C++ Redistributable, which it needs"

_HAS_ENDED = None
_Piece = bytes | EngineError | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds a worker may take before it counts as lost.

    start_s: to load eSpeak; 0.05 s is usual, a cold disk and a virus scanner take the rest.
    stall_s: between two messages of an order; 0.2 ms is usual.
    abort_s: to end an aborted order. turn_s: until one is free; 100 long orders ahead take less.
    """

    start_s: float = 20.0
    stall_s: float = 10.0
    abort_s: float = 2.0
    turn_s: float = 60.0


class EspeakPool:
    """Workers that start together, speak one order each at a time, and are replaced when lost.

    Usable between `start` and `close`; each may be called once.
    """

    def __init__(self, num_workers: int, limits: Limits | None = None) -> None:
        self._num_workers = num_workers
        self._limits = limits or Limits()
        # Holds each worker at most once, so never more than num_workers and the dead ones that
        # have yet to be skipped; None once the pool is closed.
        self._free: asyncio.Queue[_Worker | None] = asyncio.Queue()
        # asyncio.Lock is first come, first served; Queue.get alone lets a newcomer overtake.
        self._turn = asyncio.Lock()
        # Every worker that has a process, so that `close` misses none.
        self._workers: set[_Worker] = set()
        # Tasks of their own, never cancelled: asyncio leaves the process unreaped when a
        # coroutine that creates one is cancelled. `close` kills the process instead and waits.
        self._launches: set[asyncio.Task[_Worker]] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._is_closed = False

    async def start(self) -> list[str]:
        """Start all workers; return the READY lines (voices and variants).

        Raises EngineUnavailableError when a worker cannot load eSpeak.
        """
        launches = [self._launch() for _ in range(self._num_workers)]
        try:
            workers = await asyncio.gather(*(asyncio.shield(launch) for launch in launches))
        except BaseException:
            await self.close()
            raise
        self._keepers = [asyncio.create_task(self._keep_worker(worker)) for worker in workers]
        return workers[0].ready_lines

    async def speak(self, order: Order) -> AsyncGenerator[bytes]:
        """Yield the int16 samples of `order`, piece by piece; nothing for text without a sound.

        Raises EngineError; EngineLostError when the worker dies or stalls. Closing the generator
        stops the worker within one piece.
        """
        worker = await self._take_worker()
        speech = worker.begin(order)
        try:
            while (piece := await speech.get()) is not _HAS_ENDED:
                if isinstance(piece, EngineError):
                    raise piece
                yield piece
        finally:
            worker.abort(speech)

    async def close(self) -> None:
        """End every worker and every order; speech under way fails with EngineError."""
        self._is_closed = True
        self._free.put_nowait(None)
        for keeper in self._keepers:
            keeper.cancel()
        for worker in self._workers:
            worker.kill()
        await asyncio.gather(*self._keepers, *self._launches, return_exceptions=True)
        await asyncio.gather(*(self._close_worker(worker) for worker in set(self._workers)))

    async def _take_worker(self) -> "_Worker":
        """Wait for the next free worker, first come, first served."""
        try:
            async with asyncio.timeout(self._limits.turn_s), self._turn:
                while not self._is_closed:
                    worker = await self._free.get()
                    if worker is not None and worker.is_alive:
                        return worker
        except TimeoutError:
            raise EngineError(
                f"no eSpeak worker became free within {self._limits.turn_s:.0f} s; "
                "the log says why workers are lost"
            ) from None
        raise EngineUnavailableError("the builtin engine has been closed")

    async def _keep_worker(self, worker: "_Worker | None") -> None:
        """Keep one place in the pool filled, until cancelled."""
        pause_s = _MIN_RESTART_PAUSE_S
        while True:
            if worker is not None:
                self._free.put_nowait(worker)
                await worker.listen(self._free)
                await self._close_worker(worker)
                if worker.has_served:
                    pause_s = _MIN_RESTART_PAUSE_S
            if worker is None or not worker.is_spent:
                _logger.warning("an eSpeak worker was lost; starting another in %.2f s", pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _MAX_RESTART_PAUSE_S)
            try:
                worker = await asyncio.shield(self._launch())
            except EngineUnavailableError as error:
                _logger.error("%s", error)
                worker = None

    def _launch(self) -> "asyncio.Task[_Worker]":
        """Start a worker; its task fails with EngineUnavailableError."""
        launch = asyncio.create_task(self._start_worker())
        self._launches.add(launch)
        launch.add_done_callback(self._launches.discard)
        return launch

    async def _start_worker(self) -> "_Worker":
        worker = _Worker(await _start_child(), self._limits)
        self._workers.add(worker)
        if self._is_closed:
            worker.kill()
        try:
            await worker.await_ready()
        except EngineUnavailableError:
            await self._close_worker(worker)
            raise
        return worker

    async def _close_worker(self, worker: "_Worker") -> None:
        await worker.close()
        self._workers.discard(worker)


async def _start_child() -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            # -I and -S: nobody's PYTHONPATH, and no site-packages to search; 12 ms to start.
            *(sys.executable, "-I", "-S", _find_worker_script()),
            espeakng_loader.get_library_path(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=os.path.dirname(espeakng_loader.get_data_path()),
        )
    except (OSError, RuntimeError) as error:
        _logger.error("cannot start an eSpeak worker: %s", error)
        raise EngineUnavailableError(f"eSpeak NG cannot be started; {_REMEDY}") from error


def _find_worker_script() -> str:
    return str(Path(espeak_worker.__file__).resolve())


class _Speech:
    """What one order brings: pieces, then None for the end or the error that ended it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_over = False
        self.is_aborted = False
        # Unbounded on purpose: the engine never waits for its reader. The utterance's length
        # bounds it: 500 characters are about 30 s, 1.3 MB.
        self._pieces: asyncio.Queue[_Piece] = asyncio.Queue()

    async def get(self) -> _Piece:
        return await self._pieces.get()

    def put(self, pcm: bytes) -> None:
        self._pieces.put_nowait(pcm)

    def end(self, outcome: EngineError | None = _HAS_ENDED) -> None:
        if not self.is_over:
            self.is_over = True
            self._pieces.put_nowait(outcome)


class _Worker:
    """One child process and the order it works on."""

    def __init__(self, child: asyncio.subprocess.Process, limits: Limits) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._child = child
        self._limits = limits
        self._stdin, self._stdout, self._stderr = child.stdin, child.stdout, child.stderr
        self._stderr_logger = asyncio.create_task(self._log_stderr())
        self._speech: _Speech | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_ending = False
        self._last_number = 0
        self.is_alive = True
        self.is_spent = False  # it leaves after the order that it has just ended
        self.ready_lines: list[str] = []

    async def await_ready(self) -> None:
        """Wait until eSpeak is loaded; EngineUnavailableError when that fails or takes too long."""
        try:
            async with asyncio.timeout(self._limits.start_s):
                kind, _, payload = await self._read_message()
        except asyncio.IncompleteReadError as error:
            raise EngineUnavailableError(f"eSpeak NG ended while it started; {_REMEDY}") from error
        except TimeoutError as error:
            raise EngineUnavailableError(
                f"eSpeak NG gave no sign of life within {self._limits.start_s:.0f} s of its "
                f"start; {_REMEDY}"
            ) from error
        if kind != Kind.READY:
            _logger.error("eSpeak cannot be loaded: %s", payload.decode())
            raise EngineUnavailableError(f"eSpeak NG cannot be loaded; {_REMEDY}")
        self.ready_lines = payload.decode().split("\n")

    @property
    def has_served(self) -> bool:
        return self._last_number > 0

    def begin(self, order: Order) -> _Speech:
        """Send an order; only a worker taken from the free ones may get one."""
        assert self._speech is None
        self._last_number += 1
        self._speech = _Speech(self._last_number)
        # Not drained: a few KB to a worker that waits for nothing else.
        self._send(Kind.SPEAK, order.encode())
        self._set_watchdog(self._limits.stall_s)
        return self._speech

    def abort(self, speech: _Speech) -> None:
        """Stop `speech` if it is still being made. Does not wait: DONE frees the worker."""
        if speech is self._speech:
            speech.is_aborted = True
            self._send(Kind.ABORT)
            self._set_watchdog(self._limits.abort_s)

    async def listen(self, free: "asyncio.Queue[_Worker | None]") -> None:
        """Take messages until the worker ends; return to `free` after every order."""
        try:
            while True:
                kind, number, payload = await self._read_message()
                speech = self._speech
                if speech is None or number != speech.number:
                    raise EngineError("an eSpeak worker answered without being asked")
                if kind == Kind.PCM:
                    self._take_pcm(speech, payload)
                elif kind == Kind.FAILED:
                    _logger.error("eSpeak refused an order: %s", payload.decode())
                    speech.end(EngineError("eSpeak could not speak this text in this voice"))
                else:
                    self._end_speech(_HAS_ENDED)
                    self.is_spent = kind == Kind.LAST
                    if not self.is_spent:
                        free.put_nowait(self)
        except asyncio.IncompleteReadError:
            self._is_ending = True  # by itself
        except EngineError as error:
            _logger.error("%s", error)

    def kill(self) -> None:
        """End the process at once; nothing is lost that SIGTERM, which it ignores, would save."""
        # Once only: subprocess polls before it signals, and would take the exit status away from
        # asyncio, which then logs about an unknown child.
        if not self._is_ending:
            self._is_ending = True
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()

    async def close(self) -> None:
        """End the process, if it still runs, and take back all that belongs to it.

        May be called again, also while it works. Whoever waits here may be cancelled; the closing
        itself goes on.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self.is_alive = False
        self._end_speech(EngineLostError("the eSpeak worker ended while it spoke"))
        self.kill()
        self._stdin.close()
        # A pipe is closed only once read to its end.
        while await self._stdout.read(65_536):
            pass
        await self._stderr_logger
        await self._child.wait()

    async def _read_message(self) -> tuple[int, int, bytes]:
        kind, number, payload_bytes = HEADER.unpack(await self._stdout.readexactly(HEADER.size))
        return kind, number, await self._stdout.readexactly(payload_bytes)

    def _take_pcm(self, speech: _Speech, pcm: bytes) -> None:
        # An aborted worker that goes on speaking must not put off its watchdog.
        if not speech.is_aborted:
            speech.put(pcm)
            self._set_watchdog(self._limits.stall_s)

    def _send(self, kind: Kind, payload: bytes = b"") -> None:
        # A worker that is gone is noticed where we read.
        if not self._stdin.is_closing():
            self._stdin.write(HEADER.pack(kind, self._last_number, len(payload)) + payload)

    def _end_speech(self, outcome: EngineError | None) -> None:
        self._set_watchdog(None)
        if self._speech is not None:
            self._speech.end(outcome)
            self._speech = None

    def _set_watchdog(self, limit_s: float | None) -> None:
        """Kill the worker unless this is called again within `limit_s`; None switches it off."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if limit_s is not None:
            self._watchdog = asyncio.get_running_loop().call_later(limit_s, self._kill_stalled)

    def _kill_stalled(self) -> None:
        _logger.error("an eSpeak worker stalled and is killed")
        self.kill()

    async def _log_stderr(self) -> None:
        """Log what the worker prints: an error of Python or of the C library."""
        while piece := await self._stderr.read(4096):
            text = piece[:_MAX_LOGGED_LINE_BYTES].decode(errors="replace").strip()
            _logger.warning("an eSpeak worker printed: %s", text)
