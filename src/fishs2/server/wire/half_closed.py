"""Clients that have said that they send no more: some still read the answer, some have left.

Both look the same on the wire until something is written to them. On this machine the system tells
them apart; anybody else is given some time, in which the answer has to begin.
"""

import asyncio
from collections.abc import Callable

from fishs2.server.wire.peers import Peer

_LOOK_S = 0.25


class HalfClosed:
    """Watches one such client until `end`. For one event loop."""

    def __init__(
        self,
        look: Callable[[], Peer | None],
        *,
        has_begun: Callable[[], bool],
        leave: Callable[[], None],
        patience_s: float,
    ) -> None:
        """has_begun: whether something was written, as that tells who has left. leave: called once,
        when it has. patience_s: for those of whom nobody knows.
        """
        self._look = look
        self._has_begun = has_begun
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + patience_s
        self._timer: asyncio.TimerHandle | None = None

    def may_stay(self) -> bool:
        """Whether it may still read what is written."""
        peer = self._look()
        if peer is not None:
            return peer.is_held
        return self._has_begun() or self._loop.time() < self._until_s

    def watch(self) -> None:
        """Look now and then."""
        self._timer = self._loop.call_later(_LOOK_S, self._check)

    def end(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        if self.may_stay():
            self.watch()
        else:
            self._leave()
