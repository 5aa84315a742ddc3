"""Frames to samples, for many sequences at once. Engine thread only.

Every slot has its own state in one set of tensors. A chunk is two frames at first, so that the
first sound comes early, then more, so that the codec is called less often. Sequences whose chunks
have the same length are decoded together.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from fishs2.engines.base import Pcm
from fishs2.engines.s2.codec import Codec, decode_step
from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.streaming import new_state, put_rows, reset_rows, take_rows

RAMP_FRAMES = (2, 4, 8, 16)
"""Source: performance notes 4b. A frame is 46 ms."""


class Vocoder:
    """Streaming states of `num_slots` sequences."""

    def __init__(self, codec: Codec, *, num_slots: int) -> None:
        self._codec = codec
        self._state = new_state(codec.decoder, num_slots, codec.device)
        # On a CPU a batch saves nothing, and alone a row sounds the same to the last bit.
        self._max_rows = 1 if codec.device.type == "cpu" else num_slots

    def begin(self, slot: int) -> None:
        """Start a slot anew."""
        reset_rows(self._state, slot)

    def collect(self, sequences: Iterable[Sequence]) -> Iterator[tuple[Sequence, Pcm]]:
        """Yield float32 samples of those sequences that have a chunk's worth of frames."""
        by_length: dict[int, list[Sequence]] = {}
        for sequence in sequences:
            num_frames = next_chunk(sequence)
            if num_frames:
                by_length.setdefault(num_frames, []).append(sequence)
        for num_frames, alike in by_length.items():
            for start in range(0, len(alike), self._max_rows):
                together = alike[start : start + self._max_rows]
                yield from zip(together, self._decode(together, num_frames), strict=True)

    def forget(self, sequence: Sequence) -> None:
        """Nothing is on its way here."""

    def _decode(self, sequences: list[Sequence], num_frames: int) -> list[Pcm]:
        codes = next_codes(sequences, num_frames)
        slots = torch.tensor([each.slot for each in sequences], device=self._codec.device)
        state = take_rows(self._state, slots)
        frames = torch.from_numpy(codes).to(self._codec.device)
        samples = decode_step(self._codec, frames, state).cpu().numpy()
        put_rows(self._state, slots, state)
        for each in sequences:
            each.num_voiced += num_frames
            each.num_chunks += 1
        return list(samples)


def next_codes(sequences: list[Sequence], num_frames: int) -> NDArray[np.int64]:
    """Codes that have no samples yet: int64 [B, K, num_frames]."""
    ranges = [each.frames[each.num_voiced : each.num_voiced + num_frames] for each in sequences]
    return np.stack([np.stack(each, axis=1)[1:] for each in ranges]).astype(np.int64)


def next_chunk(sequence: Sequence) -> int:
    """How many frames make the next chunk; 0 if they are not there yet."""
    wanted = RAMP_FRAMES[min(sequence.num_chunks, len(RAMP_FRAMES) - 1)]
    if sequence.state == "finished":
        return min(wanted, sequence.num_unvoiced)
    return wanted if sequence.num_unvoiced >= wanted else 0
