"""Fakes with behaviour. `FakeEngine` passes the same tests as the real engines.

See tests/engines/test_conformance.py for those tests.
"""

import asyncio
import functools
import zlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import numpy as np

from fishs2.engines.base import AudioChunk, Capabilities, Pcm, Utterance
from fishs2.errors import (
    EngineError,
    EngineLostError,
    EngineUnavailableError,
    NotFoundError,
    RunawaySpeechError,
    UserError,
)

CHARS_PER_S = 15.0
"""Speaking rate of the fake: audio seconds are characters over this."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the fake takes. 0 everywhere: it answers at once.

    first_audio_s: before the first chunk. rtf: compute time over audio time, after it.
    chunk_s: audio per chunk.
    """

    first_audio_s: float = 0.0
    rtf: float = 0.0
    chunk_s: float = 0.25


class FakeEngine:
    """Speaks a sine whose frequency is a function of the text, and records what it was asked.

    fail_after_chunks: raise EngineError after so many chunks of every utterance. num_runaways,
    num_losses: the first so many utterances run away, or are lost, after a chunk. num_silent: the
    first so many are silence, and so are the silent_texts.
    """

    def __init__(
        self,
        *,
        timing: Timing | None = None,
        capabilities: Capabilities | None = None,
        num_turns: int = 4,
        speaks_tags: bool = False,
        fail_after_chunks: int | None = None,
        num_runaways: int = 0,
        num_losses: int = 0,
        num_silent: int = 0,
        silent_texts: tuple[str, ...] = (),
        start_error: str | None = None,
    ) -> None:
        self.timing = timing or Timing()
        self._capabilities = capabilities or Capabilities(
            name="fake",
            backend="cpu",
            sample_rate_hz=24_000,
            num_turns=num_turns,
            max_utterance_chars=200,
            voices=("fake", "other"),
            speaks_tags=speaks_tags,
        )
        self.fail_after_chunks = fail_after_chunks
        self._num_runaways = num_runaways
        self._num_losses = num_losses
        self._num_silent = num_silent
        self._silent_texts = silent_texts
        self._start_error = start_error
        self.utterances: list[Utterance] = []
        self.ended_speeches: list[str] = []
        self.num_active = 0
        self.num_finished = 0
        self.num_aborted = 0
        self.gate = asyncio.Event()
        """While clear, utterances stop after their first chunk."""
        self.gate.set()

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def start(self) -> None:
        if self._start_error is not None:
            raise EngineUnavailableError(self._start_error)

    def find_voice(self, voice: str | None, language: str | None) -> str:
        if language not in (None, "en", "de"):
            raise UserError("no such language", code="unsupported_language", param="language")
        if voice is not None and voice.lower() not in self._capabilities.voices:
            raise NotFoundError("no such voice", code="voice_not_found", param="voice")
        return (voice or self._capabilities.voices[0]).lower()

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        self.utterances.append(utterance)
        number = len(self.utterances)
        self.num_active += 1
        is_finished = False
        try:
            await asyncio.sleep(self.timing.first_audio_s)
            pcm = fake_speech(utterance.text, self._capabilities.sample_rate_hz)
            if number <= self._num_silent or utterance.text in self._silent_texts:
                pcm = np.zeros_like(pcm)
            chunk_len = max(1, round(self.timing.chunk_s * self._capabilities.sample_rate_hz))
            for index, start in enumerate(range(0, len(pcm), chunk_len)):
                if index == self.fail_after_chunks:
                    raise EngineError("the fake engine was told to fail")
                if index > 0:
                    await self.gate.wait()
                await asyncio.sleep(self.timing.rtf * self.timing.chunk_s)
                yield AudioChunk(pcm[start : start + chunk_len], self._capabilities.sample_rate_hz)
                if number <= self._num_runaways:
                    await self.gate.wait()
                    raise RunawaySpeechError("the fake engine was told to run away")
                if number <= self._num_losses:
                    await self.gate.wait()
                    raise EngineLostError("the fake engine was told to be lost")
            is_finished = True
        finally:
            self.num_active -= 1
            self.num_finished += is_finished
            self.num_aborted += not is_finished

    def end_speech(self, speech: str) -> None:
        self.ended_speeches.append(speech)

    def stats(self) -> None:
        """It counts nothing."""

    async def close(self) -> None:
        pass


def fake_frequency_hz(text: str) -> float:
    """The frequency of the sine that stands for `text`: 200 to 1,000 Hz."""
    return 200.0 + zlib.crc32(text.encode()) % 800


@functools.lru_cache(maxsize=64)
def fake_speech(text: str, sample_rate_hz: int) -> Pcm:
    """The whole speech of `text`, float32 [n]."""
    seconds = np.arange(round(len(text) / CHARS_PER_S * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * fake_frequency_hz(text) * seconds)).astype(np.float32)
