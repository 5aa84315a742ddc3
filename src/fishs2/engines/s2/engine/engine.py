"""S2 Pro behind the engine seam: what the event loop sees of it.

A request's reference is encoded in a thread of its own, away from those who speak; then the
utterance goes to the engine thread (`thread.py`), and its samples come back through a queue. That
queue has no bound: `max_new_tokens` and the context bound it to some 25 MB per utterance.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np

from fishs2.engines.base import (
    AudioChunk,
    Capabilities,
    CodecLayout,
    Codes,
    EngineStats,
    Part,
    Pcm,
    Reference,
    Utterance,
)
from fishs2.engines.languages import LANGUAGES
from fishs2.engines.s2.device.model import (
    Model,
    ModelFiles,
    Precision,
    device_name,
    is_device_lost,
    load_model,
)
from fishs2.engines.s2.engine.core import Limits
from fishs2.engines.s2.engine.guard import longest_speech
from fishs2.engines.s2.engine.recordings import CodesWork, layout_of
from fishs2.engines.s2.engine.references import ReferenceCache, Unwanted
from fishs2.engines.s2.engine.thread import EngineThread, Loading
from fishs2.engines.s2.engine.utterance_state import RAMP_FRAMES, UtteranceState, ramp_for
from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.params import HONOURED, count_frames, params_of
from fishs2.engines.s2.model.prompt import EncodedReference, build_system, build_turns
from fishs2.errors import EngineError, EngineUnavailableError, Fishs2Error, NotFoundError

logger = logging.getLogger(__name__)

# The model loses the voice in long texts: best below 800 frames, 37 s, at 15 characters per second
# and some room (spec 9.17).
MAX_UTTERANCE_CHARS = 400
MIN_ROOM = 1024
"""Frames that must fit behind a prompt: the longest utterance, and 90 s of reference before it."""

_PROGRESS_S = 3.0

_VOICE = "default"


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """An utterance on its way. pieces: samples, then None or an error; filled in the event loop."""

    utterance: UtteranceState
    loop: asyncio.AbstractEventLoop
    is_aborted: threading.Event
    pieces: asyncio.Queue[Pcm | Fishs2Error | None] = field(default_factory=asyncio.Queue)

    def is_wanted(self) -> bool:
        return not self.is_aborted.is_set()

    def put(self, item: Pcm | Fishs2Error | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, item)
        except RuntimeError:  # the loop is closed, and with it the reader
            self.is_aborted.set()


class S2Engine:
    """S2 Pro as a SpeechEngine."""

    def __init__(
        self,
        files: ModelFiles,
        precision: Precision,
        *,
        choose_limits: Callable[[Model], Limits] = lambda _: Limits(num_slots=4),
        idle_unload_s: float | None = None,
        ramp: tuple[int, ...] = RAMP_FRAMES,
        is_guarded: bool = True,
    ) -> None:
        """choose_limits: what may be used, once the model is in memory. ramp: frames of chunks.

        is_guarded: end speech that has run away.
        """
        self._files = files
        self._precision = precision
        self._ramp = ramp
        self._is_guarded = is_guarded
        self._references: ReferenceCache | None = None
        loading = Loading(
            self._load,
            choose_limits,
            idle_unload_s,
            self._forget,
            lambda: is_device_lost(precision.device),
        )
        self._thread = EngineThread(loading)
        self._voices_thread: ThreadPoolExecutor | None = None
        self._codes = CodesWork(self._find_codec, self._thread.check_device)
        self._codec_layout = CodecLayout((), 0.0)
        self._num_turns = 1
        self._sample_rate_hz = 44100
        # By speech, as long as somebody holds one or waits for it.
        self._entrances: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._max_positions = 0
        self._device_name = precision.device
        self._is_running = False

    @property
    def capabilities(self) -> Capabilities:
        backends: dict[str, Literal["cuda", "metal"]] = {"cuda": "cuda", "mps": "metal"}
        return Capabilities(
            name="s2",
            backend=backends.get(self._precision.device.split(":")[0], "cpu"),
            sample_rate_hz=self._sample_rate_hz,
            num_turns=self._num_turns,
            max_utterance_chars=MAX_UTTERANCE_CHARS,
            voices=(_VOICE,),
            cloning="full",
            speaks_tags=True,
            languages=LANGUAGES,
            honours=HONOURED | {"latency"},
            device=self._device_name,
        )

    async def start(self) -> None:
        """Load the model in the engine thread. Raises EngineUnavailableError."""
        self._thread.start()
        self._voices_thread = ThreadPoolExecutor(1, thread_name_prefix="fishs2-s2-voices")
        model = await self._load_model()
        limits = self._thread.limits
        assert limits is not None
        self._sample_rate_hz = model.codec.config.sample_rate_hz
        self._codec_layout = layout_of(model.codec.config)
        self._num_turns = limits.num_slots
        self._max_positions = limits.max_positions
        self._device_name = device_name(model.ar.device)
        self._is_running = True

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
        if not self._is_running:
            raise EngineError("the s2 engine is not running")
        is_aborted = threading.Event()
        try:
            async with self._in_order(utterance.part):
                prepared = await self.prepare(utterance, is_aborted)
                if not self._is_running:
                    # Closed while the reference was encoded: the thread would never answer.
                    raise EngineError("the s2 engine was closed")
                task = _Task(prepared, asyncio.get_running_loop(), is_aborted)
                self._thread.submit(task)
            while (item := await task.pieces.get()) is not None:
                if isinstance(item, Fishs2Error):
                    raise item
                yield AudioChunk(item, self._sample_rate_hz)
        finally:
            is_aborted.set()

    @property
    def codec_layout(self) -> CodecLayout:
        """As CodesEngine says."""
        return self._codec_layout

    async def encode(self, pcm: Pcm, sample_rate_hz: int) -> Codes:
        """As CodesEngine says."""
        return await self._codes.encode(pcm, sample_rate_hz)

    async def decode(self, codes: Codes) -> Pcm:
        """As CodesEngine says."""
        return await self._codes.decode(codes)

    def end_speech(self, speech: str) -> None:
        """As SpeechEngine says."""
        self._thread.end_speech(speech)

    def stats(self) -> EngineStats:
        """What the engine thread has done."""
        return self._thread.stats()

    async def close(self) -> None:
        """Stop the threads; utterances in work end with EngineError."""
        self._is_running = False
        await asyncio.to_thread(self._thread.close)
        if self._voices_thread is not None:
            await asyncio.to_thread(self._voices_thread.shutdown)

    def _in_order(self, part: Part | None) -> asyncio.Lock:
        """Held while a part is prepared: one that is ready sooner must not pass the one before."""
        if part is None:
            return asyncio.Lock()
        return self._entrances.setdefault(part.speech, asyncio.Lock())

    async def prepare(self, utterance: Utterance, is_aborted: threading.Event) -> UtteranceState:
        """The utterance as the model reads it. Raises UserError if it cannot be spoken as it is."""
        params = params_of(utterance.sampling)
        model = self._thread.model or await self._load_model()
        shown = [await self._encode(model, each, is_aborted) for each in utterance.references]
        num_codebooks = model.ar.config.num_codebooks
        system = build_system(model.tokenizer, references=shown, num_codebooks=num_codebooks)
        turns = build_turns(model.tokenizer, utterance.text, num_codebooks=num_codebooks)
        prompt = np.concatenate((system, turns), axis=1)
        max_frames = count_frames(
            prompt.shape[1], params, max_positions=self._max_positions, min_room=MIN_ROOM
        )
        prepared = UtteranceState(prompt, system.shape[1], params, max_frames)
        prepared.part = utterance.part
        prepared.ramp = ramp_for(utterance.latency, self._ramp)
        # Who sets a limit of their own gets speech of that length.
        is_limit_asked = utterance.sampling.max_new_tokens and not utterance.has_common_limit
        if self._is_guarded and not is_limit_asked:
            longest = params.min_tokens_before_end + longest_speech(utterance.text)
            prepared.runaway_frames = min(max_frames, longest)
        return prepared

    async def _encode(
        self, model: Model, reference: Reference, is_aborted: threading.Event
    ) -> EncodedReference:
        if self._references is None or self._references.codec is not model.codec:
            self._references = ReferenceCache(model.codec)
        references = self._references
        found = references.find(reference)
        if found is not None:
            return found

        def is_wanted() -> bool:
            return not (is_aborted.is_set() or self._thread.is_closing.is_set())

        def encode() -> EncodedReference | Fishs2Error:
            try:
                return references.encode(reference, is_wanted=is_wanted)
            except Unwanted:
                return EngineError("the s2 engine was closed")
            except Fishs2Error as error:
                return error
            except Exception as error:
                # Lack of memory, a device that fails: whatever it is, the client hears of it.
                logger.exception("a reference could not be encoded")
                self._thread.check_device()
                return EngineError(f"the reference cannot be encoded: {type(error).__name__}")

        # One thread: a second request with the same new voice finds what the first has made.
        assert self._voices_thread is not None
        encoded = await asyncio.get_running_loop().run_in_executor(self._voices_thread, encode)
        if isinstance(encoded, Fishs2Error):
            raise encoded
        return encoded

    async def _find_codec(self) -> tuple[Codec, ThreadPoolExecutor]:
        if not self._is_running or self._voices_thread is None:
            raise EngineError("the s2 engine is not running")
        model = self._thread.model or await self._load_model()
        return model.codec, self._voices_thread

    async def _load_model(self) -> Model:
        """The model, once it is in memory. Raises EngineUnavailableError."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[Model | Fishs2Error] = loop.create_future()

        def deliver(outcome: Model | Fishs2Error) -> None:
            if not loaded.done():
                loaded.set_result(outcome)

        def report(outcome: Model | Fishs2Error) -> None:
            try:
                loop.call_soon_threadsafe(deliver, outcome)
            except RuntimeError:  # the loop closed while the model was loaded
                self._thread.is_closing.set()

        self._thread.load(report)
        outcome = await loaded
        if isinstance(outcome, Fishs2Error):
            raise outcome
        return outcome

    def _load(self) -> Model:
        started_s = said_s = time.perf_counter()
        num_loaded = 0

        def note(num_bytes: int) -> None:
            nonlocal num_loaded, said_s
            if self._thread.is_closing.is_set():
                raise EngineUnavailableError("the s2 engine was closed while it started")
            num_loaded += num_bytes
            if time.perf_counter() - said_s > _PROGRESS_S:
                said_s = time.perf_counter()
                logger.info("loading the model: %.1f GB so far", num_loaded / 1e9)

        model = load_model(self._files, self._precision, on_progress=note)
        took_s = time.perf_counter() - started_s
        logger.info("loaded the model: %.1f GB in %.1f s", num_loaded / 1e9, took_s)
        return model

    def _forget(self) -> None:
        # It holds the codec, whose memory is wanted back.
        self._references = None
