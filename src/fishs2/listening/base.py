"""The seam: who listens, what is asked of it, and what it has heard. No model, no process."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

LISTEN_RATE_HZ = 16_000
"""The sample rate that a listener takes. Source: Whisper, section 2.2."""

Task = Literal["transcribe", "translate"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a listener.

    language: a code of `languages`; None lets it find out. prompt: what may have been said before,
    whose spelling it follows. temperature: 0 takes the likeliest words, and freer ones where those
    make no sense. translate: into English.
    """

    language: str | None = None
    prompt: str = ""
    temperature: float = 0.0
    task: Task = "transcribe"
    with_words: bool = False


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word, with the space and the punctuation that belong to it. Seconds from the beginning.

    probability: how sure the listener is, 0..1.
    """

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A phrase or a sentence. Seconds from the beginning of the recording.

    tokens, temperature, avg_logprob, compression_ratio, no_speech_prob: as Whisper has them.
    words: none unless asked for.
    """

    text: str
    start_s: float
    end_s: float
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0
    words: tuple[HeardWord, ...] = ()


@dataclass(frozen=True, slots=True)
class Tongue:
    """Which language is spoken: a code of `languages`, and how sure that is, 0..1."""

    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class Heard:
    """All that was heard of a recording. seconds: how long it is."""

    tongue: Tongue
    seconds: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """What was said, as one text."""
        return join_texts([segment.text for segment in self.segments])

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)


def join_texts(texts: Sequence[str]) -> str:
    """The texts of segments as one: each brings the space before it, where its language has one."""
    return "".join(texts).strip()


class Listener(Protocol):
    """Hears recordings, one at a time; whoever asks meanwhile waits."""

    @property
    def model(self) -> str:
        """What it hears with, for people."""
        ...

    def check(self) -> None:
        """Raise ListenerMissingError where it cannot listen: it, or its model, is not here."""
        ...

    def listen(
        self, pcm: NDArray[np.float32], wish: Wish
    ) -> AsyncGenerator[Tongue | Segment, None]:
        """Yield the language, then the segments, as they are heard.

        pcm: float32 mono [n] at LISTEN_RATE_HZ. Closing the generator ends the work. Raises
        ListenerMissingError, UserError for what it cannot do, BusyError, EngineUnavailableError.
        """
        ...

    async def close(self) -> None:
        """End what it runs; the next call begins it anew."""
        ...


async def hear(listener: Listener, pcm: NDArray[np.float32], wish: Wish) -> Heard:
    """Listen to the end. Raises what `Listener.listen` raises."""
    tongue = Tongue(wish.language or "en", 0.0)
    segments: list[Segment] = []
    async with aclosing(listener.listen(pcm, wish)) as parts:
        async for part in parts:
            if isinstance(part, Tongue):
                tongue = part
            else:
                segments.append(part)
    return Heard(tongue, len(pcm) / LISTEN_RATE_HZ, tuple(segments))
