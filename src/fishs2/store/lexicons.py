"""Lexicons on disk: a JSON file each, in one folder. What is in them is not known here.

    lexicons/default.json        complete, or not there: a new one is put in its place as a whole
             .new-1f3a...        a writer is at work, or died
             .lock               held by who reads, changes and writes

A client's text becomes a name of a file by the rule of voices (`store.voices.ids`), and is joined
to no path but as that.
"""

import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from fishs2.errors import BusyError, UserError
from fishs2.store.voices.ids import propose_ids

MAX_LEXICONS = 1_000
MAX_FILE_BYTES = 8_388_608
MAX_NAME_CHARS = 200

_LOCK_TIMEOUT_S = 5.0
_SUFFIX = ".json"
_NEW = ".new-"


class Stamp(NamedTuple):
    """What changes when a file does."""

    inode: int
    modified_ns: int
    num_bytes: int


def lexicon_id(name: str) -> str:
    """The one name of a lexicon: equal but for case, spaces and signs. Raises UserError."""
    ids = propose_ids(name) if len(name) <= MAX_NAME_CHARS and "\0" not in name else ()
    if not ids:
        reason = "it is blank" if not name.strip() else f"the limit is {MAX_NAME_CHARS} characters"
        raise UserError(
            f"a lexicon cannot have the name {name[:40]!r}: {reason}; use one such as my-project",
            code="invalid_lexicon_name",
            param="name",
        )
    return ids[0]


class LexiconStore:
    """The files of one folder. Blocks; every method may raise OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Ids of all lexicons, in order."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        found = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return sorted(name for name in found if propose_ids(name)[:1] == (name,))

    def stamp(self, lexicon: str) -> Stamp | None:
        """What tells one state of a lexicon from another; None if there is none of this id."""
        try:
            found = os.lstat(self._path(lexicon))
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            # Links are not followed.
            return None
        return Stamp(found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self, lexicon: str) -> bytes | None:
        """The file, as far as it may be long and one byte more; None if there is none."""
        if self.stamp(lexicon) is None:
            return None
        try:
            with self._path(lexicon).open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None

    def change(self, lexicon: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Put what `change` makes of a file in its place; None deletes it.

        A kill leaves the old or the new one. Raises BusyError where another writer keeps the lock,
        UserError `too_many_lexicons`, and what `change` raises.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._folder / ".lock", timeout=_LOCK_TIMEOUT_S):
                self._clean_up()
                old = self.read(lexicon)
                new = change(old)
                if new is None:
                    self._path(lexicon).unlink(missing_ok=True)
                    return
                if old is None and len(self.names()) >= MAX_LEXICONS:
                    raise UserError(
                        f"there are {MAX_LEXICONS:,} lexicons, which is the limit; delete one",
                        code="too_many_lexicons",
                        param="name",
                    )
                self._replace(lexicon, new)
        except Timeout as error:
            raise BusyError("the lexicons are being changed; try again", retry_after_s=1) from error

    def _replace(self, lexicon: str, content: bytes) -> None:
        draft = self._folder / f"{_NEW}{uuid.uuid4().hex}"
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path(lexicon))
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise

    def _clean_up(self) -> None:
        for name in os.listdir(self._folder):
            if name.startswith(_NEW):
                with suppress(OSError):
                    (self._folder / name).unlink()

    def _path(self, lexicon: str) -> Path:
        return self._folder / f"{lexicon}{_SUFFIX}"
