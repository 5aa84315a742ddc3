"""Hearing for whoever asks: uploads and speech of ours, one recording at a time."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import numpy as np

from fishs2.audio.decoder import Decoder
from fishs2.audio.pcm import Pcm, Resampler
from fishs2.errors import BusyError, ListenerMissingError, UserError
from fishs2.listening.base import (
    LISTEN_RATE_HZ,
    Heard,
    Listener,
    Segment,
    Tongue,
    Wish,
    hear,
)
from fishs2.listening.languages import find_language
from fishs2.service.threads import Threads

ReadAudio = Callable[[], Awaitable[bytes]]
"""Brings the bytes of a file, once it is their turn: those that wait are not in memory."""

_MAX_WAITING = 16
_MIN_S = 0.1
"""Source: OpenAI API, audio_too_short."""


class Listening:
    """What the listener is asked through. For one event loop."""

    def __init__(
        self, listener: Listener, *, max_seconds: float, decoder: Decoder | None = None
    ) -> None:
        """max_seconds: of an upload. decoder: `close` closes it."""
        self._listener = listener
        self._max_seconds = max_seconds
        self._decoder = decoder or Decoder(1)
        self._threads = Threads(1, "fishs2-listening")
        self._turn = asyncio.Lock()
        self._num_inside = 0

    @property
    def model(self) -> str:
        """What is heard with."""
        return self._listener.model

    @property
    def is_available(self) -> bool:
        """Whether there is something to listen with."""
        try:
            self._listener.check()
        except ListenerMissingError:
            return False
        return True

    def check(self) -> None:
        """Raise ListenerMissingError where there is nothing to listen with."""
        self._listener.check()

    def find_language(self, given: str) -> str:
        """The code of a language that the model hears. Raises UserError `unsupported_language`."""
        code = find_language(given)
        if code is None:
            raise UserError(
                "this language is not recognised: send a code such as en or zh, or none, to have "
                "it found out",
                code="unsupported_language",
                param="language",
            )
        if code != "en":
            self.check_other_languages()
        return code

    def check_other_languages(self) -> None:
        """Raise UserError `unsupported_language` where the model hears English only."""
        if self.model.endswith(".en"):
            raise UserError(
                f"the model {self.model} hears English only; FISHS2_ASR_MODEL names another one",
                code="unsupported_language",
                param="language",
            )

    async def transcribe(self, read: ReadAudio, wish: Wish) -> Heard:
        """Hear an upload to its end.

        Raises ListenerMissingError before anything is read, UserError `invalid_audio`,
        `audio_too_long`, `audio_too_short`, BusyError, ListeningError, ShutdownError.
        """
        self.check()
        async with self._in_turn():
            return await hear(self._listener, await self._decode(read), wish)

    async def follow(self, read: ReadAudio, wish: Wish) -> AsyncGenerator[Tongue | Segment, None]:
        """Yield what is heard of an upload as it is heard; a slow reader holds nobody up.

        Raises what `transcribe` raises, before the first item where nothing was heard yet.
        """
        self.check()
        # Unbounded on purpose: text of one recording, which has a limit.
        parts: asyncio.Queue[Tongue | Segment | None] = asyncio.Queue()

        async def listen() -> None:
            try:
                async with self._in_turn():
                    pcm = await self._decode(read)
                    async with aclosing(self._listener.listen(pcm, wish)) as heard:
                        async for part in heard:
                            parts.put_nowait(part)
            finally:
                parts.put_nowait(None)

        task = asyncio.create_task(listen())
        try:
            while (part := await parts.get()) is not None:
                yield part
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def hear(self, pcm: Pcm, rate_hz: int, wish: Wish) -> Heard:
        """Hear samples that are here already. Raises what `transcribe` raises of a listener."""
        self.check()
        async with self._in_turn():
            return await hear(self._listener, await self._resample(pcm, rate_hz), wish)

    async def close(self) -> None:
        """End what listens and what decodes; no call may be in progress."""
        await self._listener.close()
        await self._decoder.close()
        self._threads.close()

    async def _decode(self, read: ReadAudio) -> Pcm:
        decoded = await self._decoder.decode(await read(), max_seconds=self._max_seconds)
        seconds = len(decoded.pcm) / decoded.sample_rate_hz
        if seconds < _MIN_S:
            raise UserError(
                f"the audio has {seconds:.3f} seconds; at least {_MIN_S:g} are needed",
                code="audio_too_short",
                param="file",
            )
        return await self._resample(decoded.pcm, decoded.sample_rate_hz)

    async def _resample(self, pcm: Pcm, rate_hz: int) -> Pcm:
        if rate_hz == LISTEN_RATE_HZ:
            return pcm
        return await self._threads.run(lambda: resampled(pcm, rate_hz))

    @asynccontextmanager
    async def _in_turn(self) -> AsyncGenerator[None]:
        if self._num_inside > _MAX_WAITING:
            raise BusyError(
                f"{_MAX_WAITING} recordings wait to be heard already, which is the limit; send it "
                "again later",
                retry_after_s=10,
            )
        self._num_inside += 1
        try:
            async with self._turn:
                yield
        finally:
            self._num_inside -= 1


def resampled(pcm: Pcm, rate_hz: int) -> Pcm:
    """Samples as a listener takes them. Blocks."""
    resampler = Resampler(rate_hz, LISTEN_RATE_HZ)
    return np.concatenate([resampler.resample(pcm), resampler.flush()])
