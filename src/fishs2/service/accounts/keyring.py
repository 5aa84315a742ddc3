"""The keys of those who ask, each read when it is shown, and remembered for a moment.

    known ids    -> a batch at once               one query for all who wait
    unknown ids  -> a batch, PAUSE_S after a miss whoever tries keys at random gets few queries

What `fishs2 keys` or another server changes takes effect when the moment is over.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from fishs2.errors import SettingsError, StoreUnavailableError
from fishs2.service.threads import Threads
from fishs2.store.accounts.keys import Key, find_keys, has_keys
from fishs2.store.database import Database

LIFE_S = 1.0
"""How long what was read of a key holds."""

MAX_KNOWN = 10_000
"""Keys that are remembered; who has more in use pays a query for some."""

PAUSE_S = 0.01
"""After a key that is none, the next that nobody has seen yet waits for so long."""

_Found = Mapping[str, Key]
_T = TypeVar("_T")


class Keyring:
    """The keys of one database. For one event loop."""

    def __init__(self, database: Database, *, life_s: float = LIFE_S) -> None:
        self._database = database
        self._life_s = life_s
        # One for keys and one for the question whether there are any. Not the ledger's: a writer
        # that waits for a lock must not hold up the door.
        self._threads = Threads(2, "fishs2-keys")
        self._known: OrderedDict[str, tuple[Key, float]] = OrderedDict()
        self._again = _Batches(self._read)
        self._first = _Batches(self._read, pause_s=PAUSE_S)
        self._looking: asyncio.Task[None] | None = None
        self._looked_s = -math.inf
        self.was_open = True
        """Whether no key existed when somebody last looked."""

    async def close(self) -> None:
        """End the threads. No call may be in progress."""
        await asyncio.to_thread(self._threads.close)

    async def look(self) -> None:
        """Find out whether there is any key, and make the tables if there is a database.

        Raises SettingsError where it can never be used, StoreUnavailableError where it may later.
        """

        def is_open() -> bool:
            if not self._database.exists:
                if not self.was_open:
                    # Moved or deleted: to let everybody in would be the worst answer.
                    raise StoreUnavailableError("the database of keys has gone")
                return True
            if self.was_open:
                self._database.migrate()
            return not has_keys(self._database)

        asked_s = time.monotonic()
        self.was_open = await self._threads.run(is_open)
        self._looked_s = asked_s

    async def is_open(self) -> bool:
        """Whether no key exists, so that nobody needs one. Raises StoreUnavailableError."""
        if time.monotonic() - self._looked_s >= self._life_s:
            # All who ask meanwhile wait for the same look.
            if self._looking is None or self._looking.done():
                self._looking = _quiet(asyncio.create_task(self.look()))
            try:
                await asyncio.shield(self._looking)
            except SettingsError as error:
                # Whoever starts us gives up; whoever asks us can only wait.
                raise StoreUnavailableError(error.message) from error
        return self.was_open

    async def find(self, key_id: str) -> Key | None:
        """The key of this id, as of a moment ago. Raises StoreUnavailableError."""
        key, read_s = self._known.get(key_id, (None, -math.inf))
        if time.monotonic() - read_s < self._life_s:
            self._known.move_to_end(key_id)
            return key
        batches = self._first if key is None else self._again
        return await batches.find(key_id)

    async def _read(self, ids: frozenset[str]) -> _Found:
        asked_s = time.monotonic()
        found = await self._threads.run(lambda: find_keys(self._database, ids))
        for key_id in ids:
            self._known.pop(key_id, None)
        self._known.update((key_id, (key, asked_s)) for key_id, key in found.items())
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return found


class _Batches:
    """One query at a time: who asks while it runs is in the next one."""

    def __init__(
        self, read: Callable[[frozenset[str]], Awaitable[_Found]], *, pause_s: float = 0.0
    ) -> None:
        """pause_s: before the next query, after one that did not find all."""
        self._read = read
        self._pause_s = pause_s
        self._free_s = -math.inf
        # Bounded by the requests in progress, each of which waits for one id.
        self._waiting: set[str] = set()
        self._next: asyncio.Task[_Found] | None = None
        self._running: asyncio.Task[_Found] | None = None

    async def find(self, key_id: str) -> Key | None:
        """The key of this id, as read from now on."""
        if self._next is None:
            self._next = _quiet(asyncio.create_task(self._read_next(self._running)))
        self._waiting.add(key_id)
        # Whoever leaves leaves the others their answer.
        found = await asyncio.shield(self._next)
        return found.get(key_id)

    async def _read_next(self, before: asyncio.Task[_Found] | None) -> _Found:
        if before is not None:
            await asyncio.wait([before])
        await asyncio.sleep(max(0.0, self._free_s - time.monotonic()))
        ids, self._waiting = frozenset(self._waiting), set()
        self._running, self._next = self._next, None
        found = await self._read(ids)
        if len(found) < len(ids):
            self._free_s = time.monotonic() + self._pause_s
        return found


def _quiet(task: asyncio.Task[_T]) -> asyncio.Task[_T]:
    """The same task; that nobody is left to see its error is no error."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
