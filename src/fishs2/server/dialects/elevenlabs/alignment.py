"""When each character sounds, as ElevenLabs tells it: from the times of words.

    Hello, "world"
    wwwww..wwwwwww     w: spread evenly over its word    .: no time, at the end of the word before

A mark that no space parts from the word after it, as an opening quote, begins with that word. Every
character of the text is told once, in order, and no time is before the last.
"""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

from fishs2.server.edge.streaming import packed_json
from fishs2.service.speech.service import Spoken
from fishs2.service.speech.timing.times import SpeechTimes, Timed
from fishs2.text.words import find_words

_NEAR_CHARS = 200
"""How far after a word the next one is looked for; what is between them may come later, too."""

_LAST_MARKS = re.compile(r"(?<=\s)\S+$")

_AUDIO = "audio_base64"

_FRAME_CHARS = 500
"""Of an alignment in a frame, so that it stays below 64 KiB, however a character is written."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Some characters of a text. starts_s, ends_s: of each, in seconds of the answer's audio."""

    chars: list[str] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)


class FrameAlignment(TypedDict):
    """Characters in a frame; the three lists are as long as each other."""

    chars: list[str]
    charStartTimesMs: list[int]
    charDurationsMs: list[int]


class Text(Protocol):
    """The text of a speech, which may grow."""

    @property
    def sources(self) -> Sequence[str]:
        """Joined, all that is known of it."""
        ...

    def source(self, start: int, end: int) -> str:
        """A part of it."""
        ...


class CharacterTimes:
    """Tells the characters of one speech, as its words become known."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._num_words = 0
        self._at = 0
        self._end_s = 0.0

    def take(self, words: Sequence[Timed]) -> Alignment:
        """What is new. words: all that are known."""
        told = Alignment()
        fresh = words[self._num_words :]
        self._num_words = len(words)
        for word in fresh:
            self._add_word(told, word)
        if fresh:
            after = self._text.source(self._at, self._at + _NEAR_CHARS)
            next_word = next(find_words(after), (len(after), len(after)))
            self._add_gap(told, _behind(after[: next_word[0]]))
        return told

    def finish(self, words: Sequence[Timed]) -> Alignment:
        """What is left, to the end of the text. words: all there are."""
        told = self.take(words)
        self._add_gap(told, "".join(self._text.sources)[self._at :])
        return told

    def _add_word(self, told: Alignment, word: Timed) -> None:
        start = max(self._at, word.char_start)
        text = self._text.source(self._at, max(start, word.char_end))
        gap, chars = text[: start - self._at], text[start - self._at :]
        behind = _behind(gap)
        self._add_gap(told, behind)
        start_s = max(self._end_s, word.start_s)
        end_s = max(start_s, word.end_s)
        self._end_s = start_s
        self._add_gap(told, gap[len(behind) :])
        step_s = (end_s - start_s) / max(1, len(chars))
        borders = [*(start_s + step_s * index for index in range(len(chars))), end_s]
        told.chars.extend(chars)
        told.starts_s.extend(borders[:-1])
        told.ends_s.extend(borders[1:])
        self._at += len(chars)
        self._end_s = end_s

    def _add_gap(self, told: Alignment, text: str) -> None:
        told.chars.extend(text)
        told.starts_s.extend([self._end_s] * len(text))
        told.ends_s.extend([self._end_s] * len(text))
        self._at += len(text)


@asynccontextmanager
async def telling(
    spoken: Spoken, tell: Callable[[FrameAlignment], Awaitable[None]], *, is_absolute: bool
) -> AsyncIterator[None]:
    """In this block tell when characters sound, as it becomes known; all of it by its end.

    is_absolute: as `in_ms` has it. Nothing is told of a speech that asks for no times, nor to the
    end of one that breaks off. Raises what `tell` raises.
    """
    times = spoken.times
    if times is None:
        yield
        return
    work = asyncio.create_task(_tell_all(times, CharacterTimes(spoken.script), tell, is_absolute))
    try:
        yield
        await times.finish()
        await work
    finally:
        work.cancel()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # Raised already, or by what else was sent to the same client.


async def _tell_all(
    times: SpeechTimes,
    characters: CharacterTimes,
    tell: Callable[[FrameAlignment], Awaitable[None]],
    is_absolute: bool,
) -> None:
    since_ms, is_complete = 0, False
    while not is_complete:
        await times.wait()
        is_complete = times.is_complete
        fresh = characters.finish(times.words) if is_complete else characters.take(times.words)
        for part in in_ms(fresh, is_absolute=is_absolute, since_ms=since_ms):
            await tell(part)
        if fresh.chars:
            since_ms = round(fresh.ends_s[-1] * 1000)


def beside_audio(spoken: Spoken) -> tuple[dict[str, object], str]:
    """What an answer has beside the audio of a whole speech, and the name of that."""
    times = spoken.times
    assert times is not None
    told = _told(CharacterTimes(spoken.script).finish(times.words))
    return told, _AUDIO


class AlignedLines:
    """Lines of JSON: pieces of audio, and when the characters sound that are known since the last.

    Source: ElevenLabs API reference, stream speech with timing.
    """

    def __init__(self, spoken: Spoken) -> None:
        assert spoken.times is not None
        self._times = spoken.times
        self._characters = CharacterTimes(spoken.script)

    def audio(self, piece: bytes) -> bytes:
        return _line(piece, self._characters.take(self._times.words))

    def end(self) -> bytes:
        return _line(b"", self._characters.finish(self._times.words))


def _line(piece: bytes, alignment: Alignment) -> bytes:
    audio = base64.b64encode(piece).decode("ascii")
    return packed_json({_AUDIO: audio, **_told(alignment)}) + b"\n"


def _told(alignment: Alignment) -> dict[str, object]:
    told = in_seconds(alignment)
    return {"alignment": told, "normalized_alignment": told}


def in_seconds(alignment: Alignment) -> dict[str, object] | None:
    """As answers over HTTP have it; None if there is nothing to tell."""
    if not alignment.chars:
        return None
    return {
        "characters": alignment.chars,
        "character_start_times_seconds": [round(each, 3) for each in alignment.starts_s],
        "character_end_times_seconds": [round(each, 3) for each in alignment.ends_s],
    }


def in_ms(
    alignment: Alignment, *, is_absolute: bool, since_ms: int = 0
) -> Iterator[FrameAlignment]:
    """As frames have it, in parts that are small enough.

    is_absolute: times are of the speech; else each part's begin where the last one ended, the first
    one's at `since_ms`.
    """
    starts = [round(each * 1000) for each in alignment.starts_s]
    ends = [round(each * 1000) for each in alignment.ends_s]
    for first in range(0, len(starts), _FRAME_CHARS):
        part = slice(first, first + _FRAME_CHARS)
        zero_ms = 0 if is_absolute else since_ms
        yield {
            "chars": alignment.chars[part],
            "charStartTimesMs": [start - zero_ms for start in starts[part]],
            "charDurationsMs": [e - s for s, e in zip(starts[part], ends[part], strict=True)],
        }
        since_ms = ends[part][-1]


def _behind(gap: str) -> str:
    """The part between two words that follows the first: to its last space, or all of it."""
    marks = _LAST_MARKS.search(gap)
    return gap[: marks.start()] if marks else gap
