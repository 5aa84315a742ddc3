"""What a child prints, line by line into the server's log: its own error text, a library's chatter.

Bounded in both directions, because nobody knows what a library prints.
"""

import asyncio
import logging

_MAX_LINE_CHARS = 300
_MAX_LINES = 300
"""Of one child and stream; a library that floods must not fill the disk."""


async def log_output(
    stream: asyncio.StreamReader, name: str, logger: logging.Logger, *, level: int
) -> None:
    """Read `stream` to its end; log its first lines, and how many there were."""
    num_lines = 0
    rest = b""
    while piece := await stream.read(65_536):
        *lines, rest = (rest + piece).split(b"\n")
        rest = rest[:_MAX_LINE_CHARS]  # a line without an end
        for line in filter(None, map(_clean, lines)):
            num_lines += 1
            if num_lines <= _MAX_LINES:
                logger.log(level, "the engine's process printed to %s: %s", name, line)
    last = _clean(rest)
    if last and num_lines < _MAX_LINES:
        logger.log(level, "the engine's process printed to %s: %s", name, last)
    elif num_lines > _MAX_LINES:
        logger.log(level, "it printed %d lines to %s, most of them not shown", num_lines, name)


def _clean(line: bytes) -> str:
    text = line[:_MAX_LINE_CHARS].decode(errors="replace").strip()
    return "".join(char if char.isprintable() else "?" for char in text)
