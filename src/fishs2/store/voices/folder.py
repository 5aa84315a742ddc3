"""What is in the folder of voices at this moment: the reading side of `voices`, which draws it.

Only what was read whole is remembered. A folder that could not be read is tried again every time,
and its reason is in the log once.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fishs2.store.voices.files import (
    META,
    Voice,
    is_audio,
    is_sample,
    read_flat_voice,
    read_voice,
    stamp_of,
)

logger = logging.getLogger(__name__)

NEW, OLD, GONE = ".new-", ".old-", ".gone-"


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look found.

    voices: by id. unread: folders that may be voices and could not be read, with the reason.
    is_torn: a voice is missing that is being replaced, or was when its writer died.
    has_left_overs: a writer is at work, or died.
    """

    voices: dict[str, Voice] = field(default_factory=dict)
    unread: dict[str, OSError] = field(default_factory=dict)
    is_torn: bool = False
    has_left_overs: bool = False


class VoiceFolder:
    """The folder, and what is remembered of it. Thread-safe; blocks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[object, Voice]] = {}
        # Bounded: what is told of a name goes when the name does.
        self._told: dict[str, set[str]] = {}

    def scan(self) -> Scan:
        """Look at everything. Raises OSError if the folder itself cannot be read."""
        names = self._list_names()
        folders = [name for name, is_folder in names.items() if is_folder and name[0] != "."]
        known = self._known
        scan = Scan(
            is_torn=_is_torn(names) or not known.keys() <= set(folders),
            has_left_overs=any(name.startswith((NEW, OLD, GONE)) for name in names),
        )
        seen: dict[str, tuple[object, Voice]] = {}
        for name in folders:
            with self._reading(name, name, scan):
                read = self._read_folder(name, known.get(name))
                if read is not None:
                    seen[name] = read
        self._known = seen
        scan.voices.update((name, voice) for name, (_, voice) in seen.items())
        self._add_flat(names, scan)
        self._told = {name: told for name, told in self._told.items() if name in names}
        return scan

    def _list_names(self) -> dict[str, bool]:
        """The names in the folder; whether each is a folder. Links are left out."""
        try:
            with os.scandir(self.path) as entries:
                return {
                    entry.name: entry.is_dir(follow_symlinks=False)
                    for entry in entries
                    if not entry.is_symlink()
                }
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def _read_folder(
        self, name: str, known: tuple[object, Voice] | None
    ) -> tuple[object, Voice] | None:
        path = self.path / name
        state = _state_of(path)
        if known is not None and known[0] == state:
            return known
        voice = read_voice(path, partial(self._tell, name))
        return None if voice is None else (state, voice)

    def _add_flat(self, names: dict[str, bool], scan: Scan) -> None:
        files = sorted(name for name, is_folder in names.items() if not is_folder)
        for name in files:
            voice_id, suffix = os.path.splitext(name)
            if is_audio(name) and (voice_id in scan.voices or voice_id in scan.unread):
                self._tell(name, "there is a voice of this name")
            elif is_audio(name):
                with self._reading(name, voice_id, scan):
                    tell = partial(self._tell, name)
                    scan.voices[voice_id] = read_flat_voice(self.path / name, tell)
            elif is_sample(name) and suffix:
                self._tell(name, "it is no audio file")

    @contextmanager
    def _reading(self, name: str, voice_id: str, scan: Scan) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:  # deleted or replaced at this moment
            pass
        except OSError as error:
            scan.unread[voice_id] = error
            self._tell(name, error.strerror or type(error).__name__)
        except ValueError as error:
            self._tell(name, str(error))

    def _tell(self, name: str, message: str) -> None:
        told = self._told.setdefault(name, set())
        if message not in told:
            told.add(message)
            logger.warning("skipped in the voices folder: %s: %s", name, message)


def _is_torn(names: dict[str, bool]) -> bool:
    """Whether a voice was moved aside and its successor is not in its place."""
    return any(name.startswith(OLD) and aside_of(name) not in names for name in names)


def aside_of(name: str) -> str:
    """The id of the voice that was moved aside to this name."""
    return name.split("-", 1)[1].rpartition("-")[0]


def _state_of(path: Path) -> object:
    """Something that changes when anything does that is read of a voice's folder."""
    # Of a folder without metadata nothing says whether its transcripts changed.
    if not os.path.lexists(path / META):
        return object()
    return (os.stat(path, follow_symlinks=False).st_mtime_ns, stamp_of(path))
