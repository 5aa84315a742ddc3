"""Names that are safe as folder and file names, made of whatever a client sends.

Nothing here proves that a name exists: `voices` looks names up among the folder's own entries and
never joins a client's text to a path.
"""

import hashlib
import re
import unicodedata

MAX_ID_CHARS = 80
_DIGEST_CHARS = 12

_NOT_IN_ID = re.compile(r"[^a-z0-9_-]+")
_DASHES = re.compile(r"-{2,}")
# Windows opens a device under these names, with any suffix. Source: Win32 "Naming Files".
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)\Z")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}\Z")

RESERVED_SUFFIXES = frozenset({".json", ".txt", ".lab"})
"""In a voice's folder these are metadata and transcripts, never samples."""


def normalize_voice_id(name: str) -> str:
    """Return the id that `name` stands for; "" if nothing of it can be used.

    Lower-case ASCII letters, digits, "_" and "-", at most `MAX_ID_CHARS`: what is longer ends with
    a digest of the whole, so that no two of them become one. Idempotent. Source: the original
    wrapper's rule, and `voice-` before the names of Windows' devices.
    """
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    dashed = _DASHES.sub("-", _NOT_IN_ID.sub("-", ascii_name.lower()))
    voice_id = dashed.strip("-_")
    if len(voice_id) > MAX_ID_CHARS:
        digest = hashlib.sha256(voice_id.encode()).hexdigest()[:_DIGEST_CHARS]
        voice_id = f"{voice_id[: MAX_ID_CHARS - _DIGEST_CHARS - 1].rstrip('-_')}-{digest}"
    return f"voice-{voice_id}" if _DEVICE.match(voice_id) else voice_id


def safe_file_name(name: str) -> str:
    """Return a plain file name for an uploaded sample called `name`, with a lower-case suffix."""
    base = re.split(r"[/\\]", name)[-1]
    suffix_match = _SUFFIX.search(base.lower())
    suffix = suffix_match.group() if suffix_match else ""
    stem = base[: len(base) - len(suffix)] if suffix else base
    if suffix in RESERVED_SUFFIXES:
        suffix = ""
    return (normalize_voice_id(stem) or "sample") + (suffix or ".wav")
