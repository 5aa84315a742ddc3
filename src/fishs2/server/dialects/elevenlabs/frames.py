"""Frames of ElevenLabs' WebSockets: JSON in text. Source: its API reference; contract 4.1."""

import base64
import json
from collections.abc import Iterator

from fastapi.exceptions import RequestValidationError
from starlette.types import Message

from fishs2.errors import UserError
from fishs2.server.dialects.elevenlabs.alignment import FrameAlignment
from fishs2.server.dialects.elevenlabs.body import Frame
from fishs2.server.edge.bodies import validate
from fishs2.server.edge.errors import describe_fields
from fishs2.server.edge.json_body import count_values
from fishs2.server.edge.streaming import packed_json

MAX_FRAME_BYTES = 262_144
"""Of one that a client sends: some pages of text."""

_MAX_VALUES = 1_000
_MAX_AUDIO_BYTES = 45_000
"""Of one frame, so that in base64 it stays below 64 KiB, what clients read at once; divisible by
two and by three, so that every frame has whole samples and can be decoded by itself."""


def read_frame(message: Message) -> Frame:
    """Read a client's frame. Raises UserError `invalid_frame`, `frame_too_large`."""
    text: str | None = message.get("text")
    content = message.get("bytes") or b"" if text is None else text.encode("utf-8", "replace")
    if len(content) > MAX_FRAME_BYTES:
        raise UserError(
            f"a frame has {len(content):,} bytes; the limit is {MAX_FRAME_BYTES:,}",
            code="frame_too_large",
        )
    if count_values(content) > _MAX_VALUES + len(content) // 4:
        raise _invalid("it holds too many values")
    try:
        given = json.loads(content)
    except (ValueError, RecursionError):
        raise _invalid("it is not JSON") from None
    if not isinstance(given, dict):
        raise _invalid("it is not an object")
    try:
        return validate(given, Frame)
    except RequestValidationError as error:
        raise _invalid(describe_fields(error)) from None


class WholeSamples:
    """Keeps samples of two bytes in one frame: a slow reader's audio is cut where it likes."""

    def __init__(self, format_name: str) -> None:
        self._sample_bytes = 2 if format_name in ("pcm", "wav") else 1
        self._rest = b""

    def take(self, piece: bytes) -> bytes:
        """What can be sent of all that came; sound ends with a sample, so nothing stays here."""
        piece = self._rest + piece
        num_whole = len(piece) // self._sample_bytes * self._sample_bytes
        self._rest = piece[num_whole:]
        return piece[:num_whole]


def audio_frames(audio: bytes, context_id: str | None) -> Iterator[str]:
    """Yield audio as frames that are small enough. context_id: None where there is only one."""
    for start in range(0, len(audio), _MAX_AUDIO_BYTES):
        encoded = base64.b64encode(audio[start : start + _MAX_AUDIO_BYTES]).decode("ascii")
        yield _packed({"audio": encoded}, context_id)


def alignment_frame(alignment: FrameAlignment, context_id: str | None) -> str:
    """When some characters sound."""
    told = {"alignment": alignment, "normalizedAlignment": alignment}
    return _packed({**told}, context_id)


def final_frame(context_id: str | None) -> str:
    """Nothing more comes of a context."""
    return _packed({"isFinal": True}, context_id)


def _packed(content: dict[str, object], context_id: str | None) -> str:
    if context_id is not None:
        content["contextId"] = context_id
    return packed_json(content).decode()


def _invalid(reason: str) -> UserError:
    return UserError(
        f'a frame cannot be read: {reason}; send JSON such as {{"text": "Hello. "}}',
        code="invalid_frame",
    )
