"""How far ahead of its listener a speech is sent.

A client that reads gets speech as fast as it is made. One that does not is given what its player
needs to play without a gap, and little more: else the engine would work for nobody to hear it.

Of a client on this machine the system tells what it has not read. Of others it tells how much room
they have: at low bit rates that is what their systems keep, as room that rounds to the same is
taken for reading.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope

from fishs2.errors import StalledReaderError

_AHEAD_S = 5.0
"""Sound that a client is sent without a look at whether it reads; also ahead of real time, in case
it reads and nobody can tell."""

_AHEAD_BYTES = 131_072
"""The same in bytes, where they are known."""

_BIT_BYTES = 65_536
"""Sent without a look."""

_LOOKS_S = (0.002, 0.004, 0.03, 0.2, 1.0)
"""Between two looks at what has been read, seconds; the last one holds for the rest."""

_ARRIVAL_S = (0.002, 0.005, 0.02, 0.02, 0.02, 0.1, 1.0)
"""Between two looks at whether it has arrived; systems answer after 40 ms at the latest."""

_PROBE_BYTES = 2_048
"""Sent at each look, as what a client has read is told with its answer to the next bytes; no more
than lasts until the next look, but for the first few."""

SendBit = Callable[[bytes], Awaitable[None]]


class Listener(Protocol):
    """Whoever takes what is sent: see `server.wire.readers.Reader`."""

    @property
    def stall_s(self) -> float:
        """How long it may take nothing."""
        ...

    @property
    def num_unsent(self) -> int:
        """Bytes that have not arrived."""
        ...

    @property
    def num_unread(self) -> int | None:
        """Bytes that have arrived and were not read; None where nobody knows."""
        ...

    @property
    def window(self) -> int | None:
        """How many more it said that it could take; None where nobody knows."""
        ...


@dataclass(slots=True)
class Pace:
    """Holds back one answer.

    reader: whoever takes it; None where nobody knows: no wait. unread_s: sound that was sent and
    not read, when there was last something to be sent; 0 where nobody knows.
    """

    reader: Listener | None
    unread_s: float = 0.0
    _started_s: float | None = None
    _sent_s: float = 0.0
    _sent_bytes: int = 0
    # Up to here it has read.
    _read_s: float = 0.0

    async def wait(self, piece: bytes, audio_s: float, send: SendBit) -> bytes:
        """Wait until a piece may be sent; returns what of it has not been sent by then.

        audio_s: sound up to its end, in seconds. send: sends a bit of it. Raises StalledReaderError
        where it has taken nothing for too long.
        """
        self._started_s = self._started_s or time.monotonic()
        num_left = max(1, len(piece))
        while len(piece) > _BIT_BYTES:
            piece = await self._wait(piece, send)
            bit, piece = piece[:_BIT_BYTES], piece[_BIT_BYTES:]
            if bit:
                await send(bit)
            sent_share = 1 - len(piece) / num_left
            self._note(num_left - len(piece), self._sent_s + sent_share * (audio_s - self._sent_s))
            num_left = max(1, len(piece))
        piece = await self._wait(piece, send)
        self._note(num_left, audio_s)
        return piece

    async def _wait(self, piece: bytes, send: SendBit) -> bytes:
        """Wait until the next bit may be sent; returns what is left of it."""
        if self.reader is None:
            return piece
        if self.reader.num_unread is not None:
            await self._wait_until_read(self.reader)
            self.unread_s = self._sent_s - self._read_s
        elif self._sent_s - self._read_s > _AHEAD_S:
            return await self._hold(self.reader, piece, send)
        return piece

    def _note(self, num_bytes: int, audio_s: float) -> None:
        self._sent_bytes += num_bytes
        self._sent_s = audio_s

    async def _wait_until_read(self, reader: Listener) -> None:
        """Wait until it has read enough of what was sent, or has gone."""
        least, taken_s, num_looks = self._sent_bytes, time.monotonic(), 0
        while (num_unread := reader.num_unread) is not None:
            in_hand = min(num_unread + reader.num_unsent, self._sent_bytes)
            in_hand_s = self._sent_s * in_hand / max(1, self._sent_bytes)
            self._read_s = self._sent_s - in_hand_s
            if in_hand_s <= _AHEAD_S and in_hand <= _AHEAD_BYTES:
                return
            now_s = time.monotonic()
            if in_hand < least:
                least, taken_s = in_hand, now_s
            elif now_s - taken_s > reader.stall_s:
                raise StalledReaderError(f"the client took nothing for {reader.stall_s:g} s")
            await asyncio.sleep(min(_of(_LOOKS_S, num_looks), reader.stall_s))
            num_looks += 1

    async def _hold(self, reader: Listener, piece: bytes, send: SendBit) -> bytes:
        """Wait until all that was sent has been read, or could have been heard."""
        window: int | None = None
        num_looks = num_waits = 0
        while self._is_early():
            if reader.num_unsent:
                await asyncio.sleep(_of(_ARRIVAL_S, num_waits))
                num_waits += 1
            else:
                before, window = window, reader.window
                # What it can take shrinks by what it has not read.
                if window is None or (before is not None and window >= before):
                    self._read_s = self._sent_s
                    break
                # The end of a piece is kept, for there is always something to send.
                bit = piece[: min(_PROBE_BYTES, len(piece) - 1)]
                piece = piece[len(bit) :]
                if bit:
                    await send(bit)
                await asyncio.sleep(_of(_LOOKS_S, num_looks))
                num_looks, num_waits = num_looks + 1, 0
        return piece

    def _is_early(self) -> bool:
        assert self._started_s is not None
        return self._sent_s > time.monotonic() - self._started_s + _AHEAD_S


def _of(waits_s: tuple[float, ...], index: int) -> float:
    return waits_s[min(index, len(waits_s) - 1)]


def pace_of(scope: Scope) -> Pace:
    """For the answer to a request, or for all frames of a WebSocket."""
    return Pace(scope["state"].get("reader"))
