"""JSON of strangers: its values are counted first, and large bodies are read beside the event loop.

A megabyte of it can hold a million values, whose parsing would hold up everybody for a second. Ten
megabytes of base64 are one value, and Python's reader lets nobody else work until it has them: long
strings are cut out first, and looked at in pieces, between which others get on.
"""

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import Callable
from typing import TypeVar

from fastapi import Request

MAX_VALUES = 100_000
"""Commas and brackets in all of a body."""

_LARGE_BYTES = 1_048_576
"""Reading so much takes 10 ms."""

_LONG_BYTES = 65_536
_PIECE_CHARS = 262_144
"""Looked at in 1 ms; a multiple of the four characters that make three bytes."""

_MAX_QUOTES = 4 * MAX_VALUES
_MAX_SLASHES = 64
_CONTROL = bytes(range(0x20))
_STARTS = (b"{", b"[", b" ", b"\n", b"\r", b"\t")

_T = TypeVar("_T")


class LargeJsonRequest(Request):
    """A request whose JSON is read beside the event loop where it is large."""

    async def json(self) -> object:
        """As Starlette has it. Raises JSONDecodeError, RecursionError."""
        return await read_aside(await self.body(), parse)


def count_values(part: bytes) -> int:
    """How many values at most a part of a body adds."""
    return part.count(b",") + part.count(b"[") + part.count(b"{")


async def read_aside(content: bytes, read: Callable[[bytes], _T]) -> _T:
    """`read(content)`, in a thread if it is large. Raises what `read` raises."""
    return await do_aside(lambda: read(content), size=len(content))


async def do_aside(work: Callable[[], _T], *, size: int) -> _T:
    """Do this, in a thread if `size` characters or bytes are large. Raises what it raises."""
    if size > _LARGE_BYTES:
        return await asyncio.to_thread(work)
    return work()


def parse(content: bytes) -> object:
    """What `json.loads` says of it. Raises JSONDecodeError, UnicodeDecodeError, RecursionError."""
    if len(content) <= _LARGE_BYTES or not content.startswith(_STARTS) or b"\0" in content[:4]:
        return json.loads(content)
    strings: dict[str, str] = {}
    given: object = json.loads(_cut_long_strings(content, strings))
    return _restore(given, strings) if strings else given


def decode_base64(encoded: str) -> bytes:
    """The bytes, in strict base64. Raises ValueError."""
    decoded: list[bytes] = []
    for start in range(0, len(encoded), _PIECE_CHARS):
        piece = encoded[start : start + _PIECE_CHARS]
        if "=" in piece and start + _PIECE_CHARS < len(encoded):
            raise binascii.Error("something follows the end")
        decoded.append(base64.b64decode(piece, validate=True))
    return b"".join(decoded)


def _cut_long_strings(content: bytes, strings: dict[str, str]) -> bytes:
    """JSON with short names for long strings, which come into `strings`."""
    mark = secrets.token_hex(16)
    kept: list[bytes] = []
    done = at = 0
    for _ in range(_MAX_QUOTES):
        start = content.find(b'"', at)
        end = _end_of_string(content, start)
        if start < 0 or end < 0:
            break
        at = end + 1
        text = _plain_text(content[start + 1 : end]) if end - start > _LONG_BYTES else None
        if text is not None:
            name = f"{mark}{len(strings)}"
            strings[name] = text
            kept += (content[done : start + 1], name.encode())
            done = end
    return b"".join((*kept, content[done:]))


def _end_of_string(content: bytes, start: int) -> int:
    """Where its closing quote is; -1 for none, or for one that is hard to find."""
    if start < 0:
        return -1
    end = content.find(b'"', start + 1)
    for _ in range(_MAX_QUOTES):
        if end < 0:
            break
        before = content[max(start + 1, end - _MAX_SLASHES) : end]
        num_slashes = len(before) - len(before.rstrip(b"\\"))
        if num_slashes == _MAX_SLASHES:
            return -1
        if num_slashes % 2 == 0:
            return end
        end = content.find(b'"', end + 1)
    return -1


def _plain_text(string: bytes) -> str | None:
    """A string that needs no reader: ASCII without escapes, but for slashes; None for others."""
    # PHP writes every slash of base64 so.
    plain = string.replace(b"\\/", b"/") if b"\\" in string else string
    if b"\\" in plain or not plain.isascii():
        return None
    for start in range(0, len(plain), _PIECE_CHARS):
        piece = plain[start : start + _PIECE_CHARS]
        if len(piece.translate(None, _CONTROL)) < len(piece):
            return None
    return plain.decode("ascii")


def _restore(given: object, strings: dict[str, str]) -> object:
    if isinstance(given, str):
        return strings.get(given, given)
    if isinstance(given, list):
        return [_restore(item, strings) for item in given]
    if isinstance(given, dict):
        return {strings.get(name, name): _restore(item, strings) for name, item in given.items()}
    return given
