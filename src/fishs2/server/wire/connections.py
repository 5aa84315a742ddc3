"""Who is connected, and who gives way when there is no more room.

A connection is *idle* while nothing of a request has come, in its *head* until the request is
known, and at *work* until the answer has left. Who is idle gives way to who comes, the longest
first; then whose head takes longer than any client needs. Where nobody does, the newcomer's request
is read and refused, and health checks are still answered. For one event loop.
"""

import time
from asyncio import BaseTransport
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from fishs2.errors import BusyError, NoRoomError
from fishs2.server.wire import descriptors
from fishs2.server.wire.addresses import Addresses, owner_of

Stage = Literal["idle", "head", "work"]

_MAX_REFUSED = 64
"""Connections beyond the limit that are told so; more are closed without a word."""

_PATIENT_S = 1.0
"""A head is sent in one go: after so long whoever sends it may have to give way."""

_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What a request may be, and how slowly it may come.

    head_bytes: of the request line and all headers; target_bytes: of the request target alone, with
    room for a text in a link; num_fields: headers. head_s: from its first byte to the end of the
    head, and for the first byte of a new connection. body_stall_s: without a byte of the body.
    linger_s: how long the rest is read of whoever was refused while they sent, so that the answer
    reaches them. half_closed_s: in which the answer has to begin for whoever sends no more and is
    not on this machine, as it may have left.
    """

    head_bytes: int = 65_536
    target_bytes: int = 49_152
    num_fields: int = 100
    head_s: float = 10.0
    body_stall_s: float = 30.0
    linger_s: float = 2.0
    half_closed_s: float = 10.0


@dataclass(slots=True, eq=False)
class _Seat:
    """A connection. owner: whose address it is; "" where nobody counts."""

    owner: str
    is_refused: bool
    give_way: Callable[[], None]
    stage: Stage = "idle"
    since_s: float = field(default_factory=time.monotonic)


class Connections:
    """All connections of a server."""

    def __init__(
        self,
        *,
        most: int,
        most_per_address: int,
        exempt: Addresses,
        stall_s: float,
        limits: WireLimits | None = None,
    ) -> None:
        """exempt: addresses that may have as many as they like; this machine always may.

        stall_s: how long a client may take nothing of what waits for it.
        """
        self.stall_s = stall_s
        self.limits = limits or WireLimits()
        self._most = most
        self._most_per_address = most_per_address
        self._exempt = exempt
        self._seats: dict[BaseTransport, _Seat] = {}
        self._owners: Counter[str] = Counter()
        # Who came to a stage first is first in its line.
        self._lines: dict[tuple[bool, Stage], dict[BaseTransport, _Seat]] = {
            (is_refused, stage): {}
            for is_refused in (False, True)
            for stage in ("idle", "head", "work")
        }

    def open(self, transport: BaseTransport, give_way: Callable[[], None]) -> BusyError | None:
        """Take in a connection; returns what its request is to be refused with, if it is.

        give_way: closes it; called while it is idle or in its head. Raises NoRoomError where it is
        to be closed at once.
        """
        address = (transport.get_extra_info("peername") or ("",))[0]
        owner = "" if address in self._exempt else owner_of(address)
        number = _descriptor(transport)
        refusal = self._refuse_owner(owner) or self._refuse_anybody(number)
        if refusal is not None:
            num_refused = sum(len(self._lines[True, stage]) for stage in ("idle", "head", "work"))
            is_last = num_refused >= _MAX_REFUSED or descriptors.are_gone(number)
            if is_last and not self._free_one(is_refused=True):
                raise NoRoomError(refusal.message, retry_after_s=_RETRY_S)
        seat = _Seat(owner if refusal is None else "", refusal is not None, give_way)
        self._seats[transport] = seat
        self._owners[seat.owner] += 1
        self._lines[seat.is_refused, "idle"][transport] = seat
        return refusal

    def note(self, transport: BaseTransport, stage: Stage) -> None:
        """A connection has come to another stage."""
        seat = self._seats.get(transport)
        if seat is not None:
            self._lines[seat.is_refused, seat.stage].pop(transport, None)
            seat.stage, seat.since_s = stage, time.monotonic()
            self._lines[seat.is_refused, stage][transport] = seat

    def close(self, transport: BaseTransport) -> None:
        """A connection has ended, or is about to; a second call changes nothing."""
        seat = self._seats.pop(transport, None)
        if seat is not None:
            self._lines[seat.is_refused, seat.stage].pop(transport, None)
            self._owners[seat.owner] -= 1
            if not self._owners[seat.owner]:
                del self._owners[seat.owner]

    def _refuse_owner(self, owner: str) -> BusyError | None:
        if not owner or self._owners[owner] < self._most_per_address:
            return None
        idle = self._lines[False, "idle"]
        found = next((each for each, seat in idle.items() if seat.owner == owner), None)
        if found is not None:
            self._send_away(found)
            return None
        return BusyError(
            f"there are {self._owners[owner]:,} connections from this address, the most allowed "
            "(FISHS2_MAX_CONNECTIONS_PER_ADDRESS): close some, or use each for several requests",
            retry_after_s=_RETRY_S,
            code="too_many_connections",
        )

    def _refuse_anybody(self, number: int) -> BusyError | None:
        num_taken = sum(len(self._lines[False, stage]) for stage in ("idle", "head", "work"))
        is_short = descriptors.are_short(number)
        if (num_taken < self._most and not is_short) or self._free_one(is_refused=False):
            return None
        why = "the system gives it no more files" if is_short else f"it has {num_taken:,}"
        return NoRoomError(
            f"the server has no room for another connection: {why}; try again in {_RETRY_S} s",
            retry_after_s=_RETRY_S,
        )

    def _free_one(self, *, is_refused: bool) -> bool:
        """Let one that does nothing give way; False if there is none."""
        idle, heads = self._lines[is_refused, "idle"], self._lines[is_refused, "head"]
        found = next(iter(idle), None)
        if found is None:
            found, seat = next(iter(heads.items()), (None, None))
            if seat is None or time.monotonic() - seat.since_s < _PATIENT_S:
                return False
        assert found is not None
        self._send_away(found)
        return True

    def _send_away(self, transport: BaseTransport) -> None:
        give_way = self._seats[transport].give_way
        self.close(transport)
        give_way()


def _descriptor(transport: BaseTransport) -> int:
    connection = transport.get_extra_info("socket")
    return -1 if connection is None else int(connection.fileno())
