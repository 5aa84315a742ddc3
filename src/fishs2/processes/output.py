"""What a process prints, line by line into the server's log: its own errors, a library's chatter.

Bounded in both directions, because nobody knows what a library prints.
"""

import logging

_MAX_LINE_CHARS = 300
_MAX_LINES = 300
"""Of one child and stream; a library that floods must not fill the disk."""

_MAX_LAST_LINES, _MAX_LAST_BYTES = 40, 8_192
"""Of one that has printed more: its last words say why it ended."""


class OutputLog:
    """Logs the first lines of one stream, how many there were, and the last ones.

    owner: whose process it is, as in `Program`. name: of the stream.
    """

    def __init__(self, owner: str, name: str, logger: logging.Logger, *, level: int) -> None:
        self._owner, self._name = owner, name
        self._logger = logger
        self._level = level
        self._num_lines = 0
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Take what has come. Costs next to nothing once there is too much."""
        if self._num_lines < _MAX_LINES:
            *lines, piece = (self._rest + piece).split(b"\n", _MAX_LINES - self._num_lines)
            self._rest = b""
            self._num_lines += len(lines)
            self._log(lines)
        if self._num_lines < _MAX_LINES:
            self._rest = piece[:_MAX_LINE_CHARS]  # a line without an end
        else:
            self._num_lines += piece.count(b"\n")
            self._rest = (self._rest + piece)[-_MAX_LAST_BYTES:]

    def end(self) -> None:
        """Log what is left at the end of the stream."""
        lines = self._rest.split(b"\n")
        if self._num_lines > _MAX_LINES:
            self._logger.log(
                self._level,
                "it printed %d lines to %s, most of them not shown; the last are:",
                self._num_lines,
                self._name,
            )
        self._log(lines[-_MAX_LAST_LINES:])

    def _log(self, lines: list[bytes]) -> None:
        for line in filter(None, map(_clean, lines)):
            self._logger.log(
                self._level, "%s's process printed to %s: %s", self._owner, self._name, line
            )


def _clean(line: bytes) -> str:
    text = line[:_MAX_LINE_CHARS].decode(errors="replace").strip()
    return "".join(char if char.isprintable() else "?" for char in text)
