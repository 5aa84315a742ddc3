"""Voices that are to be stored, and changes of those that are. Touches no file: `store` writes."""

import hashlib
import time
from dataclasses import dataclass, replace

from fishs2.store.voices.files import Sample, Visibility, Voice
from fishs2.store.voices.ids import file_stem, safe_file_name


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

    transcript: of the first sample, where the sample has none itself; is_heard: it was recognised.
    consent: id of the consent that goes with it.
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
    is_heard: bool = False
    consent: str | None = None

    @property
    def given_id(self) -> str:
        """What the voice is to be found under; "" if nothing says it."""
        given = (self.voice_id, self.name, file_stem(self.samples[0].filename))
        return next((text for text in given if text and text.strip()), "")

    @property
    def given_name(self) -> str:
        """How the client calls the voice; "" if it does not say."""
        return self.name if self.name and self.name.strip() else ""


@dataclass(frozen=True, slots=True)
class VoiceChanges:
    """What is to change of a stored voice; None leaves it as it is.

    transcripts: of its samples in their order, "" for none; those without one keep theirs.
    is_heard: the first of them was recognised.
    """

    name: str | None = None
    description: str | None = None
    visibility: Visibility | None = None
    tags: tuple[str, ...] | None = None
    transcripts: tuple[str, ...] | None = None
    cover: Cover | None = None
    is_heard: bool = False


def compose(
    new: NewVoice, voice_id: str, name: str, created: int
) -> tuple[Voice, dict[str, bytes]]:
    """The voice that is to be stored under an id, and the contents of its files."""
    files = _distinct_files(new.samples)
    first, *others = files.values()
    voice = Voice(
        voice_id=voice_id,
        name=name,
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
        consent=new.consent,
        is_heard=new.is_heard,
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
        is_heard=changes.is_heard if changes.transcripts else voice.is_heard,
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
