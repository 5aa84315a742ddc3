"""Frames to samples, for many sequences at once. Engine thread only.

Every slot has its own state in one set of tensors. Sequences whose next chunks have the same length
are decoded together. The parts of a speech are one stream: see `speeches`. A card has a vocoder of
its own kind, `vocoder_stream`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from fishs2.engines.base import Pcm
from fishs2.engines.s2.codec import Codec, decode_step
from fishs2.engines.s2.guard import MAX_SILENT_FRAMES, count_silent
from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.speeches import Turns
from fishs2.engines.s2.streaming import (
    StreamState,
    new_state,
    put_rows,
    reset_rows,
    state_tensors,
    take_rows,
)


class Vocoder:
    """Decodes chunks while everybody waits."""

    def __init__(self, codec: Codec, *, num_slots: int, max_positions: int) -> None:
        """max_positions: frames of one utterance at most."""
        self._codec = codec
        self._states = _States(codec, num_slots)
        self._turns = Turns(
            self._states, num_slots=num_slots, max_carried=max_carried(codec, max_positions)
        )
        # On a CPU a batch saves nothing, and alone a row sounds the same to the last bit.
        self._max_rows = 1 if codec.device.type == "cpu" else num_slots

    @property
    def num_bytes(self) -> int:
        """Of the states of all slots."""
        return sum(each.nbytes for each in state_tensors(self._states.all))

    def enter(self, sequence: Sequence) -> None:
        """A sequence will come; to be followed by `leave`."""
        self._turns.enter(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Nothing more comes from a sequence; its slot is still its own."""
        self._turns.leave(sequence)

    def collect(self, sequences: Iterable[Sequence]) -> Iterator[tuple[Sequence, Pcm]]:
        """Yield float32 samples of those sequences that have a chunk's worth of frames."""
        for num_frames, alike in chunks_that_are_due(sequences, self._turns).items():
            for start in range(0, len(alike), self._max_rows):
                together = alike[start : start + self._max_rows]
                yield from zip(together, self._decode(together, num_frames), strict=True)

    def _decode(self, sequences: list[Sequence], num_frames: int) -> list[Pcm]:
        for each in sequences:
            self._turns.note_chunk(each, num_frames)
        codes = next_codes(sequences, num_frames)
        slots = torch.tensor([each.slot for each in sequences], device=self._codec.device)
        state = take_rows(self._states.all, slots)
        frames = torch.from_numpy(codes).to(self._codec.device)
        samples = decode_step(self._codec, frames, state).cpu().numpy()
        put_rows(self._states.all, slots, state)
        for each, pcm in zip(sequences, samples, strict=True):
            each.num_voiced += num_frames
            each.num_chunks += 1
            watch_silence(each, pcm, num_frames)
        return list(samples)


class _States:
    """The states of all slots in one set of tensors."""

    def __init__(self, codec: Codec, num_slots: int) -> None:
        self._device = codec.device
        self.all = new_state(codec.decoder, num_slots, codec.device)

    def reset(self, slot: int) -> None:
        reset_rows(self.all, slot)

    def take(self, slot: int) -> StreamState:
        return take_rows(self.all, torch.tensor([slot], device=self._device))

    def put(self, slot: int, state: StreamState) -> None:
        put_rows(self.all, torch.tensor([slot], device=self._device), state)


def max_carried(codec: Codec, max_positions: int) -> int:
    """Frames of a stream after which another utterance could pass the end of the codec's tables."""
    return codec.config.frame_transformer.max_positions - max_positions


def chunks_that_are_due(sequences: Iterable[Sequence], turns: Turns) -> dict[int, list[Sequence]]:
    """Those whose turn it is and that have a chunk's worth of frames, by its length."""
    by_length: dict[int, list[Sequence]] = {}
    for sequence in sequences:
        num_frames = next_chunk(sequence)
        if num_frames and turns.is_turn(sequence):
            by_length.setdefault(num_frames, []).append(sequence)
    return by_length


def next_codes(sequences: list[Sequence], num_frames: int) -> NDArray[np.int64]:
    """Codes that have no samples yet: int64 [B, K, num_frames]."""
    ranges = [each.frames[each.num_voiced : each.num_voiced + num_frames] for each in sequences]
    return np.stack([np.stack(each, axis=1)[1:] for each in ranges]).astype(np.int64)


def next_chunk(sequence: Sequence) -> int:
    """How many frames make the next chunk; 0 if they are not there yet."""
    wanted = sequence.ramp[min(sequence.num_chunks, len(sequence.ramp) - 1)]
    if sequence.state == "finished":
        return 0 if sequence.fault else min(wanted, sequence.num_unvoiced)
    return wanted if sequence.num_unvoiced >= wanted else 0


def watch_silence(sequence: Sequence, pcm: Pcm, num_frames: int) -> None:
    """Count the silence of the next `num_frames`; a sequence that is silent for long fails."""
    if sequence.runaway_frames is None:
        return
    sequence.num_silent = count_silent(pcm, len(pcm) // num_frames, sequence.num_silent)
    if sequence.num_silent > MAX_SILENT_FRAMES:
        sequence.fail(f"it was silent for {sequence.num_silent} frames")
