"""How far ahead of its listener a speech is sent.

A client that reads gets speech as fast as it is made. One that does not is given what its player
needs to play without a gap, and no more: else the engine would work for nobody to hear it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Scope

_AHEAD_S = 5.0
"""Sound that a client may have been sent and not read; also ahead of real time, in case it reads
and nobody can tell."""

_FIRST_LOOK_S = 0.002
_LAST_LOOK_S = 1.0

_PROBE_BYTES = 512
"""What a client has read is told when it answers the next bytes, and not before: while it is held
back it is sent so few at each look that they last for less time than has passed."""

SendBit = Callable[[bytes], Awaitable[None]]


class Listener(Protocol):
    """Whoever takes what is sent: see `server.wire.readers.Reader`."""

    @property
    def num_unsent(self) -> int:
        """Bytes that have not arrived."""
        ...

    @property
    def num_unread(self) -> int:
        """Bytes that have arrived and were not read."""
        ...


@dataclass(slots=True)
class Pace:
    """Holds back one answer. reader: whoever takes it; None where nobody knows: no wait."""

    reader: Listener | None
    _num_bytes: int = 0
    _started_s: float | None = None
    # Where each piece ends that may not have been read, in bytes and in seconds of sound.
    _ends: deque[tuple[int, float]] = field(default_factory=deque)
    _read_bytes: int = 0
    _read_s: float = 0.0

    async def wait(self, piece: bytes, audio_s: float, send: SendBit) -> bytes:
        """Wait until a piece may be sent; returns what of it has not been sent by then.

        audio_s: sound up to its end, in seconds. send: sends a bit of it.
        """
        now_s = time.monotonic()
        self._started_s = self._started_s or now_s
        look_s = _FIRST_LOOK_S
        before_s = self._ends[-1][1] if self._ends else self._read_s
        while self._is_far_ahead(before_s):
            if len(piece) > 1 and self.reader and not self.reader.num_unsent:
                num_bytes = min(_PROBE_BYTES, len(piece) - 1)
                bit, piece = piece[:num_bytes], piece[num_bytes:]
                self._num_bytes += len(bit)
                await send(bit)
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, _LAST_LOOK_S)
        self._num_bytes += len(piece)
        self._ends.append((self._num_bytes, audio_s))
        return piece

    def _is_far_ahead(self, sent_s: float) -> bool:
        if self.reader is None or self._started_s is None:
            return False
        if sent_s <= time.monotonic() - self._started_s + _AHEAD_S:
            return False
        num_read = self._num_bytes - self.reader.num_unsent - self.reader.num_unread
        self._note_read(num_read)
        return sent_s - self._read_s > _AHEAD_S

    def _note_read(self, num_read: int) -> None:
        while self._ends and self._ends[0][0] <= num_read:
            self._read_bytes, self._read_s = self._ends.popleft()
        if self._ends and num_read > self._read_bytes:
            # It is in the middle of a piece.
            end, end_s = self._ends[0]
            share = (num_read - self._read_bytes) / (end - self._read_bytes)
            self._read_s += share * (end_s - self._read_s)
            self._read_bytes = num_read


def pace_of(scope: Scope) -> Pace:
    """For the answer to a request, or for all frames of a WebSocket."""
    return Pace(scope["state"].get("reader"))
