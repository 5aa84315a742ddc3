"""Unpacking an archive that somebody else made: nothing lands outside its folder."""

import shutil
import stat
import uuid
import zipfile
from pathlib import Path, PurePosixPath

from fishs2.errors import DownloadError

_MAX_ENTRIES = 10_000
_MAX_BYTES = 8_000_000_000
"""The largest bundle that is published unpacks to under 2 GB."""


def extract_zip(archive: Path, folder: Path, *, max_bytes: int = _MAX_BYTES) -> None:
    """Unpack into `folder`, over what is there of the same names. Raises DownloadError.

    Everything is unpacked beside it first: a bad archive changes nothing. max_bytes: unpacked.
    """
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = _checked(opened, max_bytes)
            for entry in entries:
                _extract(opened, entry, draft)
        for entry in entries:
            target = folder / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            (draft / entry.filename).replace(target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DownloadError(f"{archive.name} is no archive that can be unpacked") from error
    except OSError as error:
        raise DownloadError(f"{archive.name} cannot be unpacked: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _checked(opened: zipfile.ZipFile, max_bytes: int) -> list[zipfile.ZipInfo]:
    """The files in the archive, all of them safe. Raises DownloadError."""
    files = [entry for entry in opened.infolist() if not entry.filename.endswith("/")]
    if len(files) > _MAX_ENTRIES or sum(entry.file_size for entry in files) > max_bytes:
        raise _unsafe("it holds more than any bundle does")
    names = [entry.filename.casefold() for entry in files]
    if len(set(names)) != len(names):
        raise _unsafe("two entries have one name")
    for entry in files:
        path = PurePosixPath(entry.filename)
        if (
            path.is_absolute()
            or ".." in path.parts
            or any(sign in entry.filename for sign in "\\:\0")
            or not path.parts
        ):
            raise _unsafe("an entry leads out of the folder")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _unsafe("an entry is a link or a device")
    return files


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, draft: Path) -> None:
    target = draft / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    num_bytes = 0
    # zipfile checks the CRC, but gives as many bytes as the stream has, whatever was declared.
    with opened.open(entry) as packed, target.open("wb") as file:
        while chunk := packed.read(1 << 20):
            num_bytes += len(chunk)
            if num_bytes > entry.file_size:
                raise _unsafe("an entry is larger than it says")
            file.write(chunk)
    if (entry.external_attr >> 16) & 0o111:
        target.chmod(0o755)


def _unsafe(reason: str) -> DownloadError:
    return DownloadError(f"the archive was not unpacked: {reason}")
