"""What the engine does next: who has a slot, whose prompt is read, who gets a frame. No torch.

Slots are rows of the caches. A utterance waits for one, reads its prompt in pieces, then gets one
frame per step together with all others. The prompts read in one step are bounded, so that nobody
who speaks waits long for somebody who begins.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from fishs2.engines.s2.engine.guard import MAX_SILENT_FRAMES, find_runaway
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.params import Frame


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Columns `start` to before `stop` of a prompt."""

    utterance: UtteranceState
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The work of one step. prefill: in order. decode: utterances that get a frame after it."""

    prefill: tuple[Piece, ...]
    decode: tuple[UtteranceState, ...]


class Scheduler:
    """Utterances from waiting to finished. Called by one thread."""

    def __init__(self, *, num_slots: int, piece_tokens: int, step_tokens: int, end_id: int) -> None:
        """piece_tokens: prompts are read so many columns at once. step_tokens: in one step at most,
        while others speak. end_id: the token that ends an utterance.
        """
        self._num_slots = num_slots
        self._piece_tokens = piece_tokens
        self._step_tokens = step_tokens
        self._end_id = end_id
        # The lowest first: what is in use stays close together.
        self._free_slots = list(range(num_slots))
        self._waiting: deque[UtteranceState] = deque()
        self._running: list[UtteranceState] = []
        self._num_scheduled = 0

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._running

    @property
    def num_running(self) -> int:
        return len(self._running)

    @property
    def running(self) -> Sequence[UtteranceState]:
        """All that have a slot, oldest first."""
        return self._running

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def add(self, utterance: UtteranceState) -> None:
        """Let an utterance wait for its turn."""
        self._waiting.append(utterance)

    def admit(self) -> UtteranceState | None:
        """Give the next utterance a slot; None if nobody waits or no slot is free."""
        if not self._waiting or not self._free_slots:
            return None
        utterance = self._waiting.popleft()
        utterance.slot = heapq.heappop(self._free_slots)
        if utterance.state == "waiting":
            utterance.state = "prefilling"
        self._running.append(utterance)
        return utterance

    def park(self, utterance: UtteranceState) -> None:
        """Let one whose frames are all drawn wait for a slot again, behind everybody else."""
        assert utterance.state == "finished"
        self._running.remove(utterance)
        heapq.heappush(self._free_slots, utterance.slot)
        utterance.slot = -1
        self._waiting.append(utterance)

    def skip(self, utterance: UtteranceState, num_tokens: int) -> None:
        """The first columns of its prompt are in the cache already."""
        utterance.num_prefilled = num_tokens

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
        for utterance in reading:
            while utterance.state == "prefilling" and (room is None or room > 0):
                piece = self._next_piece(utterance)
                pieces.append(piece)
                utterance.num_prefilled = piece.stop
                room = (self._step_tokens if room is None else room) - (piece.stop - piece.start)
                if piece.stop == utterance.num_prompt:
                    utterance.state = "decoding"
                    speaking.append(utterance)
        return Batch(tuple(pieces), tuple(speaking))

    def update(self, batch: Batch, frames: Sequence[Frame]) -> None:
        """Take in the frames of a step. Utterances that end stay in their slot until `release`."""
        for utterance, frame in zip(batch.decode, frames, strict=True):
            if frame[0] == self._end_id:
                utterance.state = "finished"
                continue
            utterance.frames.append(frame)
            if utterance.runaway_frames is not None:
                fault = find_runaway(utterance.frames, utterance.runaway_frames)
                if fault:
                    utterance.fail(fault)
            if len(utterance.frames) >= utterance.max_frames:
                utterance.state = "finished"

    def end_silent(self) -> None:
        """End those that have been silent for so long that it is no speech."""
        for each in self._running:
            is_watched = each.runaway_frames is not None and not each.fault
            if is_watched and each.num_silent > MAX_SILENT_FRAMES:
                each.fail(f"it was silent for {each.num_silent} frames")

    def release(self, utterance: UtteranceState) -> None:
        """Forget an utterance, whatever state it is in, and free its slot."""
        if utterance.slot < 0:
            self._waiting.remove(utterance)
        else:
            self._running.remove(utterance)
            heapq.heappush(self._free_slots, utterance.slot)
        utterance.state = "finished"

    def check_integrity(self) -> None:
        """Raise AssertionError if a slot was lost or given twice."""
        used = [utterance.slot for utterance in self._running]
        assert sorted(used + self._free_slots) == list(range(self._num_slots))

    def _next_piece(self, utterance: UtteranceState) -> Piece:
        """Borders depend on the prompt alone, so that it is read alike whoever else is there."""
        start = utterance.num_prefilled
        end = utterance.num_prefix if start < utterance.num_prefix else utterance.num_prompt
        return Piece(utterance, start, min(start + self._piece_tokens, end))
