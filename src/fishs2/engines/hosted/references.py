"""References between server and child: the audio of each goes over once, and is kept there.

`ReferenceBook` is the server's list of what the child has, and decides what it forgets;
`ReferenceStock` is what the child has, and does as it is told. So the two never disagree.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fishs2.engines.base import Pcm, Reference, Utterance
from fishs2.engines.hosted.messages import MAX_PIECE_BYTES, Samples
from fishs2.errors import EngineError

_MAX_BYTES = 1 << 27
"""Audio that the child keeps, unless one utterance needs more: 128 MiB are 13 minutes at 44.1 kHz,
dozens of voices. The longest reference, 90 s at 192 kHz, has 69 MB."""

_NO_PCM: Pcm = np.zeros(0, np.float32)


class ReferenceBook:
    """What one child has, least recently used first."""

    def __init__(self, max_bytes: int = _MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes: OrderedDict[str, int] = OrderedDict()

    def has(self, key: str) -> bool:
        """Whether the child has it; then it counts as used."""
        if key in self._bytes:
            self._bytes.move_to_end(key)
        return key in self._bytes

    def add(self, reference: Reference) -> None:
        """Note that it is sent."""
        self._bytes[reference.key] = reference.pcm.nbytes

    def discard(self, key: str) -> None:
        """Note that the child has it no more."""
        self._bytes.pop(key, None)

    def choose_forgotten(self, kept: frozenset[str]) -> list[str]:
        """Take out what there is no room for, but never those in `kept`; returns their keys."""
        forgotten = []
        for key in [key for key in self._bytes if key not in kept]:
            if sum(self._bytes.values()) <= self._max_bytes:
                break
            del self._bytes[key]
            forgotten.append(key)
        return forgotten


class ReferenceStock:
    """The audio that this child was sent, by key."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[Pcm]] = {}

    def add(self, samples: Samples) -> None:
        """Keep one more piece."""
        self._pieces.setdefault(samples.key, []).append(samples.pcm)

    def forget(self, key: str) -> None:
        self._pieces.pop(key, None)

    def complete(self, utterance: Utterance) -> Utterance:
        """The utterance with the audio of its references. Raises EngineError if some is missing."""
        whole = tuple(replace(each, pcm=self._join(each.key)) for each in utterance.references)
        return replace(utterance, references=whole)

    def _join(self, key: str) -> Pcm:
        pieces = self._pieces.get(key)
        if pieces is None:
            raise EngineError("the audio of a reference is missing")
        if len(pieces) > 1:
            self._pieces[key] = [np.concatenate(pieces)]
        return self._pieces[key][0]


def without_audio(utterance: Utterance) -> Utterance:
    """The utterance as it is sent, after the audio of its references."""
    bare = tuple(replace(each, pcm=_NO_PCM) for each in utterance.references)
    return replace(utterance, references=bare)


def cut_samples(reference: Reference) -> Iterator[Samples]:
    """The audio in pieces, at least one, for the messages before the utterance."""
    step = MAX_PIECE_BYTES // 4
    for start in range(0, max(1, len(reference.pcm)), step):
        yield Samples(reference.key, reference.pcm[start : start + step])
