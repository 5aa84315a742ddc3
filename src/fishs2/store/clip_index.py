"""What the folder of cached audio holds, without reading all of it: who is old, who is unused.

The folder is the truth, and several processes and people may change it. Each `sweep` looks at a
slice of it, and after some of them every file has been looked at; what has gone by then is
forgotten, and what others have put there is known. A file is looked at once more before it is
removed, as another process may have used it or made it anew.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from pathlib import Path

SLICE = 400
"""Files that one sweep looks at: 2 ms."""

_MIN_HEAP = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A clip's file. created_s, used_s: Unix time."""

    size_bytes: int
    created_s: float
    used_s: float


class ClipIndex:
    """The clips of one folder by use and age. Thread-safe; its callables must not use it."""

    def __init__(
        self, folder: Path, *, life_s: float, list_files: Callable[[], Iterator[os.DirEntry[str]]]
    ) -> None:
        """life_s: a clip that is older is removed. list_files: the clips in the folder."""
        self._folder = folder
        self._life_s = life_s
        self._list_files = list_files
        self._lock = threading.RLock()
        # Of the look at the folder that goes on: what it has seen, and what it has not yet.
        self._seen: dict[str, Entry] = {}
        self._unseen: dict[str, Entry] = {}
        self._listing: Iterator[os.DirEntry[str]] | None = None
        self._num_bytes = 0
        # Of every clip at least once, (time, name) with a time that is its own or was.
        self._by_use: list[tuple[float, str]] = []
        self._by_age: list[tuple[float, str]] = []
        self.is_complete = False
        """Whether every file of the folder has been looked at once."""

    @property
    def num_bytes(self) -> int:
        """Of all clips that are known."""
        return self._num_bytes

    def note(self, name: str, entry: Entry) -> None:
        """There is this clip, or it was used."""
        with self._lock:
            old = self._get(name)
            self._unseen.pop(name, None)
            self._seen[name] = entry
            self._num_bytes += entry.size_bytes - (old.size_bytes if old else 0)
            # Later uses are found when its turn comes; earlier are those of a clock set back.
            if old is None or entry.used_s < old.used_s:
                heappush(self._by_use, (entry.used_s, name))
            if old is None or old.created_s != entry.created_s:
                heappush(self._by_age, (entry.created_s, name))
            self._trim()

    def look(self, *, max_files: int = SLICE) -> bool:
        """Look at some more of the folder. Returns whether it has seen all, and begins anew then.

        Raises OSError.
        """
        with self._lock:
            listing, self._listing = self._listing or self._list_files(), None
            for _ in range(max_files):
                file = next(listing, None)
                if file is None:
                    self._end_look()
                    return True
                with suppress(OSError):
                    state = file.stat(follow_symlinks=False)
                    self.note(file.name, _entry(state))
            # Only now: a look that failed begins anew, and what it has not seen is still there.
            self._listing = listing
        return False

    def close(self) -> None:
        """Give back the folder."""
        with self._lock:
            self._listing = None

    def remove_old(self, now_s: float) -> None:
        """Remove the clips whose life is over."""
        with self._lock:
            while self._by_age and now_s >= self._by_age[0][0] + self._life_s:
                created_s, name = heappop(self._by_age)
                known = self._get(name)
                if known is None or known.created_s != created_s:
                    continue
                now = self._stat(name)
                if now is None or now.created_s == created_s:
                    self._remove(name)
                else:
                    self.note(name, now)

    def make_room(self, max_bytes: int, *, keep: str = "") -> None:
        """Remove the least recently used clips that are over the limit.

        keep: a clip that stays, and does not count.
        """
        with self._lock:
            kept = self._get(keep)
            limit = max_bytes + (kept.size_bytes if kept else 0)
            put_back = []
            while self._num_bytes > limit and self._by_use:
                used_s, name = heappop(self._by_use)
                known = self._get(name)
                if known is None:
                    continue
                if name == keep:
                    put_back.append((used_s, name))
                    continue
                now = self._stat(name)
                if now is not None and now.used_s > used_s:
                    # Used since, by us or by another process: its turn comes later.
                    heappush(self._by_use, (now.used_s, name))
                    self.note(name, now)
                else:
                    self._remove(name)
            for item in put_back:
                heappush(self._by_use, item)

    def _get(self, name: str) -> Entry | None:
        return self._seen.get(name) or self._unseen.get(name)

    def _stat(self, name: str) -> Entry | None:
        with suppress(OSError):
            return _entry((self._folder / name).lstat())
        return None

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            (self._folder / name).unlink()
        self._forget(name)

    def _forget(self, name: str) -> None:
        old = self._get(name)
        if old is not None:
            self._seen.pop(name, None)
            self._unseen.pop(name, None)
            self._num_bytes -= old.size_bytes

    def _end_look(self) -> None:
        for name in list(self._unseen):
            self._forget(name)
        self._seen, self._unseen = {}, self._seen
        self._listing = None
        self.is_complete = True

    def _trim(self) -> None:
        """Drop what is twice in a heap, or of clips that have gone, before it is most of it."""
        limit = max(_MIN_HEAP, 2 * (len(self._seen) + len(self._unseen)))
        clips = (*self._seen.items(), *self._unseen.items()) if self._is_over(limit) else ()
        if clips:
            self._by_use = [(entry.used_s, name) for name, entry in clips]
            self._by_age = [(entry.created_s, name) for name, entry in clips]
            heapify(self._by_use)
            heapify(self._by_age)

    def _is_over(self, limit: int) -> bool:
        return len(self._by_use) > limit or len(self._by_age) > limit


def _entry(state: os.stat_result) -> Entry:
    return Entry(state.st_size, state.st_mtime, state.st_atime)
