"""What the engine does next: who has a slot, whose prompt is read, who gets a frame. No torch.

Slots are rows of the caches. A sequence waits for one, reads its prompt in pieces, then gets one
frame per step together with all others. The prompts read in one step are bounded, so that nobody
who speaks waits long for somebody who begins.
"""

import heapq
from collections import deque
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from fishs2.engines.s2.engine.guard import find_runaway
from fishs2.engines.s2.engine.sequence import Sequence
from fishs2.engines.s2.model.params import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Columns `start` to before `stop` of a prompt."""

    sequence: Sequence
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The work of one step. prefill: in order. decode: sequences that get a frame after it."""

    prefill: tuple[Piece, ...]
    decode: tuple[Sequence, ...]


class Scheduler:
    """Sequences from waiting to finished. Called by one thread."""

    def __init__(self, *, num_slots: int, piece_tokens: int, step_tokens: int, end_id: int) -> None:
        """piece_tokens: prompts are read so many columns at once. step_tokens: in one step at most,
        while others speak. end_id: the token that ends a sequence.
        """
        self._num_slots = num_slots
        self._piece_tokens = piece_tokens
        self._step_tokens = step_tokens
        self._end_id = end_id
        # The lowest first: what is in use stays close together.
        self._free_slots = list(range(num_slots))
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._num_scheduled = 0

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def num_running(self) -> int:
        return len(self._running)

    @property
    def running(self) -> SequenceOf[Sequence]:
        """All that have a slot, oldest first."""
        return self._running

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn."""
        self._waiting.append(sequence)

    def admit(self) -> Sequence | None:
        """Give the next sequence a slot; None if nobody waits or no slot is free."""
        if not self._waiting or not self._free_slots:
            return None
        sequence = self._waiting.popleft()
        sequence.slot = heapq.heappop(self._free_slots)
        if sequence.state == "waiting":
            sequence.state = "prefilling"
        self._running.append(sequence)
        return sequence

    def park(self, sequence: Sequence) -> None:
        """Let one whose frames are all drawn wait for a slot again, behind everybody else."""
        assert sequence.state == "finished"
        self._running.remove(sequence)
        heapq.heappush(self._free_slots, sequence.slot)
        sequence.slot = -1
        self._waiting.append(sequence)

    def schedule(self) -> Batch:
        """Decide the next step: pieces of prompts, and a frame for all who can."""
        speaking = [each for each in self._running if each.state == "decoding"]
        reading = [each for each in self._running if each.state == "prefilling"]
        # In every other step the shortest comes first: a long prompt neither holds up short ones
        # nor waits for them for ever.
        if self._num_scheduled % 2:
            reading.sort(key=lambda each: each.num_prompt - each.num_prefilled)
        self._num_scheduled += 1
        room = self._step_tokens if speaking else None
        pieces: list[Piece] = []
        for sequence in reading:
            while sequence.state == "prefilling" and (room is None or room > 0):
                piece = self._next_piece(sequence)
                pieces.append(piece)
                sequence.num_prefilled = piece.stop
                room = (self._step_tokens if room is None else room) - (piece.stop - piece.start)
                if piece.stop == sequence.num_prompt:
                    sequence.state = "decoding"
                    speaking.append(sequence)
        return Batch(tuple(pieces), tuple(speaking))

    def update(self, batch: Batch, frames: SequenceOf[Frame]) -> None:
        """Take in the frames of a step. Sequences that end stay in their slot until `release`."""
        for sequence, frame in zip(batch.decode, frames, strict=True):
            if frame[0] == self._end_id:
                sequence.state = "finished"
                continue
            sequence.frames.append(frame)
            if sequence.runaway_frames is not None:
                fault = find_runaway(sequence.frames, sequence.runaway_frames)
                if fault:
                    sequence.fail(fault)
            if len(sequence.frames) >= sequence.max_frames:
                sequence.state = "finished"

    def release(self, sequence: Sequence) -> None:
        """Forget a sequence, whatever state it is in, and free its slot."""
        if sequence.slot < 0:
            self._waiting.remove(sequence)
        else:
            self._running.remove(sequence)
            heapq.heappush(self._free_slots, sequence.slot)
        sequence.state = "finished"

    def check_integrity(self) -> None:
        """Raise AssertionError if a slot was lost or given twice."""
        used = [sequence.slot for sequence in self._running]
        assert sorted(used + self._free_slots) == list(range(self._num_slots))

    def _next_piece(self, sequence: Sequence) -> Piece:
        """Borders depend on the prompt alone, so that it is read alike whoever else is there."""
        start = sequence.num_prefilled
        end = sequence.num_prefix if start < sequence.num_prefix else sequence.num_prompt
        return Piece(sequence, start, min(start + self._piece_tokens, end))
