"""S2 Pro through the s2.cpp library: for Vulkan, for older cards, and where there is no PyTorch.

The engine itself runs in a child process, always (`host`): the library ends its process at many
kinds of input. `open_s2cpp` is what the server calls; `make_s2cpp` is called in the child.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from threading import Event

from fishs2.engines.base import (
    AudioChunk,
    Capabilities,
    EngineStats,
    Pcm,
    Reference,
    Sampling,
    Utterance,
)
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.messages import Recipe, from_plain, to_plain
from fishs2.engines.hosted.watch import HostLimits
from fishs2.engines.languages import LANGUAGES
from fishs2.engines.s2cpp.bundle import choose_backend, find_library, read_bundle
from fishs2.engines.s2cpp.files import check_files
from fishs2.engines.s2cpp.library import SAMPLE_RATE_HZ, S2Library
from fishs2.engines.s2cpp.pipeline import Order, Pipeline, Placement, Stopped
from fishs2.errors import EngineError, EngineUnavailableError, Fishs2Error, NotFoundError, UserError

logger = logging.getLogger(__name__)

MAX_REFERENCE_S = 30.0
"""The library encodes a reference in one go, with 100 MB of memory per second."""

_MAX_UTTERANCE_CHARS = 400  # the model loses the voice in longer ones, as with the s2 engine
_FRAMES_PER_S = SAMPLE_RATE_HZ / 2048
_SYSTEM_TOKENS = 64
"""More than the fixed part of a prompt has."""

_MIN_ROOM = 256
"""Frames that must fit behind a prompt, 12 s."""

_VOICE = "default"
_DEFAULTS = Sampling(
    temperature=0.8, top_p=0.8, top_k=30, max_new_tokens=1024, min_tokens_before_end=0
)
_HONOURED = frozenset(
    {"temperature", "top_p", "top_k", "max_new_tokens", "min_tokens_before_end"}
    | {"n_threads", "verbose"}
)


@dataclass(frozen=True, slots=True)
class S2cppOptions:
    """What the engine is made from; see the settings of the same names.

    dll_path: the library itself; None looks in `runtime_dir`. extra_dirs: folders with libraries
    that it needs. backend: `auto` is the best that lies beside it. max_positions: of one utterance
    with its reference.
    """

    model: Path
    tokenizer: Path
    runtime_dir: Path
    dll_path: Path | None = None
    extra_dirs: tuple[Path, ...] = ()
    backend: str = "auto"
    gpu_device: int = 0
    num_gpu_layers: int = -1
    num_threads: int = 0
    is_verbose: bool = True
    max_positions: int = 4096


def open_s2cpp(
    options: S2cppOptions, *, limits: HostLimits | None = None, temp_dir: Path | None = None
) -> HostedEngine:
    """The engine in a child process, not yet started."""
    folders = options.extra_dirs
    with suppress(EngineUnavailableError):  # the child will say so at its start
        folders = (find_library(options.dll_path, options.runtime_dir).parent, *folders)
    recipe = Recipe(
        __name__,
        "make_s2cpp",
        {"options": to_plain(options)},
        # Else ggml starts a debugger when it ends the process, which takes long.
        environment={"GGML_NO_BACKTRACE": "1"},
        library_folders=tuple(str(folder.absolute()) for folder in folders),
    )
    return HostedEngine(recipe, limits=limits, temp_dir=temp_dir)


def make_s2cpp(options: object) -> "S2cppEngine":
    """The engine itself; for the child."""
    return S2cppEngine(from_plain(S2cppOptions, options))


class _Call:
    """An order on its way: pieces, then None or an error; filled in the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_aborted = Event()
        # Unbounded: the engine never waits for its reader, and max_new_tokens bounds it.
        self.pieces: asyncio.Queue[Pcm | Fishs2Error | None] = asyncio.Queue()

    def is_wanted(self) -> bool:
        return not self._is_aborted.is_set()

    def abort(self) -> None:
        self._is_aborted.set()

    def put(self, item: Pcm | Fishs2Error | None) -> None:
        self._loop.call_soon_threadsafe(self.pieces.put_nowait, item)


class S2cppEngine:
    """The library as a SpeechEngine. One thread makes all calls, one after the other."""

    def __init__(self, options: S2cppOptions) -> None:
        self._options = options
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fishs2-s2cpp")
        self._pipeline: Pipeline | None = None
        self._max_positions = options.max_positions
        self._backend = choose_backend(options.backend, None)
        self._num_running = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="s2cpp",
            backend=self._backend,
            sample_rate_hz=SAMPLE_RATE_HZ,
            num_turns=1,
            max_utterance_chars=_MAX_UTTERANCE_CHARS,
            voices=(_VOICE,),
            cloning="full",
            speaks_tags=True,
            languages=LANGUAGES,
            honours=_HONOURED | _heeded_on(self._backend),
            device=self._backend,
        )

    async def start(self) -> None:
        """Load library and model. Raises EngineUnavailableError that names what is missing."""
        loop = asyncio.get_running_loop()
        self._pipeline = await loop.run_in_executor(self._thread, self._load)

    def find_voice(self, voice: str | None, language: str | None) -> str:
        """The one voice that S2 Pro has without a reference; it speaks any language."""
        if voice is not None and voice.lower() != _VOICE:
            raise NotFoundError(
                f"the s2cpp engine has no voice {voice[:100]!r}; leave the voice out, or store one "
                "from a reference",
                code="voice_not_found",
                param="voice",
            )
        return _VOICE

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        """Yield speech as SpeechEngine says; UserError only before the first chunk.

        A library without streaming gives one chunk at the end, and cannot be stopped: then closing
        the generator waits, and the host ends the process if that takes too long.
        """
        order = self._make_order(utterance)
        call = _Call()
        work = self._thread.submit(self._speak, order, call)
        try:
            while (item := await call.pieces.get()) is not None:
                if isinstance(item, Fishs2Error):
                    raise item
                yield AudioChunk(item, SAMPLE_RATE_HZ)
        finally:
            call.abort()
            if not work.cancel():
                await _settled(work)

    def end_speech(self, speech: str) -> None:
        """It carries nothing over."""

    def stats(self) -> EngineStats:
        """What the library has done. That it changes shows that the library gets on."""
        pipeline = self._pipeline
        if pipeline is None:
            return EngineStats(num_slots=1)
        return EngineStats(
            num_slots=1,
            num_running=self._num_running,
            num_steps=pipeline.num_frames,
            num_frames=pipeline.num_frames,
            num_voice_hits=pipeline.num_voice_hits,
            num_voice_misses=pipeline.num_voice_misses,
        )

    async def close(self) -> None:
        """Free the model, once the library has let go of it."""
        if self._pipeline is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._pipeline.close)
        self._thread.shutdown(wait=False)

    def _load(self) -> Pipeline:
        options = self._options
        library = find_library(options.dll_path, options.runtime_dir)
        facts = check_files(options.model, options.tokenizer)
        self._max_positions = min(facts.max_positions, options.max_positions)
        self._backend = choose_backend(options.backend, read_bundle(library))
        placement = Placement(
            self._backend, options.gpu_device, options.num_gpu_layers, options.num_threads
        )
        loaded = S2Library(library, options.extra_dirs)
        return Pipeline(loaded, options.model, options.tokenizer, placement)

    def _speak(self, order: Order, call: _Call) -> None:
        """In the thread: speak, and say how it ended."""
        assert self._pipeline is not None
        self._num_running = 1
        try:
            self._pipeline.speak(order, call.put, call.is_wanted)
            call.put(None)
        except Stopped:
            call.put(None)
        except Fishs2Error as error:
            call.put(error)
        except Exception as error:
            # Out of memory or a defect: whoever waits must hear of it, and the thread goes on.
            logger.exception("an utterance failed")
            call.put(EngineError(f"the s2cpp engine failed: {type(error).__name__}"))
        finally:
            self._num_running = 0

    def _make_order(self, utterance: Utterance) -> Order:
        """The utterance as the library takes it. Raises UserError for what would harm it."""
        if not utterance.text.strip():
            raise UserError("the text has nothing to speak", code="empty_input", param="input")
        if len(utterance.references) > 1:
            raise UserError(
                f"the s2cpp engine speaks like one reference at a time, not "
                f"{len(utterance.references)}; use the s2 engine for dialogues",
                code="too_many_references",
                param="references",
            )
        reference = utterance.references[0] if utterance.references else None
        if reference is not None:
            _check_reference(reference)
        asked = {
            name: value
            for name in _DEFAULTS.__slots__
            if (value := getattr(utterance.sampling, name)) is not None
        }
        drawn = replace(_DEFAULTS, **asked)
        threads = utterance.num_threads
        verbose = utterance.verbose
        return Order(
            text=utterance.text,
            reference=reference,
            temperature=drawn.temperature or 0.0,
            top_p=drawn.top_p or 0.0,
            top_k=drawn.top_k or 0,
            max_new_tokens=self._bound_frames(utterance.text, reference, drawn.max_new_tokens),
            min_tokens_before_end=drawn.min_tokens_before_end or 0,
            num_threads=self._options.num_threads if threads is None else threads,
            is_verbose=self._options.is_verbose if verbose is None else verbose,
            low_latency=utterance.latency == "low" and "latency" in _heeded_on(self._backend),
        )

    def _bound_frames(self, text: str, reference: Reference | None, asked: int | None) -> int:
        """How many frames may follow the prompt, which the library does not check.

        A token is at least a byte, so bytes bound the prompt. Raises UserError if too few may.
        """
        num_prompt = _SYSTEM_TOKENS + len(text.encode(errors="replace"))
        if reference is not None:
            num_prompt += len(reference.transcript.encode(errors="replace"))
            num_prompt += ceil(len(reference.pcm) / reference.sample_rate_hz * _FRAMES_PER_S)
        room = self._max_positions - num_prompt
        if room < min(_MIN_ROOM, self._max_positions // 2):
            raise UserError(
                f"text and reference make a prompt of up to {num_prompt} tokens; of "
                f"{self._max_positions}, {_MIN_ROOM} must be left; shorten the text or the "
                "reference",
                code="prompt_too_long",
            )
        return min(room, asked or room)


def _heeded_on(backend: str) -> frozenset[str]:
    """On a CPU low latency would make speech twelve times slower, and nothing sooner."""
    return frozenset() if backend == "cpu" else frozenset({"latency"})


def _check_reference(reference: Reference) -> None:
    seconds = len(reference.pcm) / reference.sample_rate_hz
    if not 0 < seconds <= MAX_REFERENCE_S:
        raise UserError(
            f"the reference has {seconds:.1f} seconds; the limit of the s2cpp engine is "
            f"{MAX_REFERENCE_S:.0f}, and it must not be empty",
            code="reference_length",
            param="reference",
        )
    if not reference.transcript.strip():
        raise UserError(
            "the reference has no transcript; send what is said in it",
            code="missing_prompt_text",
            param="reference_text",
        )


async def _settled(work: "Future[None]") -> None:
    """Wait for the thread, also when whoever waits is cancelled again: one call at a time."""
    waiting = asyncio.wrap_future(work)
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            continue
