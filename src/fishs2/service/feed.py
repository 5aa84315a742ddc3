"""One utterance, spoken ahead of whoever reads it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import SpeechEngine, Utterance
from fishs2.errors import EngineError
from fishs2.service.admission import Admission


class UtteranceFeed:
    """Runs the engine on `utterance` at once and keeps the PCM until it is read.

    The turn at the engine ends when the engine is done, however slow the reader is. `close` aborts
    what is left; whoever starts a feed closes it.
    """

    def __init__(self, engine: SpeechEngine, admission: Admission, utterance: Utterance) -> None:
        self._engine = engine
        self._admission = admission
        self._utterance = utterance
        # Need not be bounded: it holds one utterance, whose text is bounded.
        self._queue: asyncio.Queue[Pcm | None] = asyncio.Queue()
        self._turn_started_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def start_as_first(self) -> None:
        """Start as the first utterance of a request, which may be refused with BusyError."""
        await self._admission.take_first_turn()
        self._turn_started_s = time.perf_counter()
        self._task = asyncio.create_task(self._run())

    def start(self) -> None:
        """Start as soon as there is a turn."""
        self._task = asyncio.create_task(self._wait_and_run())

    async def read(self) -> AsyncGenerator[Pcm]:
        """Yield float32 [n], chunk by chunk. Raises EngineError."""
        while (pcm := await self._queue.get()) is not None:
            yield pcm
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """Abort what the engine has not finished and wait until it has let go."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()  # Seen by `read`, or by nobody because nobody reads.
        # A task that is cancelled before its first step never reaches its own `finally`.
        self._end_turn()

    async def _wait_and_run(self) -> None:
        await self._admission.take_turn()
        self._turn_started_s = time.perf_counter()
        await self._run()

    async def _run(self) -> None:
        rate_hz = self._engine.capabilities.sample_rate_hz
        try:
            async with aclosing(self._engine.speak(self._utterance)) as chunks:
                async for chunk in chunks:
                    if chunk.sample_rate_hz != rate_hz:
                        raise EngineError(
                            f"the engine changed its rate to {chunk.sample_rate_hz} Hz"
                        )
                    self._queue.put_nowait(chunk.pcm)
        finally:
            self._queue.put_nowait(None)
            self._end_turn()

    def _end_turn(self) -> None:
        if self._turn_started_s is not None:
            self._admission.give_back_turn(used_s=time.perf_counter() - self._turn_started_s)
            self._turn_started_s = None
