"""Keeps workers running: starts them, replaces lost ones, gives up for a while, ends them.

What a worker does, and how it is told, is its own matter: those of `processes.pool` do orders over
pipes, `engines.hosted.link` speaks over a socket.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fishs2.errors import Fishs2Error

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RestartRules:
    """When the next worker is started, in seconds. The first that is lost is replaced at once.

    pause_s: before the next one, doubled each time; open_s: between two tries once `max_losses` in
    a row were lost, which counts as trouble.
    """

    pause_s: float = 0.5
    open_s: float = 30.0
    max_losses: int = 6


class LostError(Exception):
    """A process was lost; the text says how, as it follows on "the process"."""


class NoWorkerError(Exception):
    """No worker can be had; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a worker has ended. reason: as in `LostError`.

    has_served: it had done what it is for, so a loss says nothing about the next one's chances.
    is_expected: it left when it should. is_blameless: it was killed, but for no fault of its own.
    """

    reason: str
    has_served: bool
    is_expected: bool = False
    is_blameless: bool = False


class Worker(Protocol):
    """One process, as its supervisor sees it. `start` it once, `listen` until it ends."""

    @property
    def is_free(self) -> bool:
        """Whether somebody may have it. It announces when that becomes true after the start."""
        ...

    async def start(self) -> None:
        """Start the process, and wait until it can work; never cancelled.

        Raises LostError if it died, Fishs2Error if it says why it cannot work.
        """
        ...

    async def listen(self) -> Ending:
        """Take what it says until it has ended."""
        ...

    def ask_to_leave(self) -> None:
        """Let it end soon; also before it has started."""
        ...

    async def close(self) -> None:
        """End it, if it still runs, and take back all that belongs to it; again is harmless."""
        ...


W = TypeVar("W", bound=Worker)


class Supervisor(Generic[W]):
    """Keeps so many workers running from `start` to `close`; each may be called once.

    name: whose processes they are, for people: "the engine".
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], W],
        *,
        num_workers: int = 1,
        rules: RestartRules | None = None,
    ) -> None:
        """make: a worker that has not been started; called for each process."""
        self._name = name
        self._make = make
        self._rules = rules or RestartRules()
        self._places = [_Place[W](_Losses(name, self._rules)) for _ in range(num_workers)]
        # Every worker that may have a process, so that `close` misses none.
        self._workers: set[W] = set()
        # Tasks of their own, never cancelled: asyncio leaves a process behind when the coroutine
        # that creates it is cancelled. `close` ends the process instead and waits.
        self._launches: set[asyncio.Task[W]] = set()
        self._keepers: list[asyncio.Task[None]] = []
        # asyncio.Lock is first come, first served.
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._is_closed = False
        self.num_restarts = 0
        """How often a worker that was lost has been replaced."""

    @property
    def workers(self) -> list[W]:
        """Those that have started and not ended."""
        return [place.worker for place in self._places if place.worker is not None]

    @property
    def trouble(self) -> str:
        """Why there is no worker and none to be expected soon; "" while there may be."""
        if any(place.worker is not None for place in self._places):
            return ""
        return next((place.trouble for place in self._places if place.trouble), "")

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    async def start(self) -> list[W]:
        """Start all workers. Raises LostError and Fishs2Error as they do; then none is left."""
        launches = [self._launch() for _ in self._places]
        try:
            workers = await asyncio.gather(*(asyncio.shield(launch) for launch in launches))
        except BaseException:
            await self.close()
            raise
        for place, worker in zip(self._places, workers, strict=True):
            self._fill(place, worker)
            self._keepers.append(asyncio.create_task(self._keep(place, worker)))
        return workers

    async def take(self) -> W:
        """Wait for a free worker, first come, first served. Raises NoWorkerError.

        Whoever takes one that is for one at a time must make it busy before anything else runs.
        """
        async with self._turn:
            while True:
                if self._is_closed:
                    raise NoWorkerError(f"{self._name} was closed")
                for worker in self.workers:
                    if worker.is_free:
                        return worker
                if self.trouble:
                    raise NoWorkerError(self.trouble)
                await self._changed.wait()

    def announce(self) -> None:
        """Look again, you who wait for a worker: one is free, or none will be."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """End all workers."""
        self._is_closed = True
        self.announce()
        for worker in self._workers:
            worker.ask_to_leave()
        for place, keeper in zip(self._places, self._keepers, strict=False):
            if place.worker is None:
                keeper.cancel()
            # Otherwise it listens until the worker has left: what cannot send does not leave.
        if self._keepers:
            await asyncio.wait(self._keepers)
        await asyncio.gather(*self._launches, return_exceptions=True)
        await asyncio.gather(*(self._forget(worker) for worker in set(self._workers)))

    async def _keep(self, place: "_Place[W]", worker: W) -> None:
        """Keep one place filled, until closed."""
        while True:
            ending = await worker.listen()
            self._fill(place, None)
            await self._forget(worker)
            if self._is_closed:
                return
            if not ending.is_expected:
                if not ending.is_blameless:
                    place.losses.note(ending.reason, has_served=ending.has_served)
                _logger.error("%s's process %s", self._name, ending.reason)
            worker = await self._restart(place, is_expected=ending.is_expected)
            self.num_restarts += not ending.is_expected
            self._fill(place, worker)

    async def _restart(self, place: "_Place[W]", *, is_expected: bool) -> W:
        """Start another worker, as often as it takes."""
        losses = place.losses
        while True:
            if not is_expected:
                place.trouble = losses.describe_if_too_many()
                self.announce()
                soon = f"in {losses.pause_s:g} s" if losses.pause_s else "at once"
                _logger.warning("another one is started %s", soon)
                await asyncio.sleep(losses.pause_s)
            is_expected = False
            try:
                return await asyncio.shield(self._launch())
            except LostError as error:
                losses.note(f"{error} while it started", has_served=False)
                _logger.error("%s's process %s while it started", self._name, error)
            except Fishs2Error as error:
                losses.give_up(error.message)
                _logger.error("%s cannot be started again: %s", self._name, error.message)

    def _launch(self) -> "asyncio.Task[W]":
        launch = asyncio.create_task(self._start_worker())
        self._launches.add(launch)
        launch.add_done_callback(self._launches.discard)
        return launch

    async def _start_worker(self) -> W:
        worker = self._make()
        self._workers.add(worker)
        if self._is_closed:
            worker.ask_to_leave()
        try:
            await worker.start()
        except (LostError, Fishs2Error):
            await self._forget(worker)
            raise
        return worker

    async def _forget(self, worker: W) -> None:
        await worker.close()
        self._workers.discard(worker)

    def _fill(self, place: "_Place[W]", worker: W | None) -> None:
        place.worker = worker
        if worker is not None:
            place.trouble = ""
        self.announce()


@dataclass(slots=True, eq=False)
class _Place(Generic[W]):
    """Where one worker follows another. trouble: why there is none for a while."""

    losses: "_Losses"
    worker: W | None = None
    trouble: str = ""


class _Losses:
    """How often a worker was lost in a row, and what follows from it."""

    def __init__(self, name: str, rules: RestartRules) -> None:
        self._name = name
        self._rules = rules
        self._num = 0
        self._reason = ""
        self._is_hopeless = False

    def note(self, reason: str, *, has_served: bool) -> None:
        """Another loss."""
        self._num = 1 if has_served else self._num + 1
        self._reason = f"its process {reason}"
        self._is_hopeless = False

    def give_up(self, reason: str) -> None:
        """The worker itself says that it cannot work."""
        self._num += 1
        self._reason = reason
        self._is_hopeless = True

    @property
    def pause_s(self) -> float:
        """How long to wait before the next one."""
        if self.describe_if_too_many():
            return self._rules.open_s
        return self._rules.pause_s * 2 ** (self._num - 2) if self._num > 1 else 0.0

    def describe_if_too_many(self) -> str:
        """Why there is no worker for a while; "" while the next one may be expected to work."""
        if not self._is_hopeless and self._num < self._rules.max_losses:
            return ""
        return (
            f"{self._name} was lost {self._num} times in a row, last because: {self._reason}; "
            f"it is tried again every {self._rules.open_s:g} s"
        )
