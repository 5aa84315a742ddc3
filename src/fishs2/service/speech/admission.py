"""Who may use the engine, and when: turns at the engine and room for requests.

A *turn* is the right to have one utterance in the engine. Who has the least sound in hand that was
not heard yet gets the next one: requests with many utterances take their place behind each new
request, and whoever has been sent far ahead waits. Of those who have as little, who asked first and
who asks for the shortest take turns, so that a sentence waits for no crowd of long ones, and nobody
waits for ever. A turn may be taken *ahead*, for an utterance that nobody listens to yet: such turns
come after all others, and are revoked when somebody has none, so a long text never holds up a short
one with what it does ahead. Event loop only; no locks.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fishs2.errors import BusyError

_FIRST_GUESS_TURN_S = 1.0


_Waiter = asyncio.Future[None]

SoundInHand = Callable[[], float]
"""Seconds of sound that a listener was sent and cannot have heard; 0 or more."""


def nothing_in_hand() -> float:
    """Of whoever has heard nothing yet."""
    return 0.0


@dataclass(frozen=True, slots=True)
class _Wish:
    """num_chars: of the utterance; 0 for whoever is in the middle of a speech."""

    in_hand: SoundInHand
    num_chars: int


@dataclass(slots=True, eq=False)
class AheadTurn:
    """A turn that is wanted before its utterance is.

    revoke: called when somebody else needs the turn, perhaps before its owner has heard that it has
    one; the owner gives it back soon. is_needed: somebody listens, and it is a turn like any other.
    in_hand: of whoever will listen. waiter: set while it is waited for.
    """

    revoke: Callable[[], None]
    in_hand: SoundInHand = nothing_in_hand
    is_needed: bool = False
    waiter: _Waiter | None = None


_MOST_PER_PLACE = 4
"""Requests in progress and resting ones, for each that may be in progress: they hold memory."""


class Place:
    """That of one request in progress. It may rest, while it needs nothing but its listener."""

    def __init__(self, admission: "Admission") -> None:
        self._admission = admission
        self._is_resting = False

    def rest(self) -> None:
        """Let others in meanwhile."""
        if not self._is_resting:
            self._is_resting = True
            self._admission._move(-1, 1)

    def resume(self) -> None:
        """Go on. It was let in once, and is not refused now, whoever came meanwhile."""
        if self._is_resting:
            self._is_resting = False
            self._admission._move(1, -1)


class Admission:
    """Bounds requests in progress, requests that wait for their first turn, and turns.

    max_streams: requests in progress, without those that rest; with them there may be four times as
    many. max_queue: requests that wait for their first turn. num_turns: utterances the engine works
    on at once.
    """

    def __init__(self, *, max_streams: int, max_queue: int, num_turns: int) -> None:
        self._max_streams = max_streams
        self._max_queue = max_queue
        self._num_turns = num_turns
        self._free_turns = num_turns
        self._num_streams = 0
        self._num_resting = 0
        self._num_queued = 0
        # Bounded: each of at most max_streams requests waits for at most two turns.
        self._waiters: dict[_Waiter, _Wish] = {}
        self._is_for_the_shortest = False
        self._waiters_ahead: list[AheadTurn] = []
        # A turn is here from the moment it is given, before its owner has heard of it.
        self._held_ahead: list[AheadTurn] = []
        self._turn_s = _FIRST_GUESS_TURN_S

    @property
    def num_streams(self) -> int:
        """Requests in progress, without those that rest."""
        return self._num_streams

    @property
    def num_resting(self) -> int:
        """Requests that wait for nothing but their listeners."""
        return self._num_resting

    @property
    def num_queued(self) -> int:
        """Requests that wait for their first turn."""
        return self._num_queued

    @contextmanager
    def stream(self) -> Iterator[Place]:
        """Hold the place of one request; raises BusyError when there is none left."""
        if self._num_streams >= self._max_streams:
            raise self._busy(f"{self._num_streams} requests are in progress, the most allowed")
        if self._num_streams + self._num_resting >= _MOST_PER_PLACE * self._max_streams:
            raise self._busy(f"{self._num_resting} requests wait for slow readers")
        self._move(1, 0)
        place = Place(self)
        try:
            yield place
        finally:
            place.resume()
            self._move(-1, 0)

    def _move(self, num_streams: int, num_resting: int) -> None:
        self._num_streams += num_streams
        self._num_resting += num_resting

    async def take_first_turn(self, num_chars: int = 0) -> None:
        """Wait for the first turn of a request; raises BusyError when too many already wait.

        num_chars: of its first utterance.
        """
        if self._free_turns > 0 and not self._waiters:
            self._free_turns -= 1
            return
        if self._num_queued >= self._max_queue:
            raise self._busy(f"{self._num_queued} requests are waiting, the most allowed")
        self._num_queued += 1
        try:
            await self.take_turn(num_chars=num_chars)
        finally:
            self._num_queued -= 1

    async def take_turn(
        self, in_hand: SoundInHand = nothing_in_hand, *, num_chars: int = 0
    ) -> None:
        """Wait for a turn; whoever takes it calls `give_back_turn` once."""
        if self._free_turns > 0 and not self._waiters:
            self._free_turns -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = _Wish(in_hand, num_chars)
        self._revoke_one()
        await self._wait(waiter)

    async def take_turn_ahead(self, turn: AheadTurn) -> None:
        """Wait for a turn until nobody else waits; whoever takes it calls `give_back_turn` once."""
        if turn.is_needed:
            await self.take_turn(turn.in_hand)
            return
        if self._free_turns > 0:
            self._free_turns -= 1
            self._held_ahead.append(turn)
            return
        turn.waiter = asyncio.get_running_loop().create_future()
        self._waiters_ahead.append(turn)
        try:
            await self._wait(turn.waiter, turn)
        finally:
            turn.waiter = None

    def need(self, turn: AheadTurn) -> None:
        """Somebody listens: from now on it is a turn like any other, held or waited for."""
        turn.is_needed = True
        if turn in self._held_ahead:
            self._held_ahead.remove(turn)
        elif turn.waiter is not None and turn in self._waiters_ahead:
            self._waiters_ahead.remove(turn)
            self._waiters[turn.waiter] = _Wish(turn.in_hand, 0)
            self._revoke_one()

    def give_back_turn(self, turn: AheadTurn | None = None, *, used_s: float) -> None:
        """End a turn that lasted `used_s` seconds."""
        if turn in self._held_ahead:
            self._held_ahead.remove(turn)
        self._turn_s += 0.1 * (used_s - self._turn_s)
        self._hand_over()

    async def _wait(self, waiter: _Waiter, turn: AheadTurn | None = None) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiters.pop(waiter, None)
                if turn is not None and turn in self._waiters_ahead:
                    self._waiters_ahead.remove(turn)
            else:
                # The turn came just before the cancellation: pass it on.
                if turn is not None and turn in self._held_ahead:
                    self._held_ahead.remove(turn)
                self._hand_over()
            raise

    def _hand_over(self) -> None:
        waiting = [each for each in self._waiters if not each.done()]
        if waiting:
            self._is_for_the_shortest = not self._is_for_the_shortest
            waiter = min(waiting, key=self._rank)
            del self._waiters[waiter]
            waiter.set_result(None)
            return
        # Those that are left were cancelled, and must not look as if somebody waited.
        self._waiters.clear()
        ahead = [each for each in self._waiters_ahead if each.waiter and not each.waiter.done()]
        if ahead:
            turn = min(ahead, key=lambda each: each.in_hand())
            assert turn.waiter is not None
            self._waiters_ahead.remove(turn)
            turn.waiter.set_result(None)
            self._held_ahead.append(turn)
            return
        self._free_turns += 1

    def _rank(self, waiter: _Waiter) -> tuple[float, int]:
        wish = self._waiters[waiter]
        return wish.in_hand(), wish.num_chars if self._is_for_the_shortest else 0

    def _revoke_one(self) -> None:
        """Take back the turn that was taken ahead last, whose work is lost least."""
        if self._held_ahead:
            self._held_ahead.pop().revoke()

    def _busy(self, reason: str) -> BusyError:
        wait_s = len(self._waiters) * self._turn_s / self._num_turns
        retry_after_s = min(60, max(1, math.ceil(wait_s)))
        return BusyError(
            f"the server is busy: {reason}; try again in {retry_after_s} s",
            retry_after_s=retry_after_s,
        )

    def check_integrity(self) -> None:
        """Raise AssertionError unless, with nothing in progress, every turn is free."""
        if self._num_streams == 0 and self._num_resting == 0:
            assert self._free_turns == self._num_turns, "a turn was not given back"
            assert not self._waiters
            assert not self._waiters_ahead
            assert not self._held_ahead
            assert self._num_queued == 0
