"""Listeners with behaviour. `FakeListener` passes the same tests as the real one.

See tests/listening/test_conformance.py for those tests.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import numpy as np
from numpy.typing import NDArray

from fishs2.errors import ListenerMissingError, ListeningError
from fishs2.listening.base import LISTEN_RATE_HZ, HeardWord, Segment, Tongue, Wish

WORDS_PER_SEGMENT = 5


class FakeListener:
    """Hears the next of `texts`, the last for ever, evenly spread over the sound.

    It records what it was asked. fails: every recording is one that it cannot hear.
    """

    def __init__(
        self,
        *texts: str,
        language: str = "en",
        fails: bool = False,
        missing: str | None = None,
    ) -> None:
        """missing: the code of what is not installed."""
        self.texts: Sequence[str] = texts or ("Hello there.",)
        self.language = language
        self.fails = fails
        self.missing = missing
        self.wishes: list[Wish] = []
        self.seconds: list[float] = []
        self.num_active = 0
        self.most_active = 0
        self.is_closed = False
        self.gate = asyncio.Event()
        """While clear, it stops after the language."""
        self.gate.set()

    @property
    def model(self) -> str:
        return "fake"

    def check(self) -> None:
        if self.missing is not None:
            raise ListenerMissingError("nothing to listen with: install it", code=self.missing)

    async def listen(
        self, pcm: NDArray[np.float32], wish: Wish
    ) -> AsyncGenerator[Tongue | Segment, None]:
        self.check()
        text = self.texts[min(len(self.wishes), len(self.texts) - 1)]
        self.wishes.append(wish)
        self.seconds.append(len(pcm) / LISTEN_RATE_HZ)
        self.num_active += 1
        self.most_active = max(self.most_active, self.num_active)
        try:
            yield Tongue(wish.language or self.language, 0.9)
            await self.gate.wait()
            if self.fails:
                raise ListeningError("the recording could not be heard: it was told to fail")
            for segment in spread_text(text, len(pcm) / LISTEN_RATE_HZ, with_words=wish.with_words):
                yield segment
        finally:
            self.num_active -= 1

    async def close(self) -> None:
        self.is_closed = True


class AbsentListener(FakeListener):
    """One that is not installed."""

    def __init__(self) -> None:
        super().__init__(missing="asr_not_installed")


def spread_text(text: str, seconds: float, *, with_words: bool) -> list[Segment]:
    """Segments of a few words each, every word as long as any other."""
    words = text.split()
    each_s = seconds / max(1, len(words))
    heard = [
        HeardWord(f" {word}", round(i * each_s, 3), round((i + 1) * each_s, 3), 0.8)
        for i, word in enumerate(words)
    ]
    groups = [heard[i : i + WORDS_PER_SEGMENT] for i in range(0, len(heard), WORDS_PER_SEGMENT)]
    return [
        Segment(
            "".join(word.text for word in group),
            group[0].start_s,
            group[-1].end_s,
            tokens=tuple(range(len(group))),
            words=tuple(group) if with_words else (),
        )
        for group in groups
    ]
