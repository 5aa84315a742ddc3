"""Cached audio: files named after what they are, so that a request is answered from the disk.

    clips/
      secret               makes public names from content keys; readable by us only
      <name>.<format>      name: 64 hex digits, HMAC of the content key
      .draft-3f..          being written: removed an hour after its writer died
      .lock                whoever makes the secret holds it

A name cannot be guessed by whoever knows the text. The age of a file is its change of content; its
last use is its access time, which we set. Every function blocks; call them from threads. Several
processes may share the folder: whatever vanishes is a miss. Only a file that is complete and on the
disk gets its name, so that no crash leaves half of one under it.
"""

import hmac
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from fishs2.store.clip_index import ClipIndex, Entry
from fishs2.store.spool import Spool
from fishs2.store.voices.files import write_durably

FORMATS = ("mp3", "wav", "pcm", "opus", "aac", "flac")

_NAME = re.compile(r"([0-9a-f]{64})\.([a-z0-9]{2,5})")
_DRAFT = ".draft-"
_DRAFT_LIFE_S = 3600.0
_TOUCH_EVERY_S = 60.0
_LOCK_TIMEOUT_S = 10.0
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of cached audio.

    name: its public name with its suffix. created_s, expires_s: Unix time. etag: other audio under
    this name has another; the same request, made again later, need not give the same bytes.
    """

    name: str
    path: Path
    format: str
    size_bytes: int
    created_s: float
    expires_s: float
    etag: str


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A clip that can be read whatever becomes of its name. Whoever opened it closes `file`."""

    clip: Clip
    file: BinaryIO

    def read(self, start: int, num_bytes: int) -> bytes:
        """Return at most `num_bytes` from `start` on; fewer only at the end."""
        self.file.seek(start)
        return self.file.read(num_bytes)


class ClipStore:
    """The clips in one folder. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        *,
        life_s: float,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """folder: made by the first clip. max_bytes: of all clips but the newest.

        `sweep` it first, as only then it knows what the folder holds already.
        """
        self._folder = folder
        self._life_s = life_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._index = ClipIndex(folder, life_s=life_s, list_files=self._list_clips)
        self._secret: bytes | None = None

    def find(self, content_key: str, audio_format: str) -> Clip | None:
        """The clip with this content, if it is there and not too old."""
        return self.find_by_name(f"{self._public_name(content_key)}.{audio_format}")

    def find_by_name(self, name: str) -> Clip | None:
        """The clip of a public name, if it is there and not too old; any text may be asked for."""
        match = _NAME.fullmatch(name)
        if match is None or match[2] not in FORMATS:
            return None
        path = self._folder / name
        try:
            state = path.lstat()
        except OSError:
            return None
        clip = self._describe(path, match[2], state)
        now_s = self._clock()
        if now_s >= clip.expires_s:
            # Not removed here: by now a new clip may be in its place. `sweep` does it.
            return None
        # Also where the clock was set back since.
        if abs(now_s - state.st_atime) > _TOUCH_EVERY_S:
            with suppress(OSError):
                os.utime(path, ns=(int(now_s * 1e9), state.st_mtime_ns))
                self._index.note(name, Entry(state.st_size, state.st_mtime, now_s))
        return clip

    def open(self, name: str) -> OpenClip | None:
        """Like `find_by_name`, with the file open."""
        clip = self.find_by_name(name)
        if clip is None:
            return None
        try:
            file = clip.path.open("rb")
        except OSError:  # it has gone meanwhile
            return None
        # Another process may have put a new file there since.
        opened = self._describe(clip.path, clip.format, os.fstat(file.fileno()))
        return OpenClip(opened, file)

    def add(self, content_key: str, audio_format: str, content: bytes | Spool) -> Clip:
        """Keep a clip, and let go of the least recently used ones. Raises OSError.

        The newest clip is kept whatever its size: its address is about to be given out.
        """
        path = self._folder / f"{self._public_name(content_key)}.{audio_format}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._draft()
        try:
            write_durably(draft, content)
            now_s = self._clock()
            os.utime(draft, (now_s, now_s))
            clip = self._describe(path, audio_format, draft.lstat())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self._index.note(path.name, Entry(clip.size_bytes, clip.created_s, now_s))
        self._index.make_room(self._max_bytes, keep=path.name)
        return clip

    def sweep(self) -> None:
        """Remove what is too old, and what crashed writers left, and what is over the limit.

        The first one looks at the whole folder, later ones at a part of it. Raises OSError.
        """
        while not self._index.look() and not self._index.is_complete:
            pass
        self._index.remove_old(self._clock())
        self._index.make_room(self._max_bytes)

    def close(self) -> None:
        """Give back what `sweep` keeps open."""
        self._index.close()

    def _list_clips(self) -> Iterator[os.DirEntry[str]]:
        """The clips in the folder; old drafts are removed by the way."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as files:
            for file in files:
                if file.name.startswith(_DRAFT):
                    self._remove_old_draft(file)
                elif _NAME.fullmatch(file.name):
                    # And nothing else, the secret above all: without it every link is dead.
                    yield file

    def _remove_old_draft(self, file: os.DirEntry[str]) -> None:
        with suppress(OSError):
            made_s = file.stat(follow_symlinks=False).st_mtime
            if self._clock() >= made_s + _DRAFT_LIFE_S:
                os.unlink(file.path)

    def _describe(self, path: Path, audio_format: str, state: os.stat_result) -> Clip:
        return Clip(
            name=path.name,
            path=path,
            format=audio_format,
            size_bytes=state.st_size,
            created_s=state.st_mtime,
            expires_s=state.st_mtime + self._life_s,
            etag=f"{state.st_mtime_ns:x}-{state.st_size:x}",
        )

    def _public_name(self, content_key: str) -> str:
        if self._secret is None:
            self._secret = self._read_secret()
        return hmac.new(self._secret, content_key.encode(), "sha256").hexdigest()

    def _read_secret(self) -> bytes:
        """The folder's secret, made by whoever comes first. Raises OSError."""
        path = self._folder / "secret"
        # Without the lock first: a disk that is read-only has none to give.
        secret = _read_whole_secret(path)
        if secret is not None:
            return secret
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self._folder / ".lock", timeout=_LOCK_TIMEOUT_S):
            secret = _read_whole_secret(path)
            if secret is not None:
                return secret
            secret = secrets.token_bytes(_SECRET_BYTES)
            draft = self._draft()
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            write_durably(draft, secret)
            draft.replace(path)
        return secret

    def _draft(self) -> Path:
        return self._folder / f"{_DRAFT}{uuid.uuid4().hex}"


def _read_whole_secret(path: Path) -> bytes | None:
    """The secret, if it is there; a shorter one, of whatever crash, could be guessed."""
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return None
    return secret if len(secret) == _SECRET_BYTES else None
