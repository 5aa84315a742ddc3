"""Silence that is set into sound that is complete: exact to the sample, whatever made the sound."""

from collections import deque
from collections.abc import Iterator

import numpy as np

from fishs2.audio.pcm import Pcm


class Rests:
    """Sets rests into one stream. Positions and lengths are in samples of the stream."""

    def __init__(self) -> None:
        # Bounded by the pauses that a request may have.
        self._due: deque[tuple[int, int]] = deque()
        self._num_given = 0

    def add(self, at: int, num_samples: int) -> None:
        """A rest behind the first `at` samples that come, rests not counted; in order."""
        self._due.append((at, num_samples))

    def follow(self, pcm: Pcm) -> Iterator[Pcm]:
        """Give float32 [n] more of the stream with the rests that are due in it, and behind it."""
        while self._due and self._due[0][0] <= self._num_given + len(pcm):
            at, num_samples = self._due.popleft()
            # Effects may have made a sample less than was thought.
            num_before = max(0, at - self._num_given)
            if num_before:
                yield pcm[:num_before]
            yield np.zeros(num_samples, np.float32)
            pcm = pcm[num_before:]
            self._num_given += num_before
        self._num_given += len(pcm)
        if len(pcm):
            yield pcm

    def end(self) -> Iterator[Pcm]:
        """Give those that are left, when the stream has ended."""
        while self._due:
            _, num_samples = self._due.popleft()
            yield np.zeros(num_samples, np.float32)
