"""Who may use the engine, and when: turns at the engine and room for requests.

A *turn* is the right to have one utterance in the engine. Turns are given in the order asked for,
so requests with many utterances take their place behind each new request: a long text cannot
hold up a short one by more than one utterance per stream. Event loop only; no locks.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fishs2.errors import BusyError

_FIRST_GUESS_TURN_S = 1.0


class Admission:
    """Bounds requests in progress, requests that wait for their first turn, and turns.

    max_streams: requests in progress. max_queue: requests that wait for their first turn.
    num_turns: utterances the engine works on at once.
    """

    def __init__(self, *, max_streams: int, max_queue: int, num_turns: int) -> None:
        self._max_streams = max_streams
        self._max_queue = max_queue
        self._num_turns = num_turns
        self._free_turns = num_turns
        self._num_streams = 0
        self._num_queued = 0
        # Bounded: each of at most max_streams requests waits for at most two turns.
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._turn_s = _FIRST_GUESS_TURN_S

    @property
    def num_streams(self) -> int:
        """Requests in progress."""
        return self._num_streams

    @property
    def num_queued(self) -> int:
        """Requests that wait for their first turn."""
        return self._num_queued

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Hold the place of one request; raises BusyError when there is none left."""
        if self._num_streams >= self._max_streams:
            raise self._busy(f"{self._num_streams} requests are in progress, the most allowed")
        self._num_streams += 1
        try:
            yield
        finally:
            self._num_streams -= 1

    async def take_first_turn(self) -> None:
        """Wait for the first turn of a request; raises BusyError when too many already wait."""
        if self._free_turns > 0 and not self._waiters:
            self._free_turns -= 1
            return
        if self._num_queued >= self._max_queue:
            raise self._busy(f"{self._num_queued} requests are waiting, the most allowed")
        self._num_queued += 1
        try:
            await self.take_turn()
        finally:
            self._num_queued -= 1

    async def take_turn(self) -> None:
        """Wait for a turn; whoever takes it calls `give_back_turn` once."""
        if self._free_turns > 0 and not self._waiters:
            self._free_turns -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                # `_hand_over` may have passed over it already.
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            else:
                # The turn came just before the cancellation: pass it on.
                self._hand_over()
            raise

    def give_back_turn(self, *, used_s: float) -> None:
        """End a turn that lasted `used_s` seconds."""
        self._turn_s += 0.1 * (used_s - self._turn_s)
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free_turns += 1

    def _busy(self, reason: str) -> BusyError:
        wait_s = len(self._waiters) * self._turn_s / self._num_turns
        retry_after_s = min(60, max(1, math.ceil(wait_s)))
        return BusyError(
            f"the server is busy: {reason}; try again in {retry_after_s} s",
            retry_after_s=retry_after_s,
        )

    def check_integrity(self) -> None:
        """Raise AssertionError unless, with nothing in progress, every turn is free."""
        if self._num_streams == 0:
            assert self._free_turns == self._num_turns, "a turn was not given back"
            assert not self._waiters
            assert self._num_queued == 0
