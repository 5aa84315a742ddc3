"""What became of one speech: kept while it is spoken, read by who sends it and who counts it."""

import time
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True)
class SpeechReport:
    """What became of one plan; written by the service while it speaks.

    num_begun, num_spoken: utterances that sounded, and that are complete. num_rerolls: how often
    one was spoken again. times_s: where in the sound each of them begins and ends, so far. Other
    times are since `started_s`. is_live: the text came while it was spoken, so that the time it
    took says nothing about the engine.
    """

    is_live: bool = False
    started_s: float = field(default_factory=time.perf_counter)
    first_audio_s: float | None = None
    audio_s: float = 0.0
    num_begun: int = 0
    num_spoken: int = 0
    num_rerolls: int = 0
    times_s: list[tuple[float, float]] = field(default_factory=list)
    outcome: Literal["running", "finished", "aborted", "failed"] = "running"
    _now_s: float = 0.0

    def note_first_audio(self) -> None:
        """Keep the time of the first call."""
        if self.first_audio_s is None:
            self.first_audio_s = time.perf_counter() - self.started_s

    def note_pcm(self, seconds: float) -> None:
        """Keep when it sounds; to be told of all pieces of sound, in order, pauses included."""
        start_s = self._now_s
        self._now_s += seconds
        if self.num_begun > self.num_spoken:
            # Those that had no sound lie between their neighbours.
            missing = self.num_begun - len(self.times_s)
            self.times_s += [(start_s, start_s)] * missing
            self.times_s[-1] = (self.times_s[-1][0], self._now_s)
