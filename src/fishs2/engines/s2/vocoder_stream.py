"""Frames to samples on a card, beside the ARs: launched in one step, given out in a later one.

The same chunks as `vocoder.Vocoder` makes; only nobody waits for them. Engine thread only.
"""

from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf

from fishs2.engines.base import Pcm
from fishs2.engines.s2.device_stream import Chunk, CodecStream
from fishs2.engines.s2.sequence import Sequence
from fishs2.engines.s2.speeches import Turns
from fishs2.engines.s2.vocoder import chunks_that_are_due, next_codes, watch_silence


class StreamVocoder:
    """Chunks on their way. `Sequence.num_pending` counts those of a sequence."""

    def __init__(self, stream: CodecStream, *, max_carried: int) -> None:
        """max_carried: see `Turns`."""
        self._stream = stream
        self._turns = Turns(stream, num_slots=stream.num_slots, max_carried=max_carried)
        # Bounded by the steps that a chunk takes: each adds at most one per sequence.
        self._on_their_way: deque[tuple[list[Sequence], int, Chunk]] = deque()

    @property
    def num_bytes(self) -> int:
        """Of the states of all slots."""
        return self._stream.num_bytes

    def enter(self, sequence: Sequence) -> None:
        """A sequence will come; to be followed by `leave`."""
        self._turns.enter(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Nothing more comes from a sequence; its slot is still its own."""
        self._turns.leave(sequence)
        sequence.num_pending = 0

    def collect(self, sequences: SequenceOf[Sequence]) -> Iterator[tuple[Sequence, Pcm]]:
        """Launch what is due; yield the float32 samples that have become ready since.

        sequences: all that have a slot. Waits for the device only if nothing is left to draw.
        """
        for num_frames, alike in chunks_that_are_due(sequences, self._turns).items():
            most = self._stream.max_rows(num_frames)
            for start in range(0, len(alike), most):
                self._launch(alike[start : start + most], num_frames)
        may_wait = all(each.state == "finished" for each in sequences)
        while self._on_their_way and (may_wait or self._on_their_way[0][2].is_there):
            may_wait = False
            yield from self._take(*self._on_their_way.popleft())

    def _launch(self, sequences: list[Sequence], num_frames: int) -> None:
        for each in sequences:
            self._turns.note_chunk(each, num_frames)
        codes = next_codes(sequences, num_frames)
        chunk = self._stream.launch([each.slot for each in sequences], codes)
        self._on_their_way.append((sequences, num_frames, chunk))
        for each in sequences:
            each.num_voiced += num_frames
            each.num_chunks += 1
            each.num_pending += 1

    def _take(
        self, sequences: list[Sequence], num_frames: int, chunk: Chunk
    ) -> Iterator[tuple[Sequence, Pcm]]:
        for sequence, pcm in zip(sequences, chunk.take(), strict=True):
            if sequence.num_pending:  # nobody wants it otherwise
                sequence.num_pending -= 1
                watch_silence(sequence, pcm, num_frames)
                yield sequence, pcm
