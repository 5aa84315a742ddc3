"""Whose voice is asked for: one that the server has, or a recording that goes along.

Recordings are the sample voices that ship with this package.
"""

import base64
import json
import secrets
from dataclasses import dataclass

from fishs2.store.voices.store import SAMPLE_VOICES

STORED = ("sample_male", "sample_female")
"""Voices that every fishs2 server has from its first start."""

_WAV_HEADER_BYTES = 44
_NUM_MARKED = 64


@dataclass(frozen=True, slots=True)
class Voice:
    """fields: of the request's body. name: for the report."""

    name: str
    fields: dict[str, object]


def stored_voice(name: str) -> Voice:
    """A voice by the name that the server knows."""
    return Voice(name, {"voice": name})


def no_reference() -> Voice:
    """The engine's own voice."""
    return Voice("default", {"voice": "default"})


def new_voice(index: int) -> Voice:
    """A recording that no server has ever been sent, with its transcript.

    The lowest bits of 64 of its samples are drawn anew, whatever the seed of the benchmark is:
    inaudible, and otherwise a second benchmark of the same server would find its voices known.
    """
    name = STORED[index % len(STORED)]
    folder = SAMPLE_VOICES / name
    described = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    wav = (folder / described["files"][0]["filename"]).read_bytes()
    recording = _mark(wav, secrets.randbits(_NUM_MARKED))
    url = "data:audio/wav;base64," + base64.b64encode(recording).decode("ascii")
    return Voice(
        f"recording {index + 1}",
        {"reference_audio": url, "reference_text": described["prompt_text"]},
    )


def _mark(wav: bytes, bits: int) -> bytes:
    marked = bytearray(wav)
    for index in range(_NUM_MARKED):
        at = _WAV_HEADER_BYTES + 2 * index  # the low byte of a 16-bit sample
        marked[at] = (marked[at] & ~1) | (bits >> index & 1)
    return bytes(marked)
