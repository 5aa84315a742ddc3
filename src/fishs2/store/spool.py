"""Temporary files for one answer: in memory while it is small, then on the disk under no name.

The file has no name from the moment it is made, so a server that is killed leaves nothing.
"""

import io
import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from fishs2.store.failures import store_errors

MAX_MEMORY_BYTES = 32_000_000
"""What is longer goes to the disk: a WAV of six minutes."""

_WHAT = "temporary files (FISHS2_TEMP_DIR)"


class Spool:
    """A binary file that grows. Its owner closes it, also while a thread is still at work on it.

    Everything raises StoreFullError or StoreUnavailableError where the disk fails.
    """

    def __init__(self, folder: Path, *, max_memory_bytes: int = MAX_MEMORY_BYTES) -> None:
        """folder: made when it is needed."""
        self._folder = folder
        self._max_memory_bytes = max_memory_bytes
        self._file: IO[bytes] = io.BytesIO()
        self._num_bytes = 0
        self._is_on_disk = False
        # Who is cancelled leaves a thread behind, which writes once more.
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """How long it is."""
        return self._num_bytes

    @property
    def is_light(self) -> bool:
        """Whether the next write is no work for a disk, if it is not large."""
        return not self._is_on_disk and self._num_bytes < self._max_memory_bytes // 2

    def write(self, piece: bytes) -> int:
        with self._lock:
            if self._file.closed:
                # An encoder that is dropped late ends its file: nobody reads it any more.
                return len(piece)
            end = self._file.tell() + len(piece)
            if end <= self._max_memory_bytes and not self._is_on_disk:
                self._file.write(piece)
            else:
                self._write_to_disk(piece)
            self._num_bytes = max(self._num_bytes, end)
        return len(piece)

    def read(self, num_bytes: int = -1) -> bytes:
        with self._lock, store_errors(_WHAT):
            return self._file.read(num_bytes)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._lock, store_errors(_WHAT):
            return 0 if self._file.closed else self._file.seek(offset, whence)

    def tell(self) -> int:
        return 0 if self._file.closed else self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Free memory or disk. May be called twice; what is written later goes nowhere."""
        # What could not be written any more is nobody's: the file goes with its descriptor.
        with self._lock, suppress(OSError):
            self._file.close()

    def _write_to_disk(self, piece: bytes) -> None:
        with store_errors(_WHAT):
            if not self._is_on_disk:
                self._move_to_disk()
            self._file.write(piece)

    def _move_to_disk(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        there = self._file.tell()
        file = TemporaryFile(prefix="fishs2-", dir=self._folder)  # noqa: SIM115 - `close` does it
        try:
            self._file.seek(0)
            while piece := self._file.read(1 << 20):
                file.write(piece)
            file.flush()
            file.seek(there)
        except OSError:
            self._file.seek(there)
            file.close()
            raise
        self._file.close()
        self._file, self._is_on_disk = file, True
