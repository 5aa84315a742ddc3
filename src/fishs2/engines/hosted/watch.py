"""When a child counts as lost: what it owes, and how long it may take.

Nothing is measured by the clock, but in pings: a server that was asleep must not blame its child.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from fishs2.engines.base import AudioChunk
from fishs2.errors import Fishs2Error
from fishs2.processes.supervisor import LostError, RestartRules


@dataclass(frozen=True, slots=True)
class HostLimits:
    """How long a child may take before it counts as lost, in seconds.

    start_s: to make its engine; a large model on a slow disk takes minutes. ping_s: between two
    questions whether it is alive; everything here is counted in these. silence_s: without any
    answer. stall_s: without any progress while it works; start_s while its model is not in memory.
    abort_s: to end an aborted order. close_s: to leave. pause_s, open_s, max_losses: as in
    `RestartRules`.
    """

    start_s: float = 900.0
    ping_s: float = 1.0
    silence_s: float = 30.0
    stall_s: float = 120.0
    abort_s: float = 30.0
    close_s: float = 5.0
    pause_s: float = 0.5
    open_s: float = 30.0
    max_losses: int = 6

    @property
    def rules(self) -> RestartRules:
        """What follows when a child is lost."""
        return RestartRules(self.pause_s, self.open_s, self.max_losses)


class Answer:
    """What one order brings: chunks or codes, then None for the end, or the error that ended it."""

    def __init__(self) -> None:
        self.is_over = False
        self.num_aborted_pings: int | None = None
        # Unbounded on purpose: the engine never waits for its reader, and the utterance bounds it.
        self.items: asyncio.Queue[AudioChunk | bytes | Fishs2Error | LostError | None] = (
            asyncio.Queue()
        )

    @property
    def is_aborted(self) -> bool:
        """Whether nobody wants it any more."""
        return self.num_aborted_pings is not None

    def abort(self) -> None:
        """Nobody wants it any more; from here on it is counted how long the child takes."""
        self.num_aborted_pings = 0

    def end(self, outcome: Fishs2Error | LostError | None) -> None:
        """Whoever reads it comes to this."""
        if not self.is_over:
            self.is_over = True
            self.items.put_nowait(outcome)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a child is to be killed, as it follows on "the engine's process"."""

    reason: str
    is_blameless: bool = False


class Watch:
    """Counts the pings that bring nothing."""

    def __init__(self, limits: HostLimits) -> None:
        self._limits = limits
        self._num_silent = self._num_idle = 0

    def note_sign_of_life(self) -> None:
        """It has said something."""
        self._num_silent = 0

    def note_progress(self) -> None:
        """It has come on with its work, or got some."""
        self._num_idle = 0

    def count_ping(self, answers: Collection[Answer], *, is_loading: bool) -> Verdict | None:
        """Another ping is sent. answers: what the child owes; is_loading: its model comes back."""
        limits = self._limits
        self._num_silent += 1
        self._num_idle = self._num_idle + 1 if answers else 0
        num_aborted = 0
        for answer in answers:
            if answer.num_aborted_pings is not None:
                answer.num_aborted_pings += 1
                num_aborted = max(num_aborted, answer.num_aborted_pings)
        # One that was idle loads its model again first, which takes as long as at the start.
        stall_s = limits.start_s if is_loading else limits.stall_s
        if self._num_silent * limits.ping_s > limits.silence_s:
            return Verdict(f"did not answer for {limits.silence_s:g} s")
        if self._num_idle * limits.ping_s > stall_s:
            return Verdict(f"got nowhere for {stall_s:g} s")
        if num_aborted * limits.ping_s > limits.abort_s:
            # Many an engine cannot be stopped everywhere, and clients that leave must not take it
            # away from the others.
            return Verdict(f"did not stop within {limits.abort_s:g} s", is_blameless=True)
        return None
