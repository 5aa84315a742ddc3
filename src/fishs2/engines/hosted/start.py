"""How an engine's process is started, and what it inherits."""

import os
import socket
import sys
from pathlib import Path

from fishs2.engines.hosted.messages import LOST_STATUS, Recipe
from fishs2.processes import child
from fishs2.processes.child import Child, Program

_LIBRARY_PATH = {"win32": "PATH", "darwin": "DYLD_LIBRARY_PATH"}.get(
    sys.platform, "LD_LIBRARY_PATH"
)


async def start_child(recipe: Recipe, folder: Path, theirs: socket.socket) -> Child:
    """Start the child of a recipe. Raises OSError.

    folder: for its temporary files. theirs: its end of the channel, for the caller to close.
    """
    is_windows = sys.platform == "win32"
    channel = "-" if is_windows else str(theirs.fileno())
    program = Program(
        "the engine",
        # -P: what lies in the current folder must not stand for our modules.
        (sys.executable, "-P", "-m", "fishs2.engines.hosted.child", channel, str(folder)),
        environment=_environment(recipe, folder),
        descriptors=() if is_windows else (theirs.fileno(),),
    )
    started = await child.start_child(program)
    if sys.platform == "win32":
        shared = theirs.share(started.pid)
        started.write(len(shared).to_bytes(4, "little") + shared)
    return started


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
    """How a child ended, as it follows on "the engine's process"."""
    if status == LOST_STATUS:
        return "ended, as its card had failed"
    return child.describe_end(status)
