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
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from fishs2.store.voices.files import write_durably

FORMATS = ("mp3", "wav", "pcm", "opus", "aac", "flac")

_NAME = re.compile(r"([0-9a-f]{64})\.([a-z0-9]{2,5})")
_DRAFT = ".draft-"
_DRAFT_LIFE_S = 3600.0
_TOUCH_EVERY_S = 60.0
_LOCK_TIMEOUT_S = 10.0
_SECRET_BYTES = 32
_ROOM = 0.95
"""What is left of a full store, so that not every clip that is added reads the whole folder: with
20,000 clips in it, that takes a quarter of a second."""


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
        self._lock = threading.Lock()
        self._secret: bytes | None = None
        self._num_bytes = 0
        """Of all clips: those of the last sweep, and what we have added since."""

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
        if now_s - state.st_atime > _TOUCH_EVERY_S:
            with suppress(OSError):
                os.utime(path, ns=(int(now_s * 1e9), state.st_mtime_ns))
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

    def add(self, content_key: str, audio_format: str, content: bytes) -> Clip:
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
        with self._lock:
            self._num_bytes += len(content)
            is_full = self._num_bytes > self._max_bytes
        if is_full:
            self.sweep(keep=path, max_bytes=int(_ROOM * self._max_bytes))
        return clip

    def sweep(self, *, keep: Path | None = None, max_bytes: int | None = None) -> None:
        """Remove what is too old, what crashed writers left, and what is over the limit.

        keep: a clip that stays, and does not count. max_bytes: None is the limit of the store.
        """
        limit = self._max_bytes if max_bytes is None else max_bytes
        now_s = self._clock()
        with self._lock:
            kept: list[tuple[float, int, Path]] = []
            for path, state in self._files():
                is_draft = path.name.startswith(_DRAFT)
                if not (is_draft or _NAME.fullmatch(path.name)):
                    continue  # the secret above all: without it every link is dead
                life_s = _DRAFT_LIFE_S if is_draft else self._life_s
                if now_s >= state.st_mtime + life_s:
                    _remove(path)
                elif not is_draft and path != keep:
                    kept.append((state.st_atime, state.st_size, path))
            kept.sort()
            num_bytes = sum(size for _, size, _ in kept)
            for _, size, path in kept:
                if num_bytes <= limit:
                    break
                _remove(path)
                num_bytes -= size
            self._num_bytes = num_bytes

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with suppress(OSError):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return

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
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / "secret"
        with FileLock(self._folder / ".lock", timeout=_LOCK_TIMEOUT_S):
            with suppress(FileNotFoundError):
                secret = path.read_bytes()
                # A shorter one, of whatever crash, could be guessed.
                if len(secret) == _SECRET_BYTES:
                    return secret
            secret = secrets.token_bytes(_SECRET_BYTES)
            draft = self._draft()
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            write_durably(draft, secret)
            draft.replace(path)
        return secret

    def _draft(self) -> Path:
        return self._folder / f"{_DRAFT}{uuid.uuid4().hex}"


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
