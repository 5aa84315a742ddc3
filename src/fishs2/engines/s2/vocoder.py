"""Frames to samples, for many sequences at once. Engine thread only.

Every slot has its own state in one set of tensors. Sequences whose next chunks have the same length
are decoded together. The parts of a speech are one stream: see `speeches`.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from fishs2.engines.base import Pcm
from fishs2.engines.s2.codec import Codec, decode_step
from fishs2.engines.s2.guard import MAX_SILENT_FRAMES, count_silent
from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.speeches import Carried, Speeches
from fishs2.engines.s2.streaming import new_state, put_rows, reset_rows, state_tensors, take_rows

_SPEECHES_PER_SLOT = 2


class Vocoder:
    """Streaming states of `num_slots` sequences of at most `max_positions` frames."""

    def __init__(self, codec: Codec, *, num_slots: int, max_positions: int) -> None:
        self._codec = codec
        self._state = new_state(codec.decoder, num_slots, codec.device)
        self._num_streamed = [0] * num_slots
        # A stream that could pass the end of the codec's tables begins afresh with its next part.
        self._max_carried = codec.config.frame_transformer.max_positions - max_positions
        self._speeches = Speeches(max_idle=_SPEECHES_PER_SLOT * num_slots)
        # On a CPU a batch saves nothing, and alone a row sounds the same to the last bit.
        self._max_rows = 1 if codec.device.type == "cpu" else num_slots

    @property
    def num_bytes(self) -> int:
        """Of the states of all slots."""
        return sum(each.nbytes for each in state_tensors(self._state))

    def enter(self, sequence: Sequence) -> None:
        """A sequence will come; to be followed by `leave`."""
        self._speeches.enter(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Nothing more comes from a sequence; its slot is still its own."""
        is_whole = sequence.is_spoken and not sequence.fault and sequence.frames
        if is_whole and sequence.part is not None and not sequence.part.is_last:
            slot = sequence.slot
            row = torch.tensor([slot], device=self._codec.device)
            carried = Carried(take_rows(self._state, row), self._num_streamed[slot])
            self._speeches.end(sequence, carried)
        self._speeches.leave(sequence)

    def collect(self, sequences: Iterable[Sequence]) -> Iterator[tuple[Sequence, Pcm]]:
        """Yield float32 samples of those sequences that have a chunk's worth of frames."""
        by_length: dict[int, list[Sequence]] = {}
        for sequence in sequences:
            num_frames = next_chunk(sequence)
            if num_frames and self._speeches.is_turn(sequence):
                by_length.setdefault(num_frames, []).append(sequence)
        for num_frames, alike in by_length.items():
            for start in range(0, len(alike), self._max_rows):
                together = alike[start : start + self._max_rows]
                yield from zip(together, self._decode(together, num_frames), strict=True)

    def _decode(self, sequences: list[Sequence], num_frames: int) -> list[Pcm]:
        for each in sequences:
            if not each.num_voiced:
                self._begin(each)
        codes = np.stack(
            [
                np.stack(each.frames[each.num_voiced : each.num_voiced + num_frames], axis=1)[1:]
                for each in sequences
            ]
        )
        slots = torch.tensor([each.slot for each in sequences], device=self._codec.device)
        state = take_rows(self._state, slots)
        frames = torch.from_numpy(codes).long().to(self._codec.device)
        samples = decode_step(self._codec, frames, state).cpu().numpy()
        put_rows(self._state, slots, state)
        for each, pcm in zip(sequences, samples, strict=True):
            self._note(each, pcm, num_frames)
        return list(samples)

    def _begin(self, sequence: Sequence) -> None:
        """Let the stream of a slot begin, or continue what was spoken before."""
        slot, carried = sequence.slot, self._speeches.begin(sequence)
        if carried is None or carried.num_frames > self._max_carried:
            reset_rows(self._state, slot)
            self._num_streamed[slot] = 0
        else:
            put_rows(self._state, torch.tensor([slot], device=self._codec.device), carried.state)
            self._num_streamed[slot] = carried.num_frames

    def _note(self, sequence: Sequence, pcm: Pcm, num_frames: int) -> None:
        sequence.num_voiced += num_frames
        sequence.num_chunks += 1
        self._num_streamed[sequence.slot] += num_frames
        if sequence.runaway_frames is not None:
            num_samples = self._codec.config.samples_per_frame
            sequence.num_silent = count_silent(pcm, num_samples, sequence.num_silent)
            if sequence.num_silent > MAX_SILENT_FRAMES:
                sequence.fail(f"it was silent for {sequence.num_silent} frames")


def next_chunk(sequence: Sequence) -> int:
    """How many frames make the next chunk; 0 if they are not there yet."""
    wanted = sequence.ramp[min(sequence.num_chunks, len(sequence.ramp) - 1)]
    if sequence.state == "finished":
        return 0 if sequence.fault else min(wanted, sequence.num_unvoiced)
    return wanted if sequence.num_unvoiced >= wanted else 0
