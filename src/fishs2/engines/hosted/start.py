"""How a child process is started, and how one has ended."""

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import cast

from fishs2.engines.hosted.messages import LOST_STATUS, Recipe
from fishs2.engines.hosted.output import OutputLog

logger = logging.getLogger(__name__)

_LIBRARY_PATH = {"win32": "PATH", "darwin": "DYLD_LIBRARY_PATH"}.get(
    sys.platform, "LD_LIBRARY_PATH"
)


_LAST_WORDS_S = 0.5
"""How long what a child has printed may take to come, once it has ended."""


class Child(asyncio.SubprocessProtocol):
    """A child process; what it prints goes to the log.

    Not asyncio's own `Process`: that one waits for the end of the output, which a process that the
    child has started may hold open for ever.
    """

    def __init__(self) -> None:
        self._transport: asyncio.SubprocessTransport | None = None
        self._outputs = {
            1: OutputLog("stdout", logger, level=logging.DEBUG),
            2: OutputLog("stderr", logger, level=logging.WARNING),
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
        if self.status is None:
            with suppress(ProcessLookupError):
                self._known_transport().kill()

    async def wait(self) -> int:
        """Its exit status, once it has ended, whoever else holds its pipes."""
        await self._has_ended.wait()
        status = self.status
        assert status is not None
        return status

    async def close(self) -> None:
        """Take the pipes back from one that has ended, with its last words."""
        cast("asyncio.WriteTransport", self._known_transport().get_pipe_transport(0)).close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._is_closed.wait()
        self._known_transport().close()
        await self._is_closed.wait()
        for output in self._outputs.values():
            output.end()

    def write_to_stdin(self, raw: bytes) -> None:
        cast("asyncio.WriteTransport", self._known_transport().get_pipe_transport(0)).write(raw)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # nothing else makes us

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._outputs[fd].take(data)

    def process_exited(self) -> None:
        self._has_ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, and so has all that it printed."""
        self._is_closed.set()

    def _known_transport(self) -> asyncio.SubprocessTransport:
        assert self._transport is not None
        return self._transport


async def start_child(recipe: Recipe, folder: Path, theirs: socket.socket) -> Child:
    """Start the child of a recipe. Raises OSError.

    folder: for its temporary files. theirs: its end of the channel, for the caller to close.
    """
    is_windows = sys.platform == "win32"
    channel = "-" if is_windows else str(theirs.fileno())
    _, child = await asyncio.get_running_loop().subprocess_exec(
        Child,
        # -P: what lies in the current folder must not stand for our modules.
        *(sys.executable, "-P", "-m", "fishs2.engines.hosted.child"),
        *(channel, str(folder)),
        pass_fds=() if is_windows else (theirs.fileno(),),
        env=_environment(recipe, folder),
    )
    if sys.platform == "win32":
        shared = theirs.share(child.pid)
        child.write_to_stdin(len(shared).to_bytes(4, "little") + shared)
    return child


def _environment(recipe: Recipe, folder: Path) -> dict[str, str]:
    """What the child starts with: all that we have, our module path, and what it is to get."""
    known = filter(None, [os.environ.get(_LIBRARY_PATH)])
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        **recipe.environment,
        _LIBRARY_PATH: os.pathsep.join([*recipe.library_folders, *known]),
        # Whatever the engine or its library leaves there goes with the process.
        **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(folder)),
    }


def describe_end(status: int) -> str:
    """How a process ended, as it follows on "the engine's process"."""
    if status < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"
    if status == LOST_STATUS:
        return "ended, as its card had failed"
    return f"ended with status {status}" if status else "ended by itself"
