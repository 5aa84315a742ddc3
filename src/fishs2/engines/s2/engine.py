"""S2 Pro behind the engine seam: one thread owns the model; utterances go to it, samples come back.

    event loop                               engine thread "fishs2-s2"
    speak() -- _Job -----------> _jobs ----> speak_utterance()
       ^                                        |
       +---- job.pieces <-- call_soon_threadsafe+

The thread never waits for a reader: pieces wait in an unbounded queue, which `max_new_tokens` and
the context bound to some 25 MB per utterance. One utterance at a time for the present.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal

from fishs2.engines.base import AudioChunk, Capabilities, Pcm, Utterance
from fishs2.engines.s2.model import Model, ModelFiles, Precision, load_model
from fishs2.engines.s2.references import ReferenceCache
from fishs2.engines.s2.speaker import HONOURED, params_of, speak_utterance
from fishs2.errors import (
    EngineError,
    EngineUnavailableError,
    Fishs2Error,
    NotFoundError,
)

logger = logging.getLogger(__name__)

# The model loses the voice in long texts: best below 800 frames, 37 s, at 15 characters per second
# and some room (spec 9.17).
MAX_UTTERANCE_CHARS = 400
_VOICE = "default"


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """An utterance on its way through the thread.

    pieces: samples, then None at the end or the error that ended it. Filled in the event loop.
    is_aborted: set when nobody reads any more.
    """

    utterance: Utterance
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[Pcm | Fishs2Error | None] = field(default_factory=asyncio.Queue)
    is_aborted: threading.Event = field(default_factory=threading.Event)

    def put(self, item: Pcm | Fishs2Error | None) -> None:
        """Hand an item to the reader, from the engine thread."""
        try:
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, item)
        except RuntimeError:  # the loop is closed, and with it the reader
            self.is_aborted.set()


class S2Engine:
    """S2 Pro as a SpeechEngine."""

    def __init__(self, files: ModelFiles, precision: Precision) -> None:
        self._files = files
        self._precision = precision
        # Unbounded: it holds at most the utterances that the service lets in.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._sample_rate_hz = 44100

    @property
    def capabilities(self) -> Capabilities:
        backends: dict[str, Literal["cuda", "metal"]] = {"cuda": "cuda", "mps": "metal"}
        return Capabilities(
            name="s2",
            backend=backends.get(self._precision.device.split(":")[0], "cpu"),
            sample_rate_hz=self._sample_rate_hz,
            num_turns=1,
            max_utterance_chars=MAX_UTTERANCE_CHARS,
            voices=(_VOICE,),
            cloning="full",
            speaks_tags=True,
            honours=HONOURED,
        )

    async def start(self) -> None:
        """Load the model in the engine thread. Raises EngineUnavailableError."""
        loop = asyncio.get_running_loop()
        started: asyncio.Future[int] = loop.create_future()

        def report(outcome: int | Fishs2Error) -> None:
            if started.cancelled():
                return
            if isinstance(outcome, Fishs2Error):
                started.set_exception(outcome)
            else:
                started.set_result(outcome)

        def run() -> None:
            loaded = self._load()
            try:
                if isinstance(loaded, Fishs2Error):
                    loop.call_soon_threadsafe(report, loaded)
                    return
                loop.call_soon_threadsafe(report, loaded.codec.config.sample_rate_hz)
            except RuntimeError:  # the loop closed while the model was loaded
                return
            self._run(loaded)

        self._thread = threading.Thread(target=run, name="fishs2-s2")
        self._thread.start()
        self._sample_rate_hz = await started

    def find_voice(self, voice: str | None, language: str | None) -> str:
        """The one voice that S2 Pro has without a reference; it speaks any language."""
        if voice is not None and voice.lower() != _VOICE:
            raise NotFoundError(
                f"the s2 engine has no voice {voice[:100]!r}; leave the voice out, or store one "
                "from a reference",
                code="voice_not_found",
                param="voice",
            )
        return _VOICE

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        """Yield speech as SpeechEngine says; UserError only before the first chunk."""
        if self._thread is None or self._closing.is_set():
            raise EngineError("the s2 engine is not running")
        params_of(utterance.sampling)
        job = _Job(utterance, asyncio.get_running_loop())
        self._jobs.put(job)
        try:
            while (item := await job.pieces.get()) is not None:
                if isinstance(item, Fishs2Error):
                    raise item
                yield AudioChunk(item, self._sample_rate_hz)
        finally:
            job.is_aborted.set()

    async def close(self) -> None:
        """Stop the thread; utterances in work end with EngineError."""
        self._closing.set()
        self._jobs.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _load(self) -> Model | Fishs2Error:
        try:
            return load_model(self._files, self._precision, on_progress=self._stop_if_closing)
        except Fishs2Error as error:
            return error
        except Exception as error:
            # Out of memory, a driver that fails: whatever it is, `start` must hear of it.
            logger.exception("the model cannot be loaded")
            return EngineUnavailableError(
                f"the model cannot be loaded on {self._precision.device}: {type(error).__name__}"
            )

    def _stop_if_closing(self, num_bytes: int) -> None:
        if self._closing.is_set():
            raise EngineUnavailableError("the s2 engine was closed while it started")

    def _run(self, model: Model) -> None:
        """The engine thread: one job after the other until None comes."""
        references = ReferenceCache(model.codec)
        while (job := self._jobs.get()) is not None:
            job.put(self._speak_job(model, references, job))

    def _speak_job(self, model: Model, references: ReferenceCache, job: _Job) -> Fishs2Error | None:
        """Speak one utterance. Returns what ended it, None for its own end or an abort."""

        def is_wanted() -> bool:
            return not (job.is_aborted.is_set() or self._closing.is_set())

        try:
            for pcm in speak_utterance(model, references, job.utterance, is_wanted=is_wanted):
                job.put(pcm)
        except Fishs2Error as error:
            return error
        except Exception as error:
            # The engine thread outlives any failure of one utterance.
            logger.exception("an utterance failed")
            return EngineError(f"the s2 engine failed: {type(error).__name__}")
        return EngineError("the s2 engine was closed") if self._closing.is_set() else None
