"""Frames to samples, for many utterances at once. Engine thread only.

Every slot has its own state in one set of tensors (`CodecRows`). Utterances whose next chunks have
the same length are decoded together. The parts of a speech are one stream: see `speeches`. On a
card, chunks are launched in one step and given out in a later one: see `device.codec_stream`.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fishs2.engines.base import Pcm
from fishs2.engines.s2.device.codec_stream import open_codec_stream
from fishs2.engines.s2.engine.guard import count_silent
from fishs2.engines.s2.engine.speeches import Carried, Speeches
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.codec import Codec, decode_step
from fishs2.engines.s2.model.streaming import (
    StreamState,
    new_state,
    put_rows,
    reset_rows,
    state_tensors,
    take_rows,
)


class Chunk(Protocol):
    """Samples of some rows, perhaps still on their way."""

    @property
    def is_there(self) -> bool:
        """Whether nobody would have to wait for them."""
        ...

    def take(self) -> list[Pcm]:
        """The samples of each row; waits for them."""
        ...


class CodecRows(Protocol):
    """The streaming states of all slots, and what decodes their next frames."""

    @property
    def num_bytes(self) -> int:
        """Of the states."""
        ...

    def max_rows(self, num_frames: int) -> int:
        """How many rows one call may decode."""
        ...

    def begin(self, slot: int) -> None:
        """Start a slot anew."""
        ...

    def put(self, slot: int, state: StreamState) -> None:
        """Let a slot continue a stream of one row."""
        ...

    def take(self, slot: int) -> StreamState:
        """A copy of a slot's state."""
        ...

    def launch(self, slots: Sequence[int], codes: NDArray[np.int64]) -> Chunk:
        """Decode the next frames of some slots. codes: int64 [B, K, n]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _ReadyChunk:
    samples: list[Pcm]

    @property
    def is_there(self) -> bool:
        return True

    def take(self) -> list[Pcm]:
        return self.samples


class PlainRows:
    """Rows that are decoded at once, on any device."""

    def __init__(self, codec: Codec, *, num_slots: int) -> None:
        self._codec = codec
        self._state = new_state(codec.decoder, num_slots, codec.device)
        # On a CPU a batch saves nothing, and alone a row sounds the same to the last bit.
        self._max_rows = 1 if codec.device.type == "cpu" else num_slots

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes for each in state_tensors(self._state))

    def max_rows(self, num_frames: int) -> int:
        return self._max_rows

    def begin(self, slot: int) -> None:
        reset_rows(self._state, slot)

    def put(self, slot: int, state: StreamState) -> None:
        put_rows(self._state, self._rows([slot]), state)

    def take(self, slot: int) -> StreamState:
        return take_rows(self._state, self._rows([slot]))

    def launch(self, slots: Sequence[int], codes: NDArray[np.int64]) -> Chunk:
        rows = self._rows(slots)
        state = take_rows(self._state, rows)
        frames = torch.from_numpy(codes).to(self._codec.device)
        samples = decode_step(self._codec, frames, state).cpu().numpy()
        put_rows(self._state, rows, state)
        return _ReadyChunk(list(samples))

    def _rows(self, slots: Sequence[int]) -> torch.Tensor:
        return torch.tensor(list(slots), device=self._codec.device)


class Vocoder:
    """What `num_slots` utterances of at most `max_positions` frames sound like."""

    def __init__(
        self, codec: Codec, *, num_slots: int, max_positions: int, rows: CodecRows | None = None
    ) -> None:
        """rows: None takes those that suit the codec's device."""
        self._codec = codec
        self._rows = rows or _open_rows(codec, num_slots)
        self._num_streamed = [0] * num_slots
        # A stream that could pass the end of the codec's tables begins afresh with its next part.
        self._max_carried = codec.config.frame_transformer.max_positions - max_positions
        self._speeches = Speeches()
        # Bounded by the steps that a chunk takes: each adds at most one per utterance.
        self._on_their_way: deque[tuple[list[UtteranceState], Chunk]] = deque()

    @property
    def num_bytes(self) -> int:
        """Of the states of all slots."""
        return self._rows.num_bytes

    @property
    def num_speeches(self) -> int:
        """Speeches of which something is carried over from part to part."""
        return len(self._speeches)

    def enter(self, utterance: UtteranceState) -> None:
        """A utterance will come; to be followed by `leave`."""
        self._speeches.enter(utterance)

    def end_speech(self, speech: str) -> None:
        """No more parts of this speech come."""
        self._speeches.forget(speech)

    def leave(self, utterance: UtteranceState) -> None:
        """Nothing more comes from an utterance; its slot is still its own."""
        is_whole = utterance.is_spoken and not utterance.fault and utterance.frames
        if is_whole and utterance.part is not None and not utterance.part.is_last:
            slot = utterance.slot
            carried = Carried(self._rows.take(slot), self._num_streamed[slot])
            self._speeches.end(utterance, carried)
        self._speeches.leave(utterance)
        utterance.num_pending = 0

    def collect(self, utterances: Iterable[UtteranceState]) -> Iterator[tuple[UtteranceState, Pcm]]:
        """Yield float32 samples of those utterances that have a chunk's worth of frames.

        Samples that are on their way come in a later call; it waits for them only if none of the
        utterances gets more frames.
        """
        by_length: dict[int, list[UtteranceState]] = {}
        is_idle = True
        for utterance in utterances:
            is_idle = is_idle and utterance.state == "finished"
            num_frames = next_chunk(utterance)
            if num_frames and self._speeches.is_turn(utterance):
                by_length.setdefault(num_frames, []).append(utterance)
        for num_frames, alike in by_length.items():
            most = self._rows.max_rows(num_frames)
            for start in range(0, len(alike), most):
                self._launch(alike[start : start + most], num_frames)
                yield from self.arrived()
        if is_idle and self._on_their_way:
            yield from self._give_out(*self._on_their_way.popleft())
        yield from self.arrived()

    @property
    def is_waiting(self) -> bool:
        """Whether samples are on their way."""
        return bool(self._on_their_way)

    def arrived(self) -> Iterator[tuple[UtteranceState, Pcm]]:
        """Samples that are there, in the order in which they were launched."""
        while self._on_their_way and self._on_their_way[0][1].is_there:
            yield from self._give_out(*self._on_their_way.popleft())

    def _launch(self, utterances: list[UtteranceState], num_frames: int) -> None:
        for each in utterances:
            if not each.num_voiced:
                self._begin(each)
        codes = np.stack(
            [
                np.stack(each.frames[each.num_voiced : each.num_voiced + num_frames], axis=1)[1:]
                for each in utterances
            ]
        )
        chunk = self._rows.launch([each.slot for each in utterances], codes.astype(np.int64))
        self._on_their_way.append((utterances, chunk))
        for each in utterances:
            each.num_voiced += num_frames
            each.num_chunks += 1
            each.num_pending += 1
            self._num_streamed[each.slot] += num_frames

    def _give_out(
        self, utterances: list[UtteranceState], chunk: Chunk
    ) -> Iterator[tuple[UtteranceState, Pcm]]:
        for utterance, pcm in zip(utterances, chunk.take(), strict=True):
            if utterance.num_pending:  # else it has left
                utterance.num_pending -= 1
                self._note(utterance, pcm)
                yield utterance, pcm

    def _begin(self, utterance: UtteranceState) -> None:
        """Let the stream of a slot begin, or continue what was spoken before."""
        slot, carried = utterance.slot, self._speeches.begin(utterance)
        if carried is None or carried.num_frames > self._max_carried:
            self._rows.begin(slot)
            self._num_streamed[slot] = 0
        else:
            self._rows.put(slot, carried.state)
            self._num_streamed[slot] = carried.num_frames

    def _note(self, utterance: UtteranceState, pcm: Pcm) -> None:
        if utterance.runaway_frames is not None:
            num_samples = self._codec.config.samples_per_frame
            utterance.num_silent = count_silent(pcm, num_samples, utterance.num_silent)


def _open_rows(codec: Codec, num_slots: int) -> CodecRows:
    if codec.device.type == "cuda":
        return open_codec_stream(codec, num_slots)
    return PlainRows(codec, num_slots=num_slots)


def next_chunk(utterance: UtteranceState) -> int:
    """How many frames make the next chunk; 0 if they are not there yet."""
    wanted = utterance.ramp[min(utterance.num_chunks, len(utterance.ramp) - 1)]
    if utterance.state == "finished":
        return 0 if utterance.fault else min(wanted, utterance.num_unvoiced)
    return wanted if utterance.num_unvoiced >= wanted else 0
