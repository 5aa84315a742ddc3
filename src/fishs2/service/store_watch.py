"""Whether what must be kept can be, for whoever watches the server."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from fishs2.errors import StoreUnavailableError
from fishs2.store.failures import reason_of

OK = "ok"

_TIMEOUT_S = 0.5
"""Clients give /health three seconds. Source: contract, Pandrator."""

_NUM_BYTES = 65_536


class StoreWatch:
    """Looks at folders and database now and then. For one event loop."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        check_keys: Callable[[], Awaitable[None]],
        *,
        check_every_s: float = 5.0,
        timeout_s: float = _TIMEOUT_S,
        noted_life_s: float = 60.0,
    ) -> None:
        """folders: by what people call them. check_keys: raises StoreUnavailableError.

        timeout_s: how long a check is waited for. noted_life_s: for how long a failure counts that
        the checks do not find, such as of files that are large.
        """
        self._check_every_s = check_every_s
        self._timeout_s = timeout_s
        self._noted_life_s = noted_life_s
        self._folders = folders
        self._check_keys = check_keys
        self._checking: asyncio.Task[None] | None = None
        self._checked_s = 0.0
        self._found = "not known yet"
        self._noted = ""
        self._noted_s = 0.0

    def note(self, message: str) -> None:
        """Remember for a while why something could not be kept; clients may see it."""
        self._noted, self._noted_s = message, time.monotonic()

    async def state(self) -> str:
        """`OK`, or why not; the last that was known if the disks do not answer soon."""
        task = self._checking
        if task is None or (
            task.done() and time.monotonic() > self._checked_s + self._check_every_s
        ):
            task = self._checking = asyncio.create_task(self._check())
        await asyncio.wait({task}, timeout=self._timeout_s)
        is_noted = self._noted and time.monotonic() < self._noted_s + self._noted_life_s
        return self._noted if is_noted and self._found == OK else self._found

    async def close(self) -> None:
        """End a check that is in progress."""
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait({self._checking})

    async def _check(self) -> None:
        found = await asyncio.to_thread(self._look)
        if found == OK:
            try:
                await self._check_keys()
            except StoreUnavailableError:
                # Without its words: they may name the database's host.
                found = "the database of keys cannot be used; the server's log says why"
        self._found, self._checked_s = found, time.monotonic()

    def _look(self) -> str:
        for name, folder in self._folders.items():
            try:
                write_nothing(folder)
            except OSError as error:
                return f"the {name} cannot be written: {reason_of(error)}"
        return OK


def write_nothing(folder: Path) -> None:
    """Write into a folder, or into where it is to be made, and leave nothing. Raises OSError."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(prefix=".check-", dir=folder) as file:
        file.write(bytes(_NUM_BYTES))
        file.flush()
