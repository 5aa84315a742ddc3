"""OpenAI's server-sent events of speech. Source: OpenAI API reference, speech streaming events."""

import base64
import math

from fishs2.server.edge.errors import Problem
from fishs2.server.edge.streaming import packed_json
from fishs2.server.edge.timed import TimesTold, tell_captions
from fishs2.service.speech.service import Spoken
from fishs2.service.speech.verify import summarise

_FRAMES_PER_S = 44_100 / 2_048
"""Frames of S2 Pro per second of audio, the unit in which `usage` counts output tokens."""


class OpenAiEvents:
    """One per piece of audio, then one that ends them, with the usage."""

    def __init__(self, spoken: Spoken) -> None:
        self._spoken = spoken
        self._times = TimesTold(spoken)

    def audio(self, piece: bytes) -> bytes:
        audio = base64.b64encode(piece).decode("ascii")
        return self._fresh_times() + _event({"type": "speech.audio.delta", "audio": audio})

    def end(self) -> bytes:
        num_in = self._spoken.script.num_chars
        num_out = math.ceil(self._spoken.report.audio_s * _FRAMES_PER_S)
        usage = {
            "input_tokens": num_in,
            "output_tokens": num_out,
            "total_tokens": num_in + num_out,
        }
        done = _event({"type": "speech.audio.done", "usage": usage})
        if (captions := tell_captions(self._spoken)) is not None:
            done = _event({"type": "speech.captions", "captions": captions}) + done
        done = self._fresh_times() + done
        if not self._spoken.report.verdicts:
            return done
        verdict = summarise(self._spoken.report.verdicts)
        return _event({"type": "speech.verify", **verdict}) + done

    def _fresh_times(self) -> bytes:
        """The words that have sounded since the last event."""
        fresh = self._times.fresh()
        return _event({"type": "speech.times", **fresh}) if fresh else b""

    def error(self, problem: Problem) -> bytes:
        failed = {"message": problem.message, "code": problem.code}
        return _event({"type": "speech.audio.error", "error": failed})


def _event(content: dict[str, object]) -> bytes:
    return b"data: " + packed_json(content) + b"\n\n"
