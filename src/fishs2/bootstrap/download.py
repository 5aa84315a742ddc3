"""One file from an address to the disk: resumed where it broke off, checked, whole or not there.

model.gguf.part        what has come so far
model.gguf.part.json   where it comes from, so that only the same file is continued
.model.gguf.lock       held while anybody downloads it; a second launcher waits
"""

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from fishs2 import __version__
from fishs2.bootstrap.progress import Progress
from fishs2.errors import DownloadError

if TYPE_CHECKING:
    import httpx2

_SPARE_BYTES = 200_000_000
"""Left free beside the file: logs, temporary files and the system need some."""

_MAX_RETRY_AFTER_S = 60.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file comes from. sha256: 64 hex digits in lower case; None is not checked."""

    url: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """num_tries: in a row that bring nothing. stall_s: silence that counts as broken off."""

    num_tries: int = 6
    stall_s: float = 30.0
    first_wait_s: float = 1.0


class _BrokenOffError(Exception):
    """The connection failed; what has come is kept. retry_after_s: what the server asked for."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


def download(
    source: Source,
    path: Path,
    progress: Progress,
    *,
    force: bool = False,
    patience: Patience | None = None,
) -> None:
    """Bring a file to `path`. Raises DownloadError.

    force: even if it is there. A file that is there stays until its successor is complete.
    """
    with only_one(path, progress):
        if not force and path.is_file() and has_sha256(path, source.sha256):
            return
        part = path.with_name(path.name + ".part")
        try:
            _fetch_patiently(source, part, progress, patience or Patience())
            if not has_sha256(part, source.sha256):
                _forget(part)
                raise DownloadError(
                    f"{path.name} does not have the SHA-256 {source.sha256}; the download was "
                    "removed. "
                    "Try again, or correct the expected value"
                )
            part.replace(path)
            _note_path(part).unlink(missing_ok=True)
        except OSError as error:
            raise DownloadError(f"{path.name} cannot be written: {error.strerror}") from error


def has_sha256(path: Path, sha256: str | None) -> bool:
    """Whether a file has this digest; None is any."""
    if sha256 is None:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def check_disk(folder: Path, num_bytes: int, what: str) -> None:
    """Raise DownloadError unless there is room for `num_bytes` and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes + _SPARE_BYTES:
        raise DownloadError(
            f"{what} needs {num_bytes / 1e9:.1f} GB on the disk of {folder}, where "
            f"{free / 1e9:.1f} GB are free; make room, or choose another folder or a smaller model"
        )


@contextmanager
def only_one(path: Path, progress: Progress) -> Iterator[None]:
    """Be the only one who downloads to `path`, in any process; waits for others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.say(f"another start is still installing {path.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fetch_patiently(source: Source, part: Path, progress: Progress, patience: Patience) -> None:
    """Fetch until the part is complete, as long as every few tries bring something."""
    # Imported here: it takes as long to load as the rest of most starts.
    import httpx2

    num_idle = 0
    timeout = httpx2.Timeout(patience.stall_s)
    headers = {"User-Agent": f"fishs2/{__version__}", "Accept-Encoding": "identity"}
    with httpx2.Client(
        timeout=timeout, headers=headers, follow_redirects=True, max_redirects=10
    ) as client:
        while True:
            before = _size(part)
            try:
                _fetch_once(client, source, part, progress)
                return
            except _BrokenOffError as error:
                num_idle = num_idle + 1 if _size(part) <= before else 1
                if num_idle >= patience.num_tries:
                    raise DownloadError(
                        f"{_shown(source.url)} broke off {num_idle} times: {error}. What has come "
                        "is kept; start again to go on"
                    ) from error
                wait_s = patience.first_wait_s * 2 ** (num_idle - 1) * random.uniform(0.8, 1.2)
                wait_s = max(wait_s, min(error.retry_after_s or 0.0, _MAX_RETRY_AFTER_S))
                progress.say(f"{error}; trying again in {wait_s:.0f} s")
                time.sleep(wait_s)


def _fetch_once(client: "httpx2.Client", source: Source, part: Path, progress: Progress) -> None:
    import httpx2

    offset, validator = _resumable(source, part)
    headers = {}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with client.stream("GET", source.url, headers=headers) as response:
            _check_status(response, source)
            total = _total(response)
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if total == offset:
                    return  # all of it came before
                _forget(part)
                raise _BrokenOffError("the file has changed on the server")
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                offset = 0
            elif _first_byte(response) != offset:
                _forget(part)
                raise _BrokenOffError("the server sent another part than it was asked for")
            check_disk(part.parent, (total or 0) - offset, part.stem)
            _write_note(source, part, response)
            _receive(response, part, progress, offset, total)
    except httpx2.TooManyRedirects as error:
        raise DownloadError(f"{_shown(source.url)} redirects in a circle") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise DownloadError(f"{_shown(source.url)} is no address that can be used") from error
    except httpx2.TransportError as error:
        raise _BrokenOffError(f"{type(error).__name__}: {error}".rstrip(": ")) from error


def _receive(
    response: "httpx2.Response", part: Path, progress: Progress, offset: int, total: int | None
) -> None:
    """Write the body behind `offset`. Raises _BrokenOffError if it is not all."""
    num_bytes = offset
    with part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        with progress.transfer(part.stem, total, offset) as advance:
            for chunk in response.iter_raw():
                file.write(chunk)
                num_bytes += len(chunk)
                advance(len(chunk))
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    if total is not None and num_bytes < total:
        raise _BrokenOffError(f"only {num_bytes:,} of {total:,} bytes came")
    if total is not None and num_bytes > total:
        _forget(part)
        raise DownloadError(f"{part.stem}: {num_bytes:,} bytes came instead of {total:,}")


def _check_status(response: "httpx2.Response", source: Source) -> None:
    status = response.status_code
    if source.url.startswith("https:") and response.url.scheme != "https":
        raise DownloadError(f"{_shown(source.url)} leads to an address without encryption")
    if status in _RETRIED:
        wait = response.headers.get("retry-after", "")
        raise _BrokenOffError(
            f"the server answered {status}", retry_after_s=float(wait) if wait.isdecimal() else None
        )
    if status not in (200, 206, 416):
        raise DownloadError(f"{_shown(source.url)} answered {status} {response.reason_phrase}")


def _resumable(source: Source, part: Path) -> tuple[int, str]:
    """How much of this very file is there, and what proves to the server that it is the same."""
    try:
        note = json.loads(_note_path(part).read_text(encoding="utf-8"))
        if note["url"] == source.url and note["validator"]:
            return _size(part), note["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _write_note(source: Source, part: Path, response: "httpx2.Response") -> None:
    etag = response.headers.get("etag", "")
    # A weak one does not promise the same bytes. Source: RFC 9110, 13.1.5.
    validator = "" if etag.startswith("W/") else etag
    note = {"url": source.url, "validator": validator or response.headers.get("last-modified", "")}
    _note_path(part).write_text(json.dumps(note), encoding="utf-8")


def _total(response: "httpx2.Response") -> int | None:
    """Size of the whole file, if the server says it."""
    if response.status_code != HTTPStatus.OK:
        total = response.headers.get("content-range", "").rpartition("/")[2]
    else:
        total = response.headers.get("content-length", "")
    return int(total) if total.isdecimal() else None


def _first_byte(response: "httpx2.Response") -> int | None:
    first = response.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdecimal() else None


def _forget(part: Path) -> None:
    for path in (part, _note_path(part)):
        with suppress(FileNotFoundError):
            path.unlink()


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _shown(url: str) -> str:
    """The address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
