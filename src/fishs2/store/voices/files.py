"""The files of one stored voice: reading what anybody may have written, and writing ours."""

import codecs
import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from fishs2.store.spool import Spool
from fishs2.store.voices.ids import RESERVED_SUFFIXES

META = "meta.json"
MAX_META_BYTES = 1_000_000
MAX_TRANSCRIPT_BYTES = 100_000
MAX_SAMPLE_BYTES = 104_857_600
_COPY_BYTES = 1 << 20
_MAX_TIME_S = 253_402_300_799
"""The end of the year 9999, which clients can still write as a date."""

Visibility = Literal["public", "unlist", "private"]
"""Who is to find a voice, in Fish Audio's words. Kept for clients: here every key finds all."""

TranscriptSource = Literal["given", "heard"]
"""Where the transcript of a voice is from: somebody who knows it, or speech recognition."""

COVER_SUFFIXES = ("png", "jpg", "webp", "gif")

AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("wav", "wave", "w64", "rf64", "bwf", "aif", "aiff", "aifc", "caf", "au", "snd"),
        *("mp2", "mp3", "mpga", "flac", "ogg", "oga", "opus", "spx", "aac", "adts", "ac3", "eac3"),
        *("m4a", "m4b", "mp4", "mov", "3gp", "mka", "mkv", "webm", "weba", "amr", "wma"),
    )
)
"""What audio files are called. Only of files that nobody listed it is asked; content decides."""

_JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
"""What Windows leaves in folders. What macOS leaves is hidden."""

NO_UNICODE = "its name is not UTF-8, rename it"
"""Why nobody can be told of a file or folder."""

Tell = Callable[[str], None]
"""Takes what is skipped, in words for the log."""

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
    seconds; updated is None as long as nothing was. transcript: of the first sample; is_heard: it
    was recognised, and nobody has corrected it. samples: in upload order; the first is the
    reference. other_transcripts: of those after it, "" for none. cover: name of the file with its
    picture. consent: id of the one that it was stored with. is_flat: an audio file beside the
    folders of others. stamp: differs from that of any other state of this voice on disk.
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
    consent: str | None = None
    is_flat: bool = False
    is_heard: bool = False
    stamp: object = field(default=None, compare=False)

    @property
    def transcript_source(self) -> TranscriptSource | None:
        """Where the transcript is from; None where there is none."""
        return ("heard" if self.is_heard else "given") if self.transcript else None


def read_voice(folder: Path, tell: Tell) -> Voice | None:
    """Read a voice's folder; None if there is no voice in it.

    A folder with audio and no `meta.json` is a voice too. Raises OSError if it cannot be read
    at present, and ValueError if it can never be as it is.
    """
    stamp = stamp_of(folder)
    files = _plain_files(folder, tell)
    meta_path = folder / META
    if META not in files and not os.path.lexists(meta_path):
        audio = _audio_files(files, tell)
        if not audio:
            tell("it has no audio")
            return None
        return _describe(folder, audio, tell, stamp)
    try:
        meta = json.loads(read_plain_file(meta_path, MAX_META_BYTES))
    except RecursionError:
        raise ValueError("meta.json is too deep") from None
    if not isinstance(meta, dict):
        raise ValueError("meta.json is no object")
    return _describe_stored(folder, meta, _samples(meta, files, tell), stamp)


def _describe_stored(
    folder: Path, meta: dict[str, object], samples: tuple[Sample, ...], stamp: object
) -> Voice:
    texts, tags, cover = meta.get("texts"), meta.get("tags"), _text(meta, "cover")
    texts = texts if isinstance(texts, dict) else {}
    return Voice(
        voice_id=folder.name,
        name=_text(meta, "name") or _text(meta, "voice_id") or folder.name,
        created=_time(meta, "created") or int((folder / META).stat().st_mtime),
        model=_text(meta, "model"),
        language=_text(meta, "language"),
        mode=_text(meta, "mode"),
        description=_text(meta, "description"),
        transcript=_text(meta, "prompt_text"),
        samples=samples,
        other_transcripts=tuple(_text(texts, sample.filename) or "" for sample in samples[1:]),
        tags=tuple(to_unicode(tag) for tag in tags if isinstance(tag, str))
        if isinstance(tags, list)
        else (),
        visibility=to_visibility(meta.get("visibility")),
        updated=_time(meta, "updated"),
        cover=cover if cover and _COVER.match(cover) else None,
        consent=_text(meta, "consent"),
        is_heard=meta.get("transcript_source") == "heard",
        stamp=stamp,
    )


def read_flat_voice(file: Path, tell: Tell) -> Voice:
    """Read a voice that is an audio file with its transcript beside it. Raises OSError."""
    state = file.stat(follow_symlinks=False)
    return Voice(
        voice_id=file.stem,
        name=file.stem,
        created=int(state.st_mtime),
        model=None,
        language=None,
        mode=None,
        description=None,
        transcript=find_transcript(file, tell),
        samples=(Sample(file.name, state.st_size),),
        is_flat=True,
        stamp=stamp_of(file),
    )


def stamp_of(path: Path) -> object:
    """Something that changes when a voice's metadata does, or its folder or file is another one.

    Raises OSError.
    """
    own = os.stat(path, follow_symlinks=False)
    if not stat.S_ISDIR(own.st_mode):
        return (own.st_ino, own.st_mtime_ns, own.st_size)
    try:
        meta = os.stat(path / META, follow_symlinks=False)
    except FileNotFoundError:
        return (own.st_ino,)
    return (own.st_ino, meta.st_ino, meta.st_mtime_ns, meta.st_size)


def _time(meta: dict[str, Any], key: str) -> int | None:
    """Unix time in seconds, if the calendar has it."""
    value = meta.get(key)
    return value if type(value) is int and 0 < value <= _MAX_TIME_S else None


def to_visibility(value: object) -> Visibility:
    """The visibility that a value names, private for anything else."""
    return next((known for known in get_args(Visibility) if known == value), "private")


def _text(meta: dict[str, Any], key: str) -> str | None:
    value = meta.get(key)
    return to_unicode(value) if isinstance(value, str) else None


def to_unicode(text: str) -> str:
    """A text without lone surrogates, which cannot be sent to any client nor be logged."""
    return text.encode("utf-8", "replace").decode()


def is_unicode(name: str) -> bool:
    """Whether the name of a file has no byte that the system could not read."""
    return to_unicode(name) == name


def _samples(meta: dict[str, Any], files: dict[str, int], tell: Tell) -> tuple[Sample, ...]:
    """Those that `files` lists and that are there, in its order; all that are, if it lists none."""
    listed = meta.get("files")
    names = []
    for item in listed if isinstance(listed, list) else ():
        name = item.get("filename") if isinstance(item, dict) else None
        if isinstance(name, str) and is_sample(name) and name in files and name not in names:
            names.append(name)
    return tuple(Sample(name, files[name]) for name in names or sorted(_audio_files(files, tell)))


def is_sample(name: str) -> bool:
    """Whether a file of this name may be a sample of a voice, if somebody says so."""
    suffix = os.path.splitext(name)[1].lower()
    is_junk = name.startswith(".") or name.lower() in _JUNK
    return not is_junk and suffix not in RESERVED_SUFFIXES


def is_audio(name: str) -> bool:
    """Whether a file of this name is taken for audio when nobody says so."""
    suffix = os.path.splitext(name)[1].lower()
    return is_sample(name) and suffix in AUDIO_SUFFIXES


def _plain_files(folder: Path, tell: Tell) -> dict[str, int]:
    """Names and sizes of the regular files that clients can be told of; links are none."""
    files: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_unicode(entry.name):
                tell(f"{to_unicode(entry.name)}: {NO_UNICODE}")
            elif entry.is_file(follow_symlinks=False):
                files[entry.name] = entry.stat(follow_symlinks=False).st_size
    return files


def _audio_files(files: dict[str, int], tell: Tell) -> dict[str, int]:
    """Those that are samples, where nothing lists them."""
    audio = {name: size for name, size in files.items() if is_audio(name)}
    for name in sorted(files.keys() - audio.keys()):
        suffix = os.path.splitext(name)[1].lower()
        if not suffix and is_sample(name):
            audio[name] = files[name]
        elif suffix not in RESERVED_SUFFIXES and not name.startswith("."):
            tell(f"{name} is not an audio file")
    return audio


def _describe(folder: Path, files: dict[str, int], tell: Tell, stamp: object) -> Voice:
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
        transcript=find_transcript(folder / names[0], tell),
        samples=tuple(Sample(name, files[name]) for name in names),
        other_transcripts=tuple(find_transcript(folder / name, tell) or "" for name in names[1:]),
        stamp=stamp,
    )


def find_transcript(audio: Path, tell: Tell) -> str | None:
    """The transcript beside an audio file: the same name with `.txt` or `.lab`. Raises OSError."""
    for suffix in (".txt", ".lab"):
        path = audio.with_suffix(suffix)
        try:
            text = read_plain_file(path, MAX_TRANSCRIPT_BYTES).strip()
        except FileNotFoundError:
            continue
        except ValueError as error:
            tell(f"{path.name} is no transcript: {error}")
            continue
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            tell(f"{path.name} is no transcript: it is a link")
            continue
        if text:
            return text
    return None


def read_plain_file(path: Path, max_bytes: int) -> str:
    """Read text in UTF-8, or UTF-16 that says so, from a regular file, not through a link.

    Raises OSError; ValueError, with a reason for people, if it is something else.
    """
    content = read_bytes(path, max_bytes)
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is neither UTF-8 nor UTF-16") from None


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
        "consent": voice.consent,
        "transcript_source": "heard" if voice.is_heard and voice.transcript else "",
    }
    return {key: value for key, value in further.items() if value}


def write_durably(path: Path, content: bytes | Spool) -> None:
    """Write a file and wait until it is on the disk. Raises OSError, and what the spool raises."""
    with path.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content.seek(0)
            shutil.copyfileobj(content, file, _COPY_BYTES)
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
