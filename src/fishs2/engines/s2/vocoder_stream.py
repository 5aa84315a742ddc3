"""Frames to samples on a card, beside the ARs: launched in one step, given out in a later one.

The same chunks as `vocoder.Vocoder` makes; only nobody waits for them. Engine thread only.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from fishs2.engines.base import Pcm
from fishs2.engines.s2.device_stream import Chunk, CodecStream
from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.vocoder import next_chunk, next_codes


class StreamVocoder:
    """Chunks on their way. `Sequence.num_pending` counts those of a sequence."""

    def __init__(self, stream: CodecStream) -> None:
        self._stream = stream
        # Bounded by the steps that a chunk takes: each adds at most one per sequence.
        self._on_their_way: deque[tuple[list[Sequence], Chunk]] = deque()

    def begin(self, slot: int) -> None:
        """Start a slot anew."""
        self._stream.begin(slot)

    def collect(self, sequences: Iterable[Sequence]) -> Iterator[tuple[Sequence, Pcm]]:
        """Launch what is due; yield the float32 samples that have become ready since.

        sequences: those that got a frame. Waits for the device only if there are none.
        """
        by_length: dict[int, list[Sequence]] = {}
        is_idle = True
        for sequence in sequences:
            is_idle = False
            num_frames = next_chunk(sequence)
            if num_frames:
                by_length.setdefault(num_frames, []).append(sequence)
        for num_frames, alike in by_length.items():
            most = self._stream.max_rows(num_frames)
            for start in range(0, len(alike), most):
                self._launch(alike[start : start + most], num_frames)
        while self._on_their_way and (is_idle or self._on_their_way[0][1].is_there):
            is_idle = False
            yield from self._take(*self._on_their_way.popleft())

    def forget(self, sequence: Sequence) -> None:
        """Drop what is on its way for a sequence."""
        sequence.num_pending = 0

    def _launch(self, sequences: list[Sequence], num_frames: int) -> None:
        codes = next_codes(sequences, num_frames)
        chunk = self._stream.launch([each.slot for each in sequences], codes)
        self._on_their_way.append((sequences, chunk))
        for each in sequences:
            each.num_voiced += num_frames
            each.num_chunks += 1
            each.num_pending += 1

    def _take(self, sequences: list[Sequence], chunk: Chunk) -> Iterator[tuple[Sequence, Pcm]]:
        for sequence, pcm in zip(sequences, chunk.take(), strict=True):
            if sequence.num_pending:  # nobody wants it otherwise
                sequence.num_pending -= 1
                yield sequence, pcm
