"""What became of one speech: kept while it is spoken, read by who sends it and who counts it."""

import logging
import time
from dataclasses import dataclass, field
from typing import Literal

from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.verify import Verdict, verify_header
from fishs2.store.accounts.usage import Outcome

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class SpeechReport:
    """What became of one speech of a request; `performance` writes it while it speaks.

    is_live: the text came while it was spoken, so that the time it took says nothing about the
    engine. num_chars, num_utterances: of its text, as far as it was known at the end.
    utterance_chars: of each utterance that the engine was given. num_begun, num_spoken: utterances
    that sounded, and that are complete. num_rerolls: how often one was spoken again. times_s: where
    in the sound each of them begins and ends, so far. verdicts: of those that were heard again,
    where the request asks for it. unread_s: sound that whoever listens was sent and has not taken,
    as far as whoever sends it knows. Other times are since `started_s`; seconds: how long it took,
    once it has ended.
    """

    request: SpeechRequest
    is_live: bool = False
    started_s: float = field(default_factory=time.perf_counter)
    first_audio_s: float | None = None
    audio_s: float = 0.0
    num_chars: int = 0
    num_utterances: int = 0
    utterance_chars: list[int] = field(default_factory=list)
    num_begun: int = 0
    num_spoken: int = 0
    num_rerolls: int = 0
    times_s: list[tuple[float, float]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    outcome: Literal["running", "finished", "aborted", "failed"] = "running"
    seconds: float = 0.0
    unread_s: float = 0.0
    _now_s: float = 0.0

    def note_first_audio(self) -> None:
        """Keep the time of the first call."""
        if self.first_audio_s is None:
            self.first_audio_s = time.perf_counter() - self.started_s

    def sound_in_hand_s(self) -> float:
        """How much sound there is that nobody can have heard who began to listen at once.

        Or that was not even taken.
        """
        if self.first_audio_s is None:
            return 0.0
        heard_s = time.perf_counter() - self.started_s - self.first_audio_s
        return max(self.unread_s, self.audio_s - heard_s)

    def note_pcm(self, seconds: float) -> None:
        """Keep when it sounds; to be told of all pieces of sound, in order, pauses included."""
        start_s = self._now_s
        self._now_s += seconds
        if self.num_begun > self.num_spoken:
            # Those that had no sound lie between their neighbours.
            missing = self.num_begun - len(self.times_s)
            self.times_s += [(start_s, start_s)] * missing
            self.times_s[-1] = (self.times_s[-1][0], self._now_s)

    def note_rest(self, seconds: float) -> None:
        """The same of silence that is no part of an utterance."""
        self._now_s += seconds

    def cost(self) -> Outcome:
        """What it is charged: all of its text; aborted, the utterances that had begun; failed, or
        never begun, nothing.
        """
        if self.outcome == "finished":
            return Outcome(self.num_chars, self.audio_s)
        if self.outcome == "aborted":
            begun = sum(self.utterance_chars[: self.num_begun])
            return Outcome(min(begun, self.num_chars), self.audio_s)
        return Outcome(0, self.audio_s, is_error=True)

    def log(self) -> None:
        """Say how it ended: ids, counts and times, never the text."""
        is_timed = self.audio_s > 0 and not self.is_live
        logger.info(
            "speech",
            extra={
                "request_id": self.request.request_id,
                "outcome": self.outcome,
                "characters": self.num_chars,
                "utterances": self.num_utterances,
                "format": self.request.format,
                "audio_s": round(self.audio_s, 3),
                "first_audio_ms": round(1000 * self.first_audio_s) if self.first_audio_s else None,
                "rtf": round(self.seconds / self.audio_s, 4) if is_timed else None,
                "rerolls": self.num_rerolls or None,
                "verify": verify_header(self.verdicts) if self.verdicts else None,
            },
        )
