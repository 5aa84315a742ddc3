"""Recordings in which people allow their voices to be used: a folder each, complete or not there.

    consents/cons_18a7.../consent.json   name, language, created
                          recording      the file as it was uploaded
             .new-9f2c...                a writer is at work, or died
             .gone-18a7...               deleted a moment ago
             .lock                       held by who writes

Ids are made here, and a client's text becomes a part of a path only if it is spelled like one.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from fishs2.errors import BusyError, UserError
from fishs2.store.voices.files import read_plain_file, write_durably
from fishs2.store.voices.swap import remove_tree

MAX_CONSENTS = 1_000

_LOCK_TIMEOUT_S = 5.0
_ID = re.compile(r"cons_[0-9a-f]{24}\Z")
_META = "consent.json"
_RECORDING = "recording"
_MAX_META_BYTES = 65_536
_NEW, _GONE = ".new-", ".gone-"


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent. created: Unix time in seconds. language: a BCP 47 tag."""

    consent_id: str
    name: str
    language: str
    created: int


class ConsentStore:
    """The consents in one folder. Blocks; every method may raise OSError."""

    def __init__(self, folder: Path, *, patience_s: float = _LOCK_TIMEOUT_S) -> None:
        """patience_s: how long one writer waits for another."""
        self._folder = folder
        self._patience_s = patience_s

    def ids(self) -> list[str]:
        """Ids of all consents, the newest first."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(filter(_ID.match, names), reverse=True)

    def find(self, consent_id: str) -> Consent | None:
        """The consent of this id; None if there is none, or its file is not as we write it."""
        if not _ID.match(consent_id):
            return None
        path = self._folder / consent_id
        try:
            if path.is_symlink():
                return None
            meta = json.loads(read_plain_file(path / _META, _MAX_META_BYTES))
            return Consent(
                consent_id, str(meta["name"]), str(meta["language"]), int(meta["created"])
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def add(self, name: str, language: str, recording: bytes) -> Consent:
        """Store a consent. Raises BusyError, UserError `too_many_consents`."""
        # The newest first is then the order of their names.
        consent_id = f"cons_{time.time_ns():016x}{secrets.token_hex(4)}"
        consent = Consent(consent_id, name, language, int(time.time()))
        with self._exclusive():
            if len(self.ids()) >= MAX_CONSENTS:
                raise UserError(
                    f"there are {MAX_CONSENTS:,} consents, which is the limit; delete one",
                    code="too_many_consents",
                )
            draft = self._folder / f"{_NEW}{secrets.token_hex(8)}"
            try:
                draft.mkdir()
                write_durably(draft / _RECORDING, recording)
                _write_meta(draft, consent)
                draft.rename(self._folder / consent_id)
            finally:
                remove_tree(draft)
        return consent

    def rename(self, consent_id: str, name: str) -> Consent | None:
        """Give a consent another name; None if there is none. Raises BusyError."""
        with self._exclusive():
            consent = self.find(consent_id)
            if consent is None:
                return None
            renamed = replace(consent, name=name)
            _write_meta(self._folder / consent_id, renamed)
        return renamed

    def remove(self, consent_id: str) -> bool:
        """Delete a consent; whether there was one. Raises BusyError."""
        with self._exclusive():
            if self.find(consent_id) is None:
                return False
            gone = self._folder / f"{_GONE}{secrets.token_hex(8)}"
            (self._folder / consent_id).rename(gone)
            remove_tree(gone)
        return True

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self._folder / ".lock", timeout=self._patience_s):
                for name in os.listdir(self._folder):
                    if name.startswith((_NEW, _GONE)):
                        with suppress(OSError):
                            remove_tree(self._folder / name)
                yield
        except Timeout as error:
            raise BusyError("the consents are being changed; try again", retry_after_s=1) from error


def _write_meta(folder: Path, consent: Consent) -> None:
    meta = {"name": consent.name, "language": consent.language, "created": consent.created}
    draft = folder / f".{_META}"
    write_durably(draft, json.dumps(meta, ensure_ascii=False).encode())
    draft.replace(folder / _META)
