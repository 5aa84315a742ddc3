"""Voices that are to be stored, and changes of those that are. Touches no file: `voices` writes."""

import hashlib
import time
import uuid
from dataclasses import dataclass, replace

from fishs2.store.voice_files import Sample, Visibility, Voice
from fishs2.store.voice_ids import normalize_voice_id, safe_file_name


@dataclass(frozen=True, slots=True)
class NewSample:
    """An audio file to store; filename as the client gave it. transcript: None was not given."""

    filename: str
    content: bytes
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class Cover:
    """A picture to store. suffix: one of COVER_SUFFIXES, as the content is."""

    suffix: str
    content: bytes


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice to store. voice_id: as the client gave it; None takes the name or a file's.

    transcript: of the first sample, where the sample has none itself.
    """

    samples: tuple[NewSample, ...]
    voice_id: str | None = None
    name: str | None = None
    transcript: str | None = None
    model: str | None = None
    language: str | None = None
    mode: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    visibility: Visibility = "private"
    cover: Cover | None = None


@dataclass(frozen=True, slots=True)
class VoiceChanges:
    """What is to change of a stored voice; None leaves it as it is.

    transcripts: of its samples in their order, "" for none; those without one keep theirs.
    """

    name: str | None = None
    description: str | None = None
    visibility: Visibility | None = None
    tags: tuple[str, ...] | None = None
    transcripts: tuple[str, ...] | None = None
    cover: Cover | None = None


def compose(new: NewVoice, created: int) -> tuple[Voice, dict[str, bytes]]:
    """The voice that is to be stored, and the contents of its files."""
    given = new.voice_id or new.name or _stem(new.samples[0].filename)
    voice_id = normalize_voice_id(given) or f"voice-{int(time.time())}-{uuid.uuid4().hex[:6]}"
    files = _distinct_files(new.samples)
    first, *others = files.values()
    voice = Voice(
        voice_id=voice_id,
        name=new.name or new.voice_id or _stem(new.samples[0].filename) or voice_id,
        created=created,
        model=new.model,
        language=new.language,
        mode=new.mode,
        description=new.description,
        transcript=first.transcript or new.transcript,
        samples=tuple(Sample(name, len(sample.content)) for name, sample in files.items()),
        other_transcripts=tuple(sample.transcript or "" for sample in others),
        tags=new.tags,
        visibility=new.visibility,
    )
    return voice, {name: sample.content for name, sample in files.items()}


def apply_changes(voice: Voice, changes: VoiceChanges, cover: str | None) -> Voice:
    """The voice as it is to be. cover: name of its new picture, if it has one."""
    old = (voice.transcript or "", *voice.other_transcripts)
    first, *others = (changes.transcripts or ()) + old[len(changes.transcripts or ()) :]
    return replace(
        voice,
        name=voice.name if changes.name is None else changes.name,
        description=voice.description if changes.description is None else changes.description,
        visibility=changes.visibility or voice.visibility,
        tags=voice.tags if changes.tags is None else changes.tags,
        transcript=first or None,
        other_transcripts=tuple(others),
        cover=cover or voice.cover,
        updated=int(time.time()),
    )


def _distinct_files(samples: tuple[NewSample, ...]) -> dict[str, NewSample]:
    """Samples by file name in upload order; the same bytes sent twice are one file."""
    files: dict[str, NewSample] = {}
    digests: set[bytes] = set()
    for sample in samples:
        digest = hashlib.sha256(sample.content).digest()
        if digest in digests:
            continue
        digests.add(digest)
        name = safe_file_name(sample.filename)
        stem, _, suffix = name.rpartition(".")
        number = 2
        while name in files:
            name, number = f"{stem}-{number}.{suffix}", number + 1
        files[name] = sample
    return files


def _stem(filename: str) -> str:
    return safe_file_name(filename).rpartition(".")[0] if filename else ""
