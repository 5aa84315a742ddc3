"""What the codec remembers from one part of a speech to the next. Engine thread only.

The next part of a speech may be drawn while the one before it is still spoken, but it sounds after
it: its first samples continue where the last ones of the other ended. A part that fails may come
again, so the one after it waits.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.streaming import StreamState

_SPEECHES_PER_SLOT = 2


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """The state of one stream after `num_frames` frames."""

    state: StreamState
    num_frames: int


@dataclass(slots=True, eq=False)
class _Speech:
    """next_index: the part that sounds next. num_inside: of its parts that are in the engine."""

    next_index: int
    num_inside: int = 0
    carried: Carried | None = None


class SlotStates(Protocol):
    """What the codec remembers of each slot."""

    def reset(self, slot: int) -> None:
        """Start a slot anew."""
        ...

    def take(self, slot: int) -> StreamState:
        """A copy of what a slot remembers, of one row."""
        ...

    def put(self, slot: int, state: StreamState) -> None:
        """Let a slot remember what `take` gave."""
        ...


class Turns:
    """Whose samples come next, and what they continue, in `num_slots` slots."""

    def __init__(self, states: SlotStates, *, num_slots: int, max_carried: int) -> None:
        """max_carried: frames after which a stream begins afresh with its next part."""
        self.speeches = Speeches(max_idle=_SPEECHES_PER_SLOT * num_slots)
        self._states = states
        self._max_carried = max_carried
        self._num_streamed = [0] * num_slots

    def enter(self, sequence: Sequence) -> None:
        """A sequence will come; to be followed by `leave`."""
        self.speeches.enter(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Nothing more comes from a sequence; its slot is still its own."""
        is_whole = sequence.is_spoken and not sequence.fault and sequence.frames
        if is_whole and sequence.part is not None and not sequence.part.is_last:
            slot = sequence.slot
            carried = Carried(self._states.take(slot), self._num_streamed[slot])
            self.speeches.end(sequence, carried)
        self.speeches.leave(sequence)

    def is_turn(self, sequence: Sequence) -> bool:
        """Whether the parts before this one have been spoken."""
        return self.speeches.is_turn(sequence)

    def note_chunk(self, sequence: Sequence, num_frames: int) -> None:
        """A chunk is about to be decoded; the first one lets the slot begin, or continue."""
        slot = sequence.slot
        if not sequence.num_voiced:
            carried = self.speeches.begin(sequence)
            if carried is None or carried.num_frames > self._max_carried:
                self._states.reset(slot)
                self._num_streamed[slot] = 0
            else:
                self._states.put(slot, carried.state)
                self._num_streamed[slot] = carried.num_frames
        self._num_streamed[slot] += num_frames


class Speeches:
    """Speeches by name. `max_idle` of those that have no part in the engine are remembered."""

    def __init__(self, *, max_idle: int) -> None:
        self._max_idle = max_idle
        self._speeches: OrderedDict[str, _Speech] = OrderedDict()

    def __len__(self) -> int:
        return len(self._speeches)

    def enter(self, sequence: Sequence) -> None:
        """A part has come. One whose speech is not known any more begins afresh."""
        if sequence.part is None:
            return
        name, index = sequence.part.speech, sequence.part.index
        self._speeches.setdefault(name, _Speech(index)).num_inside += 1

    def leave(self, sequence: Sequence) -> None:
        """A part goes, spoken or not."""
        if sequence.part is None:
            return
        name = sequence.part.speech
        speech = self._speeches[name]
        speech.num_inside -= 1
        self._speeches.move_to_end(name)
        if not speech.num_inside and sequence.part.is_last:
            del self._speeches[name]
        idle = [name for name, each in self._speeches.items() if not each.num_inside]
        for name in idle[: max(0, len(idle) - self._max_idle)]:
            del self._speeches[name]

    def is_turn(self, sequence: Sequence) -> bool:
        """Whether the parts before this one have been spoken."""
        part = sequence.part
        return part is None or self._speeches[part.speech].next_index >= part.index

    def begin(self, sequence: Sequence) -> Carried | None:
        """What the part continues; None if it begins afresh."""
        part = sequence.part
        return None if part is None else self._speeches[part.speech].carried

    def end(self, sequence: Sequence, carried: Carried) -> None:
        """The part has been spoken to its end."""
        assert sequence.part is not None
        speech = self._speeches[sequence.part.speech]
        speech.next_index = sequence.part.index + 1
        speech.carried = carried
