"""An utterance inside the engine: how far it is, and what it has made. Plain values, no torch."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fishs2.engines.s2.params import GenerateParams

Frame = NDArray[np.int32]
"""int32 [1 + K]: a token id and the codes that belong to it."""

State = Literal["waiting", "prefilling", "decoding", "finished"]


@dataclass(slots=True, eq=False)
class Sequence:
    """One utterance.

    prompt: int32 [1 + K, T]; its first `num_prefix` columns show the voice and are the same for
    every utterance of that voice. max_frames: at most so many. slot: its row in all caches while it
    has one. num_prefilled: columns of the prompt that are in the cache. frames: what was drawn.
    num_voiced: frames whose samples were made, in `num_chunks` chunks, of which `num_pending` are
    still on their way.
    """

    prompt: NDArray[np.int32]
    num_prefix: int
    params: GenerateParams
    max_frames: int
    state: State = "waiting"
    slot: int = -1
    num_prefilled: int = 0
    frames: list[Frame] = field(default_factory=list)
    num_voiced: int = 0
    num_chunks: int = 0
    num_pending: int = 0

    @property
    def num_prompt(self) -> int:
        return int(self.prompt.shape[1])

    @property
    def num_unvoiced(self) -> int:
        return len(self.frames) - self.num_voiced
