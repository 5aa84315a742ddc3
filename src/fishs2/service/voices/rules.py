"""What may be said of a stored voice: the length and characters of its texts; its picture."""

import unicodedata
from collections.abc import Sequence

from fishs2.errors import UserError
from fishs2.store.voices.changes import Cover, NewVoice, VoiceChanges

MAX_TRANSCRIPT_CHARS = 4_096
MAX_ALL_TRANSCRIPTS_CHARS = 65_536
"""Of all samples together: the store reads metadata of at most a megabyte."""

MAX_SAMPLES = 16
"""Audio files of one voice, of which the first is the reference and the rest only kept."""

MAX_NAME_CHARS = 255
"""As many as fish-speech allows in the id of a reference."""

MAX_TAGS = 32
MAX_TAG_CHARS = 64
MAX_COVER_BYTES = 4_194_304

_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
)
"""Where which bytes stand in a picture. Sources: PNG, JFIF, GIF and RIFF/WebP specifications."""


def check_new(new: NewVoice) -> None:
    """Raise UserError `missing_files` or `invalid_voice` for what is refused."""
    if not new.samples:
        raise UserError(
            "no audio was uploaded: send it in a form part named files, audio_sample or file",
            code="missing_files",
            param="files",
        )
    # One more: Pandrator sends its first file twice.
    if len(new.samples) > MAX_SAMPLES + 1:
        raise _refused("files", f"{len(new.samples)} files; the limit is {MAX_SAMPLES}")
    _check_text("voice_id", new.voice_id, MAX_NAME_CHARS)
    _check_text("name", new.name, MAX_NAME_CHARS)
    _check_text("model", new.model, MAX_NAME_CHARS)
    _check_text("language", new.language, MAX_NAME_CHARS)
    _check_text("mode", new.mode, MAX_NAME_CHARS)
    _check_text("description", new.description, MAX_TRANSCRIPT_CHARS)
    _check_tags(new.tags)
    _check_text("prompt_text", new.transcript, MAX_TRANSCRIPT_CHARS)
    _check_transcripts([sample.transcript or "" for sample in new.samples])


def check_changes(changes: VoiceChanges, *, num_samples: int) -> None:
    """Raise UserError `invalid_voice` for what is refused."""
    _check_text("name", changes.name, MAX_NAME_CHARS)
    _check_text("description", changes.description, MAX_TRANSCRIPT_CHARS)
    _check_tags(changes.tags or ())
    texts = changes.transcripts or ()
    if len(texts) > num_samples:
        raise _refused("texts", f"{len(texts)} entries; the voice has {num_samples} audio files")
    _check_transcripts(texts)


def check_id(voice_id: str) -> None:
    """Raise UserError `invalid_voice` unless it may be the name of a voice."""
    _check_text("voice_id", voice_id, MAX_NAME_CHARS)


def to_cover(content: bytes) -> Cover:
    """A picture that was sent, by what it is. Raises UserError `invalid_cover`."""
    if len(content) > MAX_COVER_BYTES:
        raise UserError(
            f"the cover image has {len(content):,} bytes; the limit is {MAX_COVER_BYTES:,}",
            code="invalid_cover",
            param="cover_image",
        )
    for start, signature, suffix in _SIGNATURES:
        if content[start : start + len(signature)] == signature:
            return Cover(suffix, content)
    raise UserError(
        "the cover image has a format that is not known: send PNG, JPEG, WebP or GIF",
        code="invalid_cover",
        param="cover_image",
    )


def one_line(field: str, text: str) -> str:
    """A title or tag as it is kept, without white space around it and in runs.

    Raises UserError `invalid_voice` for other control characters.
    """
    line = " ".join(text.split())
    if any(unicodedata.category(character) == "Cc" for character in line):
        raise _refused(field, "a control character")
    return line


def _check_transcripts(texts: Sequence[str]) -> None:
    for text in texts:
        _check_text("texts", text, MAX_TRANSCRIPT_CHARS)
    num_chars = sum(map(len, texts))
    if num_chars > MAX_ALL_TRANSCRIPTS_CHARS:
        limit = f"the limit is {MAX_ALL_TRANSCRIPTS_CHARS:,}"
        raise _refused("texts", f"{num_chars:,} characters in all; {limit}")


def _check_tags(tags: Sequence[str]) -> None:
    if len(tags) > MAX_TAGS:
        raise _refused("tags", f"{len(tags)} entries; the limit is {MAX_TAGS}")
    for tag in tags:
        _check_text("tags", tag, MAX_TAG_CHARS)


def _check_text(field: str, text: str | None, max_chars: int) -> None:
    if text is None:
        return
    if len(text) > max_chars:
        raise _refused(field, f"{len(text):,} characters; the limit is {max_chars:,}")
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise _refused(field, "a character that is no text")


def _refused(field: str, what: str) -> UserError:
    return UserError(f"{field} has {what}", code="invalid_voice", param=field)
