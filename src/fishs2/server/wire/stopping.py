"""How the server ends: nothing new, what is in progress may finish, then it is cut.

`Stopping` is what requests know of it; `DrainingServer` is uvicorn's server with our manners.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn

CLOSE_RESTART = 1012
"""Of a WebSocket: the server ends, and is likely to come back. Source: IANA's registry of codes."""

_LAST_WORDS_S = 0.7
"""For errors and finish frames to leave, once everything has been cut."""

_HURRY_S = 1.5
"""After a second signal the process ends, whatever still runs in it."""


class Stopping:
    """Whether the server ends, and what it then cuts. For one event loop."""

    def __init__(self) -> None:
        self.has_begun = asyncio.Event()
        """No more text is taken; what has been taken is still spoken."""
        self.is_cut = False
        # Bounded by the connections.
        self._tasks: set[asyncio.Task[object]] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let the current task be cut: it gets CancelledError when the time is over."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    def begin(self) -> None:
        self.has_begun.set()

    def cut(self) -> None:
        """End what has not finished."""
        self.is_cut = True
        for task in self._tasks:
            task.cancel()


class DrainingServer(uvicorn.Server):
    """Ends after the first signal and `drain_s` at most, after the second at once."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping, *, drain_s: float) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._drain_s = drain_s
        self._is_hurried = asyncio.Event()
        self._has_signal = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn's own raises the signal again at the end, before the last log lines are out."""
        self.should_exit = True
        if self._has_signal and not self._is_hurried.is_set():
            self._is_hurried.set()
            last = threading.Timer(_HURRY_S, os._exit, [128 + sig])
            last.daemon = True
            last.start()
        self._has_signal = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.begin()
        cutting = asyncio.create_task(self._cut_in_time())
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    async def _cut_in_time(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await self._is_hurried.wait()
        self._stopping.cut()
        if self.server_state.tasks:
            await asyncio.wait(list(self.server_state.tasks), timeout=_LAST_WORDS_S)
        for connection in list(self.server_state.connections):
            # Who reads nothing would keep what is left for ever.
            connection.transport.abort()
