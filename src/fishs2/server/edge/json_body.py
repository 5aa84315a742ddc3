"""JSON of strangers: its values are counted first, and large bodies are read beside the event loop.

A megabyte of it can hold a million values, whose parsing would hold up everybody for a second.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

MAX_VALUES = 100_000
"""Commas and brackets in all of a body."""

_LARGE_BYTES = 1_048_576
"""Reading so much takes 10 ms."""

_T = TypeVar("_T")


def count_values(part: bytes) -> int:
    """How many values at most a part of a body adds."""
    return part.count(b",") + part.count(b"[") + part.count(b"{")


async def read_aside(content: bytes, read: Callable[[bytes], _T]) -> _T:
    """`read(content)`, in a thread if it is large. Raises what `read` raises."""
    if len(content) > _LARGE_BYTES:
        return await asyncio.to_thread(read, content)
    return read(content)
