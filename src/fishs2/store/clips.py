"""Cached audio: files named after what they are, so that a request is answered from the disk.

    clips/
      secret               makes public names from content keys; readable by us only
      <name>.<format>      name: 64 hex digits, HMAC of the content key

A name cannot be guessed by whoever knows the text. The age of a file is its change of content; its
last use is its access time, which we set. Every function blocks; call them from threads. Several
processes may share the folder: whatever vanishes is a miss.
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

FORMATS = ("mp3", "wav", "pcm", "opus", "aac", "flac")

_NAME = re.compile(r"([0-9a-f]{64})\.([a-z0-9]{2,5})")
_DRAFT = ".draft-"
_DRAFT_LIFE_S = 3600.0
_TOUCH_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of cached audio. name: its public name with its suffix. expires_s: Unix time."""

    name: str
    path: Path
    format: str
    size_bytes: int
    created_s: float
    expires_s: float


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
        """folder: made by the first clip. max_bytes: of all clips but the newest."""
        self._folder = folder
        self._life_s = life_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
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
            with suppress(OSError):
                path.unlink()
            return None
        if now_s - state.st_atime > _TOUCH_EVERY_S:
            with suppress(OSError):
                os.utime(path, (now_s, state.st_mtime))
        return clip

    def add(self, content_key: str, audio_format: str, content: bytes) -> Clip:
        """Keep a clip, and let go of the least recently used ones. Raises OSError.

        The newest clip is kept whatever its size: its address is about to be given out.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._public_name(content_key)}.{audio_format}"
        draft = self._folder / f"{_DRAFT}{uuid.uuid4().hex}"
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            now_s = self._clock()
            os.utime(draft, (now_s, now_s))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self.sweep(keep=path)
        return self._describe(path, audio_format, path.lstat())

    def sweep(self, keep: Path | None = None) -> None:
        """Remove what is too old, what crashed writers left, and what is over the limit."""
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
                if num_bytes <= self._max_bytes:
                    break
                _remove(path)
                num_bytes -= size

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
        )

    def _public_name(self, content_key: str) -> str:
        if self._secret is None:
            self._secret = self._read_secret()
        return hmac.new(self._secret, content_key.encode(), "sha256").hexdigest()

    def _read_secret(self) -> bytes:
        """The folder's secret, made by whoever comes first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "secret"
        draft = self._folder / f"{_DRAFT}{uuid.uuid4().hex}"
        if not path.exists():
            descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
