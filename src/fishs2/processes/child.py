"""One process as the server holds it: started, killed, waited for; and how it has ended."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fishs2.processes.output import OutputLog

_logger = logging.getLogger(__name__)

_FEW_BYTES = 1 << 14
"""Joined for less than another write costs."""

_LAST_WORDS_S = 0.5
"""How long what a process has printed may take to come, once it has ended."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. name: whose process it is, for people: "the engine".

    environment: all of its variables; None is those of the server. folder: where it starts; None is
    the server's. descriptors: which of ours it inherits, on POSIX.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] | None = None
    folder: Path | None = None
    descriptors: Sequence[int] = ()


class Child(asyncio.SubprocessProtocol):
    """A process whose stdin stays open until `close`; what it prints goes to the log.

    Not asyncio's own `Process`: that one waits for the end of the output, which a process that the
    child has started may hold open for ever.
    """

    def __init__(self, name: str, stdout: asyncio.StreamReader | None = None) -> None:
        """stdout: gets what comes there, in place of the log."""
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdout = stdout
        self._logs = {
            1: OutputLog(name, "stdout", _logger, level=logging.DEBUG),
            2: OutputLog(name, "stderr", _logger, level=logging.WARNING),
        }
        self._has_ended, self._is_closed = asyncio.Event(), asyncio.Event()

    @property
    def pid(self) -> int:
        return self._known_transport().get_pid()

    @property
    def status(self) -> int | None:
        """Its exit status, negative after a signal; None while it runs."""
        return self._known_transport().get_returncode()

    def kill(self) -> None:
        """End it at once; harmless if it has ended."""
        if self.status is not None:
            return
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._known_transport().kill()
            else:
                # By ourselves: `subprocess` asks first whether it has ended, and so takes the
                # status of one that has just died away from asyncio, which then knows none.
                os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit status, once it has ended, whoever else holds its pipes."""
        await self._has_ended.wait()
        status = self.status
        assert status is not None
        return status

    async def close(self) -> None:
        """Take the pipes back from one that has ended, with its last words."""
        self._stdin().close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._is_closed.wait()
        self._known_transport().close()
        await self._is_closed.wait()
        for log in self._logs.values():
            log.end()

    def write(self, *parts: bytes) -> None:
        """Send to its stdin; never waits. One that is gone is noticed elsewhere."""
        if sum(map(len, parts)) < _FEW_BYTES:
            parts = (b"".join(parts),)
        for part in parts:
            if not self._stdin().is_closing():
                self._stdin().write(part)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # nothing else makes us

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1 and self._stdout is not None:
            self._stdout.feed_data(data)
        else:
            self._logs[fd].take(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """It has closed one of its pipes, or ended."""
        if fd == 1 and self._stdout is not None:
            self._stdout.feed_eof()

    def process_exited(self) -> None:
        self._has_ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, and so has all that it printed."""
        self._is_closed.set()

    def _stdin(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._known_transport().get_pipe_transport(0))

    def _known_transport(self) -> asyncio.SubprocessTransport:
        assert self._transport is not None
        return self._transport


async def start_child(program: Program, stdout: asyncio.StreamReader | None = None) -> Child:
    """Start a process. Raises OSError. Must not be cancelled: asyncio would leave it behind."""
    _, child = await asyncio.get_running_loop().subprocess_exec(
        lambda: Child(program.name, stdout),
        *program.command,
        env=program.environment,
        cwd=program.folder,
        pass_fds=program.descriptors,
    )
    return child


def describe_end(status: int) -> str:
    """How a process ended, as it follows on "its process"."""
    if status < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"
    return f"ended with status {status}" if status else "ended by itself"
