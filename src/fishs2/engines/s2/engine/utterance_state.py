"""An utterance inside the engine: how far it is, and what it has made. Plain values, no torch."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fishs2.engines.base import Latency, Part
from fishs2.engines.s2.model.params import Frame, GenerateParams

State = Literal["waiting", "prefilling", "decoding", "finished"]

RAMP_FRAMES = (2, 4, 8, 16)
"""Frames of the first chunk, the second and so on; a frame is 46 ms. Few at first, so that sound
comes early, then more, so that the codec is called less often. Source: performance notes 4b."""


def ramp_for(latency: Latency, ramp: tuple[int, ...] = RAMP_FRAMES) -> tuple[int, ...]:
    """The chunks of an utterance; `ramp` is the balanced one."""
    match latency:
        case "low":
            return (max(1, ramp[0] // 2), *ramp)
        case "balanced":
            return ramp
        case "normal":
            return ramp[1:] or ramp


@dataclass(slots=True, eq=False)
class UtteranceState:
    """One utterance.

    prompt: int32 [1 + K, T]; its first `num_prefix` columns show the voice and are the same for
    every utterance of that voice. max_frames: at most so many. part: of which speech. ramp: frames
    of its chunks. runaway_frames: it has run away by then; None lets it. All these are said once.

    Written by `Scheduler` alone: state. slot: its row in all caches while it has one.
    num_prefilled: columns of the prompt that are in the cache. frames: what was drawn. fault: why
    it is not speech; "" if it is.

    Written by `Vocoder` alone: num_voiced: frames whose samples were made, in `num_chunks` chunks,
    of which `num_pending` are still on their way; the last `num_silent` of those that came are
    silent.
    """

    prompt: NDArray[np.int32]
    num_prefix: int
    params: GenerateParams
    max_frames: int
    part: Part | None = None
    ramp: tuple[int, ...] = RAMP_FRAMES
    runaway_frames: int | None = None
    state: State = "waiting"
    slot: int = -1
    num_prefilled: int = 0
    frames: list[Frame] = field(default_factory=list)
    fault: str = ""
    num_voiced: int = 0
    num_chunks: int = 0
    num_pending: int = 0
    num_silent: int = 0

    @property
    def num_prompt(self) -> int:
        return int(self.prompt.shape[1])

    @property
    def num_unvoiced(self) -> int:
        return len(self.frames) - self.num_voiced

    @property
    def is_spoken(self) -> bool:
        """Nothing more will be heard of it."""
        is_left = self.num_unvoiced > 0 or self.num_pending > 0
        return self.state == "finished" and (bool(self.fault) or not is_left)

    def fail(self, fault: str) -> None:
        """It is no speech, and ends here."""
        self.fault = fault
        self.state = "finished"
