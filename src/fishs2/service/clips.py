"""Audio that is kept: found by a digest of its content, made once for all who ask."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fishs2.errors import (
    EngineUnavailableError,
    QuotaError,
    StoreUnavailableError,
    UnauthorizedError,
)
from fishs2.service.threads import Threads
from fishs2.store.clips import Clip, ClipStore, OpenClip
from fishs2.store.failures import store_errors
from fishs2.store.spool import Spool

logger = logging.getLogger(__name__)

_SWEEP_EVERY_S = 5.0
"""Each looks at a part of the folder: 50,000 clips take ten minutes, and 0.04 % of a core."""

_NUM_THREADS = 4
"""More than one, as a clip that is on its way to a slow disk must not hold up the hits."""

Keep = Callable[[bytes | Spool], Awaitable[Clip]]
"""Stores what was made; what fails there has not been made. Raises StoreUnavailableError."""

_T = TypeVar("_T")


@dataclass(slots=True)
class _Flight:
    """A clip that is being found or made, and how many wait for it."""

    task: asyncio.Task[Clip]
    num_waiting: int = 0


class Clips:
    """The cached audio of one server. For one event loop."""

    def __init__(self, store: ClipStore) -> None:
        self._store = store
        self._flights: dict[tuple[str, str], _Flight] = {}
        # Bounded by the requests in progress, as each of these has had one that waited for it.
        self._tasks: set[asyncio.Task[Clip]] = set()
        self._threads = Threads(_NUM_THREADS, "fishs2-clips")
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to remove what is too old, now and then."""
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End what is in progress: who waits for a clip gets EngineUnavailableError."""
        tasks: list[asyncio.Task[Any]] = list(self._tasks)
        if self._sweeping is not None:
            tasks.append(self._sweeping)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        # Waits for files that are being written.
        await asyncio.to_thread(self._threads.close)
        self._store.close()

    async def open(self, name: str) -> OpenClip | None:
        """The clip of a public name, to be read with `read`; the caller closes its file."""
        opening = asyncio.ensure_future(self._run(lambda: self._store.open(name)))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise

    async def read(self, clip: OpenClip, start: int, num_bytes: int) -> bytes:
        """Return `num_bytes` of a clip from `start` on; fewer only at its end.

        Raises StoreUnavailableError.
        """
        return await self._run(lambda: clip.read(start, num_bytes))

    async def get_or_make(
        self, content_key: str, audio_format: str, make: Callable[[Keep], Awaitable[Clip]]
    ) -> Clip:
        """The clip with this content, made if it is not there.

        Raises what `make` raises, StoreUnavailableError.

        All who ask for it meanwhile wait for the one that is being made, and get its error; save
        for those of its account, which are the maker's own: the next of them makes it then. The
        work goes on as long as one of them waits, also without the one who began it.
        """
        key = (content_key, audio_format)
        while True:
            flight = self._flights.get(key)
            is_maker = flight is None
            if flight is None:
                flight = self._take_off(key, make)
            try:
                return await self._land(key, flight)
            except (QuotaError, UnauthorizedError):
                if is_maker:
                    raise

    def _take_off(self, key: tuple[str, str], make: Callable[[Keep], Awaitable[Clip]]) -> _Flight:
        flight = _Flight(asyncio.create_task(self._find_or_make(key, make)))
        self._flights[key] = flight
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda _: self._end(key, flight))
        return flight

    async def _land(self, key: tuple[str, str], flight: _Flight) -> Clip:
        """Wait for a flight; whoever leaves it last ends it."""
        flight.num_waiting += 1
        try:
            # Unlike awaiting the task, this does not cancel it when the caller is.
            await asyncio.wait([flight.task])
        finally:
            flight.num_waiting -= 1
            if not flight.num_waiting and not flight.task.done():
                # Whoever comes from now on must not share what is about to end.
                self._forget(key, flight)
                flight.task.cancel()
                # So that the engine is free when we return.
                await asyncio.wait([flight.task])
        if flight.task.cancelled():
            raise EngineUnavailableError("the server is stopping")
        return flight.task.result()

    def _forget(self, key: tuple[str, str], flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _end(self, key: tuple[str, str], flight: _Flight) -> None:
        self._forget(key, flight)
        self._tasks.discard(flight.task)
        if not flight.task.cancelled():
            flight.task.exception()  # asyncio complains of errors that nobody is left to see

    async def _find_or_make(
        self, key: tuple[str, str], make: Callable[[Keep], Awaitable[Clip]]
    ) -> Clip:
        # Looked up in here: between a miss outside and the flight, the clip might have come.
        found = await self._run(lambda: self._store.find(*key))
        if found is not None:
            return found

        async def keep(content: bytes | Spool) -> Clip:
            return await self._run(lambda: self._store.add(*key, content))

        return await make(keep)

    async def _sweep(self) -> None:
        while True:
            with suppress(StoreUnavailableError):
                await self._run(self._store.sweep)
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def _run(self, work: Callable[[], _T]) -> _T:
        with store_errors("clips"):
            return await self._threads.run(work)


def _close_late(opening: asyncio.Future[OpenClip | None]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opened = opening.result()
        if opened is not None:
            opened.file.close()
