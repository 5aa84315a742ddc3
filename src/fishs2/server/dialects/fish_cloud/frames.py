"""Frames of `/v1/tts/live`: MessagePack maps with an `event`. Source: Fish Audio API, tts live."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import ormsgpack

from fishs2.errors import UserError
from fishs2.server.edge import msgpack

MAX_AUDIO_BYTES = 60_000
"""Of one frame, so that with its keys it stays below 64 KiB, what clients read at once."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a client says. request: of `start`, not checked yet; text: of `text`."""

    kind: Literal["start", "text", "flush", "stop", "unknown"]
    text: str = ""
    request: object = None


def read_event(frame: bytes) -> Event:
    """Read a client's frame. Raises UserError `invalid_frame`; events nobody knows are no error."""
    try:
        given = msgpack.unpack(frame)
    except ValueError:
        raise _invalid("it is not MessagePack, or holds too many values") from None
    if not isinstance(given, dict) or not isinstance(given.get("event"), str):
        raise _invalid("it is not a map with an event")
    match given["event"]:
        case "start":
            return Event("start", request=given.get("request"))
        case "text":
            if not isinstance(given.get("text"), str):
                raise _invalid("its text is not a string")
            return Event("text", text=given["text"])
        case "flush":
            return Event("flush")
        case "stop":
            return Event("stop")
    return Event("unknown")


def audio_frames(audio: bytes, **more: object) -> Iterator[bytes]:
    """Yield audio as frames that are small enough; all of them have the same other keys."""
    for start in range(0, max(1, len(audio)), MAX_AUDIO_BYTES):
        piece = audio[start : start + MAX_AUDIO_BYTES]
        yield ormsgpack.packb({"event": "audio", "audio": piece, **more})


def stop_frame(**more: object) -> bytes:
    """Everything has been spoken."""
    return ormsgpack.packb({"event": "finish", "reason": "stop", **more})


def error_frame(message: str, **more: object) -> bytes:
    """It ends here, and why."""
    return ormsgpack.packb({"event": "finish", "reason": "error", "message": message, **more})


def _invalid(reason: str) -> UserError:
    return UserError(f"a frame cannot be read: {reason}", code="invalid_frame", param="event")
