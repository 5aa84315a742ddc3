"""Audio that is kept: found by everything that shapes its sound, made once for all who ask."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from fishs2 import __version__
from fishs2.service.speech import SpeechPlan
from fishs2.store.clips import Clip, ClipStore

logger = logging.getLogger(__name__)

_SWEEP_EVERY_S = 600.0
_NUM_THREADS = 2

_T = TypeVar("_T")


@dataclass(slots=True)
class _Flight:
    """A clip that is being made, and how many wait for it."""

    task: asyncio.Task[Clip]
    num_waiting: int = 0


class Clips:
    """The cached audio of one server. For one event loop."""

    def __init__(self, store: ClipStore) -> None:
        self._store = store
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to remove what is too old, now and then."""
        self._sweeping = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        """End what is in progress."""
        tasks: list[asyncio.Task[Any]] = [flight.task for flight in self._flights.values()]
        if self._sweeping is not None:
            tasks.append(self._sweeping)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    async def open(self, name: str) -> Clip | None:
        """The clip of a public name."""
        return await self._run(lambda: self._store.find_by_name(name))

    async def get_or_make(
        self, content_key: str, audio_format: str, make: Callable[[], Awaitable[bytes]]
    ) -> Clip:
        """The clip with this content, made if it is not there.

        All who ask for it meanwhile wait for the one that is being made, and get its error. It goes
        on as long as one of them waits.
        """
        found = await self._run(lambda: self._store.find(content_key, audio_format))
        if found is not None:
            return found
        key = (content_key, audio_format)
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.create_task(self._make(key, make))
            flight = self._flights[key] = _Flight(task)
        flight.num_waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.num_waiting -= 1
            if not flight.num_waiting and not flight.task.done():
                # Nobody is left to hear it; wait, so that the engine is free when we return.
                flight.task.cancel()
                await asyncio.wait([flight.task])

    async def _make(self, key: tuple[str, str], make: Callable[[], Awaitable[bytes]]) -> Clip:
        try:
            content = await make()
            return await self._run(lambda: self._store.add(*key, content))
        finally:
            del self._flights[key]

    async def _sweep(self) -> None:
        while True:
            with suppress(OSError):
                await self._run(self._store.sweep)
            await asyncio.sleep(_SWEEP_EVERY_S)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="fishs2-clips")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def content_key(plan: SpeechPlan, *, engine: str) -> str:
    """A digest of everything that shapes the sound of a plan.

    engine: names engine, backend and model, as their sounds differ. What only says who asks, or how
    the engine is to work, is left out.
    """
    utterances = [
        {
            "text": utterance.text,
            "voice": utterance.voice,
            "reference": utterance.reference and utterance.reference.key,
            "sampling": _values(utterance.sampling),
        }
        for utterance in plan.utterances
    ]
    everything = {
        "version": __version__,
        "engine": engine,
        "utterances": utterances,
        "pauses_s": plan.pauses_s,
        "format": _values(plan.format),
        "effects": _values(plan.request.effects),
    }
    canonical = json.dumps(everything, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _values(record: Any) -> dict[str, object]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
