"""The files of one stored voice: reading what anybody may have written, and writing ours."""

import json
import logging
import os
import re
import secrets
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fishs2.store.voice_ids import RESERVED_SUFFIXES

logger = logging.getLogger(__name__)

META = "meta.json"
MAX_META_BYTES = 1_000_000
MAX_TRANSCRIPT_BYTES = 100_000
_MAX_TIME_S = 253_402_300_799
"""The end of the year 9999, which clients can still write as a date."""

Visibility = Literal["public", "unlist", "private"]
"""Who is to find a voice, in Fish Audio's words. Kept for clients: here every key finds all."""

COVER_SUFFIXES = ("png", "jpg", "webp", "gif")

# Hidden, so that no listing takes it for a sample. What another program wrote becomes no path.
_COVER = re.compile(rf"\.cover-[0-9a-f]{{8}}\.(?:{'|'.join(COVER_SUFFIXES)})\Z")


@dataclass(frozen=True, slots=True)
class Sample:
    """An audio file of a voice: a plain name in the voice's folder."""

    filename: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A stored voice.

    voice_id: the name of its folder. name: as it was uploaded. created, updated: Unix time in
    seconds; updated is None as long as nothing was. transcript: of the first sample. samples: in
    upload order; the first is the reference. other_transcripts: of the samples after it, "" where
    there is none. cover: name of the file with its picture.
    """

    voice_id: str
    name: str
    created: int
    model: str | None
    language: str | None
    mode: str | None
    description: str | None
    transcript: str | None
    samples: tuple[Sample, ...]
    other_transcripts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    visibility: Visibility = "private"
    updated: int | None = None
    cover: str | None = None


def read_voice(folder: Path) -> Voice | None:
    """Read a voice's folder; None, with a line in the log, if there is no voice in it.

    A folder with audio and no `meta.json` is a voice too.
    """
    try:
        return _read(folder)
    except FileNotFoundError:  # deleted or replaced at this moment
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        logger.warning("the voice folder %s cannot be read: %s", folder.name, reason)
        return None


def _read(folder: Path) -> Voice | None:
    files = _audio_files(folder)
    meta_path = folder / META
    if not os.path.lexists(meta_path):
        return _describe(folder, files) if files else None
    meta = json.loads(read_plain_file(meta_path, MAX_META_BYTES))
    if not isinstance(meta, dict):
        raise ValueError("meta.json is no object")
    samples = _samples(meta, files)
    texts, tags, cover = meta.get("texts"), meta.get("tags"), _text(meta, "cover")
    texts = texts if isinstance(texts, dict) else {}
    return Voice(
        voice_id=folder.name,
        name=_text(meta, "name") or _text(meta, "voice_id") or folder.name,
        created=_time(meta, "created") or int(meta_path.stat().st_mtime),
        model=_text(meta, "model"),
        language=_text(meta, "language"),
        mode=_text(meta, "mode"),
        description=_text(meta, "description"),
        transcript=_text(meta, "prompt_text"),
        samples=samples,
        other_transcripts=tuple(_text(texts, sample.filename) or "" for sample in samples[1:]),
        tags=tuple(_clean(tag) for tag in tags if isinstance(tag, str))
        if isinstance(tags, list)
        else (),
        visibility=to_visibility(meta.get("visibility")),
        updated=_time(meta, "updated"),
        cover=cover if cover and _COVER.match(cover) else None,
    )


def _time(meta: dict[str, Any], key: str) -> int | None:
    """Unix time in seconds, if the calendar has it."""
    value = meta.get(key)
    return value if type(value) is int and 0 < value <= _MAX_TIME_S else None


def to_visibility(value: object) -> Visibility:
    """The visibility that a value names, private for anything else."""
    return next((known for known in get_args(Visibility) if known == value), "private")


def _text(meta: dict[str, Any], key: str) -> str | None:
    value = meta.get(key)
    return _clean(value) if isinstance(value, str) else None


def _clean(text: str) -> str:
    # A lone surrogate cannot be sent to any client.
    return text.encode("utf-8", "replace").decode()


def _samples(meta: dict[str, Any], files: dict[str, int]) -> tuple[Sample, ...]:
    """Those that `files` lists and that are there, in its order; all that are, if it lists none."""
    listed = meta.get("files")
    names = []
    for item in listed if isinstance(listed, list) else ():
        name = item.get("filename") if isinstance(item, dict) else None
        if isinstance(name, str) and name in files and name not in names:
            names.append(name)
    return tuple(Sample(name, files[name]) for name in names or sorted(files))


def _audio_files(folder: Path) -> dict[str, int]:
    """Names and sizes of the regular files that may be audio; links are none."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.is_file(follow_symlinks=False)
            and not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() not in RESERVED_SUFFIXES
        }


def _describe(folder: Path, files: dict[str, int]) -> Voice:
    """The voice that a folder with audio only is."""
    names = sorted(files)
    oldest_s = min((folder / name).stat().st_mtime for name in names)
    return Voice(
        voice_id=folder.name,
        name=folder.name,
        created=int(oldest_s),
        model=None,
        language=None,
        mode=None,
        description=None,
        transcript=_sidecar(folder, names[0]),
        samples=tuple(Sample(name, files[name]) for name in names),
    )


def _sidecar(folder: Path, sample: str) -> str | None:
    """The transcript beside a sample: the same name with `.txt` or `.lab`."""
    for suffix in (".txt", ".lab"):
        try:
            text = read_plain_file(folder / sample, MAX_TRANSCRIPT_BYTES, suffix=suffix)
        except (OSError, ValueError):
            continue
        if text.strip():
            return text.strip()
    return None


def read_plain_file(path: Path, max_bytes: int, *, suffix: str | None = None) -> str:
    """Read UTF-8 text from a regular file, not through a link. Raises OSError, ValueError."""
    content = read_bytes(path if suffix is None else path.with_suffix(suffix), max_bytes)
    return content.decode("utf-8-sig")


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a regular file, not through a link. Raises OSError; ValueError if it is too large."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError("it is too large")
    return content


def write_meta(folder: Path, voice: Voice) -> None:
    """Write `meta.json`, whole or not at all. Raises OSError."""
    meta = {
        "voice_id": voice.voice_id,
        "name": voice.name,
        "created": voice.created,
        "model": voice.model,
        "language": voice.language,
        "mode": voice.mode,
        "description": voice.description,
        "prompt_text": voice.transcript,
        "files": [{"filename": s.filename, "size": s.size_bytes} for s in voice.samples],
        **_further(voice),
    }
    draft = folder / f".{META}.{os.getpid()}"
    write_durably(draft, json.dumps(meta, ensure_ascii=False, indent=2).encode())
    draft.replace(folder / META)


def _further(voice: Voice) -> dict[str, object]:
    """What the original wrapper does not know, where there is any; it ignores such keys."""
    texts = {
        sample.filename: text
        for sample, text in zip(voice.samples[1:], voice.other_transcripts, strict=False)
        if text
    }
    further: dict[str, object] = {
        "texts": texts,
        "tags": list(voice.tags),
        "visibility": "" if voice.visibility == "private" else voice.visibility,
        "updated": voice.updated,
        "cover": voice.cover,
    }
    return {key: value for key, value in further.items() if value}


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk. Raises OSError."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_cover(folder: Path, suffix: str, content: bytes) -> str:
    """Write a picture beside the samples; returns its name. Raises OSError.

    suffix: one of COVER_SUFFIXES.
    """
    name = f".cover-{secrets.token_hex(4)}.{suffix}"
    write_durably(folder / name, content)
    return name


def remove_cover(folder: Path, name: str | None) -> None:
    """Remove a picture, if there is one; one that cannot be removed does no harm."""
    if name is not None:
        with suppress(OSError):
            (folder / name).unlink()


def remove_tree(path: Path) -> None:
    """Remove a folder with what is in it, or a link; nothing is fine. Links are not followed."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
