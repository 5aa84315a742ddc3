"""Names of voices: when two are the same, and which folder and file names they get.

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
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}\Z", re.ASCII | re.IGNORECASE)

RESERVED_SUFFIXES = frozenset({".json", ".txt", ".lab"})
"""In a voice's folder these are metadata and transcripts, never samples."""


def fold_name(name: str) -> str:
    """What equal names share, and different ones do not: case and composition do not count.

    Source: Unicode, section 3.13, canonical caseless matching.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def propose_ids(name: str) -> tuple[str, ...]:
    """Return the ids that a new voice of this name may get, the best first; none for a blank one.

    They are safe as the name of a folder on every system: lower-case ASCII letters, digits, "_" and
    "-", at most `MAX_ID_CHARS`. Source: the original wrapper's rule. Where that would drop a letter
    or digit or be a name that people have (josé and jose), and for the last of them, a digest of
    the name follows, so that different names get different ids and equal ones the same.
    """
    if not name.strip():
        return ()
    plain = _slug(name)
    tail = f"-{_digest(fold_name(name))}"
    digested = (plain[: MAX_ID_CHARS - len(tail)].rstrip("-_") or "voice") + tail
    is_whole = plain and len(plain) <= MAX_ID_CHARS and not _drops_letters(name)
    if not is_whole or _is_other_name(plain, name):
        return (digested,)
    return (f"voice-{plain}" if _DEVICE.match(plain) else plain, digested)


def safe_file_name(name: str) -> str:
    """Return a plain file name for an uploaded sample called `name`, with a lower-case suffix."""
    stem, suffix = _split(name)
    suffix = suffix.lower()
    if suffix in RESERVED_SUFFIXES:
        suffix = ""
    return (next(iter(propose_ids(stem)), "sample")) + (suffix or ".wav")


def file_stem(name: str) -> str:
    """Return what an uploaded file is called, without folders and suffix."""
    return _split(name)[0].strip()


def _split(name: str) -> tuple[str, str]:
    base = re.split(r"[/\\]", name)[-1]
    found = _SUFFIX.search(base)
    return (base[: found.start()], base[found.start() :]) if found else (base, "")


def _slug(name: str) -> str:
    return _DASHES.sub("-", _NOT_IN_ID.sub("-", _to_ascii(name))).strip("-_")


def _to_ascii(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()


def _is_other_name(slug: str, name: str) -> bool:
    """Whether people would write the slug too, for somebody else.

    It then differs from the name by accents, white space around it or the like, and not by
    spaces or marks inside it. An id is found before a name: the other voice would be this one.
    """
    return _to_ascii(name).strip() == slug != fold_name(name)


def _drops_letters(name: str) -> bool:
    """Whether letters or digits are lost, not counting the accents that decompose from them."""
    return any(
        not char.isascii() and unicodedata.category(char)[0] in "LN"
        for char in unicodedata.normalize("NFKD", name)
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
