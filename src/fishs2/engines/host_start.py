"""How a child process is started, and how one has ended."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from pathlib import Path

from fishs2.engines.host_messages import Recipe

_LIBRARY_PATH = {"win32": "PATH", "darwin": "DYLD_LIBRARY_PATH"}.get(
    sys.platform, "LD_LIBRARY_PATH"
)


async def start_child(recipe: Recipe, folder: Path, theirs: socket.socket) -> Process:
    """Start the child of a recipe. Raises OSError.

    folder: for its temporary files. theirs: its end of the channel, for the caller to close.
    """
    is_windows = sys.platform == "win32"
    channel = "-" if is_windows else str(theirs.fileno())
    child = await asyncio.create_subprocess_exec(
        # -P: what lies in the current folder must not stand for our modules.
        *(sys.executable, "-P", "-m", "fishs2.engines.host_child"),
        *(channel, str(folder)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        pass_fds=() if is_windows else (theirs.fileno(),),
        env=_environment(recipe, folder),
    )
    assert child.stdin is not None
    if sys.platform == "win32":
        shared = theirs.share(child.pid)
        child.stdin.write(len(shared).to_bytes(4, "little") + shared)
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
    return f"ended with status {status}" if status else "ended by itself"
