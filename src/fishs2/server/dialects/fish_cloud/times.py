"""When each part of a text sounds, as Fish Audio's timestamps say it, and the events that carry it.

A part is an utterance; its times are those of the sound that was really made, in the audio that is
sent. Parts are grouped in chunks; each event describes the chunk that sounds, with a snapshot that
replaces the one before. Source: Fish Audio API reference, text to speech with timestamps.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fishs2.server.dialects.fish_cloud.errors import fish_message
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.streaming import packed_json
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.service import Spoken

_CHUNK_PARTS = 16
"""Parts in one chunk: each event repeats all of a chunk that is known, so it cannot be the book."""


@dataclass(frozen=True, slots=True)
class Times:
    """Where the audio of an event belongs. Times in seconds; those in segments are of the chunk."""

    content: str
    alignment: dict[str, object]
    chunk_seq: int
    chunk_audio_offset_sec: float


class Timeline:
    """Puts `Times` to the audio of one speech.

    sources: the text of each part so far, which may grow. report: of the same speech.
    """

    def __init__(self, sources: Callable[[], Sequence[str]], report: SpeechReport) -> None:
        self._sources = sources
        self._report = report
        self._chunk = 0

    def place(self, audio: bytes) -> Iterator[tuple[bytes, Times]]:
        """Yield the audio with its times; before it the final times of a chunk that has ended."""
        chunk = max(0, len(self._report.times_s) - 1) // _CHUNK_PARTS
        while self._chunk < chunk:
            yield b"", self._times()
            self._chunk += 1
        yield audio, self._times()

    def end(self) -> Iterator[tuple[bytes, Times]]:
        """Yield the final times, once all has been spoken."""
        times_s = self._report.times_s
        # What had no sound at the end of the text.
        end_s = times_s[-1][1] if times_s else 0.0
        times_s += [(end_s, end_s)] * (len(self._sources()) - len(times_s))
        yield from self.place(b"")

    def _times(self) -> Times:
        first = self._chunk * _CHUNK_PARTS
        times_s = self._report.times_s[first : first + _CHUNK_PARTS]
        texts = self._sources()[first : first + _CHUNK_PARTS]
        offset_s = times_s[0][0] if times_s else 0.0
        segments = [
            {"text": text, "start": _rounded(start - offset_s), "end": _rounded(end - offset_s)}
            for text, (start, end) in zip(texts, times_s, strict=False)
        ]
        duration_s = times_s[-1][1] - offset_s if times_s else 0.0
        return Times(
            content="".join(texts),
            alignment={"segments": segments, "audio_duration": _rounded(duration_s)},
            chunk_seq=self._chunk,
            chunk_audio_offset_sec=_rounded(offset_s),
        )


class TimedEvents:
    """Server-sent events of speech: one per piece of audio, five keys each."""

    def __init__(self, spoken: Spoken) -> None:
        sources = spoken.script.sources
        self._timeline = Timeline(lambda: sources, spoken.report)

    def audio(self, piece: bytes) -> bytes:
        """The events of a piece of audio."""
        return b"".join(_event(*placed) for placed in self._timeline.place(piece))

    def end(self) -> bytes:
        """What follows the last audio."""
        return b"".join(_event(*placed) for placed in self._timeline.end())

    def error(self, problem: Problem) -> bytes:
        """What is said when it breaks off."""
        failed = {"status": int(problem.status), "message": fish_message(problem)}
        return b"event: error\ndata: " + packed_json(failed) + b"\n\n"


def _event(audio: bytes, times: Times) -> bytes:
    content = {
        "audio_base64": base64.b64encode(audio).decode("ascii"),
        "content": times.content,
        "alignment": times.alignment,
        "chunk_seq": times.chunk_seq,
        "chunk_audio_offset_sec": times.chunk_audio_offset_sec,
    }
    return b"data: " + packed_json(content) + b"\n\n"


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
