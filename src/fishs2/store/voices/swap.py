"""How a voice is replaced or deleted, so that a kill leaves the old one or the new one.

Whoever calls this holds the lock of the folder. `store` draws the names.
"""

import os
import shutil
import uuid
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

NEW, OLD, GONE = ".new-", ".old-", ".gone-"


def aside(prefix: str, voice_id: str) -> str:
    """A name that nobody has, for a voice that is not in its place yet, or not any more."""
    return f"{prefix}{voice_id}-{uuid.uuid4().hex}"


def swap_in(folder: Path, draft: Path, voice_id: str) -> None:
    """Put a complete draft in the place of a voice. Raises OSError, with the old one in place."""
    target = folder / voice_id
    old = folder / aside(OLD, voice_id)
    with suppress(FileNotFoundError):
        target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        old.rename(target)
        raise
    remove_tree(old)


def clean_up(folder: Path) -> None:
    """Finish what a writer that died has begun."""
    for name in os.listdir(folder):
        if name.startswith((NEW, GONE)):
            remove_tree(folder / name)
        elif name.startswith(OLD):
            voice_id = _id_of(name)
            if (folder / voice_id).exists():
                remove_tree(folder / name)
            else:
                (folder / name).rename(folder / voice_id)


def is_torn(names: Collection[str]) -> bool:
    """Whether a voice was moved aside and its successor is not in its place."""
    return any(name.startswith(OLD) and _id_of(name) not in names for name in names)


def has_left_overs(names: Iterable[str]) -> bool:
    """Whether a writer is at work, or died."""
    return any(name.startswith((NEW, OLD, GONE)) for name in names)


def remove_tree(path: Path) -> None:
    """Remove a folder with what is in it, or a link; nothing is fine. Links are not followed."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _id_of(name: str) -> str:
    """The id of the voice that was moved aside to this name."""
    return name.split("-", 1)[1].rpartition("-")[0]
