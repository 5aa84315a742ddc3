"""What the codec remembers from one part of a speech to the next. Engine thread only.

The next part of a speech may be drawn while the one before it is still spoken, but it sounds after
it: its first samples continue where the last ones of the other ended. A part that fails may come
again, so the one after it waits.
"""

from dataclasses import dataclass

from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.streaming import StreamState


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """The state of one stream after `num_frames` frames."""

    state: StreamState
    num_frames: int


@dataclass(slots=True, eq=False)
class _Speech:
    """next_index: the part that sounds next. num_inside: of its parts that are in the engine.

    is_over: no more come.
    """

    next_index: int
    num_inside: int = 0
    is_over: bool = False
    carried: Carried | None = None


class Speeches:
    """Speeches by name, until `forget` and the end of those of their parts that are here."""

    def __init__(self) -> None:
        self._speeches: dict[str, _Speech] = {}

    def __len__(self) -> int:
        return len(self._speeches)

    def enter(self, utterance: UtteranceState) -> None:
        """A part has come. One whose speech is not known any more begins afresh."""
        if utterance.part is None:
            return
        name, index = utterance.part.speech, utterance.part.index
        self._speeches.setdefault(name, _Speech(index)).num_inside += 1

    def leave(self, utterance: UtteranceState) -> None:
        """A part goes, spoken or not."""
        if utterance.part is None:
            return
        name = utterance.part.speech
        speech = self._speeches[name]
        speech.num_inside -= 1
        if speech.is_over and not speech.num_inside:
            del self._speeches[name]

    def forget(self, name: str) -> None:
        """No more parts of a speech come."""
        speech = self._speeches.get(name)
        if speech is None:
            return
        speech.is_over = True
        if not speech.num_inside:
            del self._speeches[name]

    def is_turn(self, utterance: UtteranceState) -> bool:
        """Whether the parts before this one have been spoken."""
        part = utterance.part
        return part is None or self._speeches[part.speech].next_index >= part.index

    def begin(self, utterance: UtteranceState) -> Carried | None:
        """What the part continues; None if it begins afresh."""
        part = utterance.part
        return None if part is None else self._speeches[part.speech].carried

    def end(self, utterance: UtteranceState, carried: Carried) -> None:
        """The part has been spoken to its end."""
        assert utterance.part is not None
        speech = self._speeches[utterance.part.speech]
        if utterance.part.index < speech.next_index - 1:
            return  # one after it has been spoken already; back there nobody would go on
        speech.next_index = utterance.part.index + 1
        speech.carried = carried
