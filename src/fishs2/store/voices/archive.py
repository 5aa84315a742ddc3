"""A voice as one `.zip`, to carry it to another machine.

    voice.json    {"format": 1, "voice": {...}, "samples": [{filename, size, sha256}], "sha256"}
    0, 1, ...     the samples, in their order

The names inside are ours, so that no name from elsewhere ever becomes a path. `sha256` is over the
rest of `voice.json`. It shows damage and careless changes; it is no signature.
"""

import hashlib
import io
import json
import zipfile
from typing import Any

from fishs2.errors import UserError
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.files import Voice, to_visibility

MAX_ARCHIVE_BYTES = 200_000_000
_MAX_SAMPLE_BYTES = 104_857_600
_MAX_SAMPLES = 1_000
_MAX_INDEX_BYTES = 1_000_000
_FORMAT = 1
_INDEX = "voice.json"
_TEXTS = ("voice_id", "name", "model", "language", "mode", "description", "transcript")
_SAMPLE_KEYS = {"filename", "size", "sha256"}

# Fixed, so that one voice gives one archive. Source: the earliest date that zip can hold.
_TIME = (1980, 1, 1, 0, 0, 0)


def pack_voice(voice: Voice, contents: list[bytes]) -> bytes:
    """Return the archive of a voice; contents: of its samples, in order."""
    samples = [
        {
            "filename": sample.filename,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for sample, content in zip(voice.samples, contents, strict=True)
    ]
    index: dict[str, Any] = {
        "format": _FORMAT,
        "voice": {
            **{name: getattr(voice, name) for name in _TEXTS},
            "other_transcripts": list(voice.other_transcripts),
            "tags": list(voice.tags),
            "visibility": voice.visibility,
            "transcript_source": voice.transcript_source,
        },
        "samples": samples,
    }
    index["sha256"] = _digest(index)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        _write(archive, _INDEX, json.dumps(index, ensure_ascii=False, indent=2).encode())
        for number, content in enumerate(contents):
            _write(archive, str(number), content)
    return file.getvalue()


def unpack_voice(content: bytes) -> NewVoice:
    """Read an archive. Raises UserError `invalid_voice_archive` if anything in it was changed."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _unpack(archive)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise _invalid(
            "it is not an archive of a voice, which `fishs2 voices export` writes"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _invalid("its index is damaged") from error


def _unpack(archive: zipfile.ZipFile) -> NewVoice:
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()) or _INDEX not in entries:
        raise _invalid("an entry is missing or there twice")
    index = json.loads(_read(archive, entries[_INDEX], _MAX_INDEX_BYTES).decode())
    if not isinstance(index, dict) or index.pop("sha256", None) != _digest(index):
        raise _invalid("its index was changed")
    if index["format"] != _FORMAT:
        raise _invalid(f"its format is {index['format']}, this version reads {_FORMAT}")
    listed = index["samples"]
    if not 1 <= len(listed) <= _MAX_SAMPLES:
        raise _invalid(f"it has {len(listed)} samples; the limit is {_MAX_SAMPLES}")
    if set(entries) != {_INDEX, *(str(number) for number in range(len(listed)))}:
        raise _invalid("an entry is missing, or one is not listed")
    known = index["voice"]
    others = _text_list(known, "other_transcripts")
    samples = []
    for number, item in enumerate(listed):
        content = _read(archive, entries[str(number)], _MAX_SAMPLE_BYTES)
        if set(item) != _SAMPLE_KEYS or hashlib.sha256(content).hexdigest() != item["sha256"]:
            raise _invalid(f"sample {number + 1} was changed")
        transcript = others[number - 1] if 0 < number <= len(others) else None
        samples.append(NewSample(_text(item["filename"]) or "", content, transcript))
    return NewVoice(
        tuple(samples),
        voice_id=_text(known["voice_id"]),
        name=_text(known["name"]),
        transcript=_text(known["transcript"]),
        model=_text(known["model"]),
        language=_text(known["language"]),
        mode=_text(known["mode"]),
        description=_text(known["description"]),
        tags=_text_list(known, "tags"),
        visibility=to_visibility(known.get("visibility")),
        is_heard=known.get("transcript_source") == "heard",
    )


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if entry.file_size > max_bytes:
        raise _invalid(f"an entry is larger than {max_bytes:,} bytes")
    with archive.open(entry) as packed:
        # One byte more than was declared is enough to know, whatever the stream unpacks to.
        content = packed.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise _invalid("the size of an entry is not the one that is noted for it")
    return content


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_STORED)


def _digest(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("a text is something else")
    return value


def _text_list(known: dict[str, Any], key: str) -> tuple[str, ...]:
    """Texts that archives of earlier versions do not have."""
    return tuple(_text(item) or "" for item in known.get(key, ()))


def _invalid(reason: str) -> UserError:
    return UserError(f"the archive was refused: {reason}", code="invalid_voice_archive")
