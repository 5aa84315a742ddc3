"""Events of Wyoming as they come, within limits; the library's own reader takes any length.

A line of JSON, then `data_length` bytes of more JSON, then `payload_length` bytes. Source: protocol
description of Wyoming 1.10.
"""

import asyncio
import json
from typing import Any

from wyoming.event import Event

from fishs2.errors import UserError

MAX_PAYLOAD_BYTES = 1_048_576
"""Of audio, which nobody sends who wants speech: it is passed over."""

_PIECE_BYTES = 65_536


async def read_event(reader: asyncio.StreamReader, max_bytes: int) -> Event | None:
    """The next event, without its payload; None at the end. Raises UserError `invalid_event`.

    max_bytes: of its JSON; `reader` has the same limit for a line.
    """
    try:
        line = await reader.readuntil()
    except asyncio.LimitOverrunError:
        raise _too_large(max_bytes) from None
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise _broken("the connection ended within an event") from None
        return None
    head = _read_object(line)
    kind, data = head.get("type"), head.get("data")
    data = {} if data is None else data
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise _broken("an event needs a type, a string, and its data is an object")
    data_length = _length(head, "data_length", max_bytes)
    payload_length = _length(head, "payload_length", MAX_PAYLOAD_BYTES)
    try:
        if data_length:
            data = {**data, **_read_object(await reader.readexactly(data_length))}
        while payload_length:
            piece = await reader.readexactly(min(payload_length, _PIECE_BYTES))
            payload_length -= len(piece)
    except asyncio.IncompleteReadError:
        raise _broken("the connection ended within an event") from None
    return Event(kind, data)


def text_of(event: Event, name: str = "text") -> str:
    """A field of an event that is text; half a character becomes U+FFFD. Raises UserError."""
    value = event.data.get(name)
    if not isinstance(value, str):
        raise _broken(f"{event.type} needs {name}, a string", param=name)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    # Nested too deeply, or a number of thousands of digits.
    except (ValueError, RecursionError):
        raise _broken("an event is a line of JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise _broken("an event is a JSON object")
    return value


def _length(head: dict[str, Any], name: str, most: int) -> int:
    length = head.get(name) or 0
    if not isinstance(length, int) or length < 0:
        raise _broken(f"{name} is a number of bytes", param=name)
    if length > most:
        raise _too_large(most, name)
    return length


def _broken(why: str, param: str | None = None) -> UserError:
    return UserError(why, code="invalid_event", param=param)


def _too_large(most: int, name: str | None = None) -> UserError:
    return UserError(
        f"an event is too large: {name or 'its line'} may have {most:,} bytes",
        code="event_too_large",
        param=name,
    )
