"""The s2.cpp library as something that speaks: calls in the right order, every fault before it.

Blocking, and for one thread at a time, in the child process. `s2cpp` puts it behind the engine
seam. Measured faults that are kept away here: references without samples end the process, so do
codes with the wrong size; `<|…|>` in a text is obeyed; code -1 is speech in a random voice.
"""

import ctypes
import logging
import os
import tempfile
import wave
from collections import OrderedDict
from collections.abc import Callable
from ctypes import byref, c_int32
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fishs2.engines.base import Pcm, Reference
from fishs2.engines.s2.model.resample import resample
from fishs2.engines.s2cpp.bundle import CppBackend
from fishs2.engines.s2cpp.library import (
    BACKEND_IDS,
    CANCELLED,
    FAILURES,
    OK,
    SAMPLE_RATE_HZ,
    Callbacks,
    CancelledCallback,
    DoneCallback,
    ErrorCallback,
    S2Library,
    WriteCallback,
    default_streaming,
)
from fishs2.errors import EngineError, EngineUnavailableError

logger = logging.getLogger(__name__)

_WAV_HEADER_BYTES = 44
_MAX_VOICES = 64
"""Encoded voices kept; one of 30 s has 26 kB."""

_QUIET, _WARNINGS = 0, 1
"""Log levels of the library. The next one prints the texts that are spoken."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the library computes. num_gpu_layers: -1 is all. num_threads: 0 is its own choice."""

    backend: CppBackend = "cpu"
    gpu_device: int = 0
    num_gpu_layers: int = -1
    num_threads: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """One call. text: without `<|`, not blank. Numbers as the library takes them: all given.

    reference: at most the limit of `s2cpp`, with a transcript. low_latency: decode every frame for
    itself, which costs the codec far more.
    """

    text: str
    reference: Reference | None
    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    min_tokens_before_end: int
    num_threads: int
    is_verbose: bool = False
    low_latency: bool = False


class Stopped(Exception):
    """The caller wanted no more."""


@dataclass(frozen=True, slots=True)
class _Voice:
    """A reference as codes. codes: the library's object. num_frames: how many it holds."""

    codes: int
    num_frames: int


class Pipeline:
    """A loaded model. `num_frames` counts what was generated, for whoever watches."""

    def __init__(
        self, library: S2Library, model: Path, tokenizer: Path, placement: Placement
    ) -> None:
        """Load. Raises EngineUnavailableError. The files were looked at by `s2cpp_files`."""
        self._library = library
        self._placement = placement
        # By reference, least recently used first.
        self._voices: OrderedDict[str, _Voice] = OrderedDict()
        self.num_frames = self.num_voice_hits = self.num_voice_misses = 0
        self._set_verbose(False)
        self._pipeline: int = library.call("AllocS2Pipeline")
        self._parts: list[tuple[str, int]] = []
        if library.has("InitializeS2PipelineFromFiles"):
            self._load_together(model, tokenizer)
        else:
            self._load_one_by_one(model, tokenizer)

    def speak(
        self, order: Order, emit: Callable[[Pcm], None], is_wanted: Callable[[], bool]
    ) -> None:
        """Speak one order; samples go to `emit` as they are made.

        is_wanted: asked once per frame. Raises EngineError, or Stopped once nobody wants it.
        """
        self._set_verbose(order.is_verbose)
        voice = self._encode(order) if order.reference is not None else None
        if not is_wanted():
            raise Stopped
        params = self._library.call("AllocS2GenerateParams")
        try:
            self._library.call(
                "InitializeS2GenerateParams",
                params,
                order.max_new_tokens,
                order.temperature,
                order.top_p,
                order.top_k,
                order.min_tokens_before_end,
                order.num_threads,
                int(order.is_verbose),
            )
            if self.streams:
                code = self._speak_streaming(order, voice, params, emit, is_wanted)
            else:
                code = self._speak_whole(order, voice, params, emit)
        finally:
            self._library.call("ReleaseS2GenerateParams", params)
        if code == CANCELLED and not is_wanted():
            raise Stopped
        if code != OK:
            raise _failed(code)

    @property
    def streams(self) -> bool:
        """Whether the library sends speech while it is made, and can be stopped."""
        return self._library.has("S2SynthesizeStreamingEx") or self._library.has(
            "S2SynthesizeStreaming"
        )

    def close(self) -> None:
        """Give everything back; the pipeline first, as the rest is inside it."""
        for voice in self._voices.values():
            self._library.call("ReleaseS2AudioPromptCodes", voice.codes)
        self._voices.clear()
        self._library.call("ReleaseS2Pipeline", self._pipeline)
        for name, part in reversed(self._parts):
            self._library.call(f"ReleaseS2{name}", part)
        self._parts.clear()

    def _load_together(self, model: Path, tokenizer: Path) -> None:
        place = self._placement
        code = self._library.call(
            "InitializeS2PipelineFromFiles",
            self._pipeline,
            _path(model),
            _path(tokenizer),
            place.gpu_device,
            BACKEND_IDS[place.backend],
            place.num_gpu_layers,
            1,  # the codec computes where the model does; else the library tries out both
        )
        self._check_loaded(code)

    def _load_one_by_one(self, model: Path, tokenizer: Path) -> None:
        """For older libraries; the codec reads the whole file again, so memory is needed twice."""
        place = self._placement
        device = (place.gpu_device, BACKEND_IDS[place.backend])
        parts = {}
        for name in ("Tokenizer", "Model", "AudioCodec"):
            parts[name] = self._library.call(f"AllocS2{name}")
            self._parts.append((name, parts[name]))
        call = self._library.call
        self._check_loaded(call("InitializeS2Tokenizer", parts["Tokenizer"], _path(tokenizer)))
        if self._library.has("InitializeS2ModelWithGpuLayers"):
            layers = (place.num_gpu_layers,)
            code = call(
                "InitializeS2ModelWithGpuLayers", parts["Model"], _path(model), *device, *layers
            )
        elif place.num_gpu_layers == -1:
            code = call("InitializeS2Model", parts["Model"], _path(model), *device)
        else:
            raise EngineUnavailableError(
                f"FISHS2_N_GPU_LAYERS={place.num_gpu_layers}, but this s2.cpp library is too old "
                "to keep layers off the card; use -1, or a newer library"
            )
        self._check_loaded(code)
        code = call("InitializeS2AudioCodec", parts["AudioCodec"], _path(model), *device)
        self._check_loaded(code)
        if self._library.has("SyncS2TokenizerConfigFromS2Model"):
            call("SyncS2TokenizerConfigFromS2Model", parts["Model"], parts["Tokenizer"])
        whole = (parts["Tokenizer"], parts["Model"], parts["AudioCodec"])
        self._check_loaded(call("InitializeS2Pipeline", self._pipeline, *whole))

    def _check_loaded(self, code: int) -> None:
        if code != OK:
            backend = self._placement.backend
            remedy = (
                "there may be too little memory"
                if backend == "cpu"
                else f"was it built for {backend}, is there a card with enough memory? "
                "Choose another FISHS2_BACKEND, FISHS2_GPU_DEVICE or FISHS2_N_GPU_LAYERS"
            )
            raise EngineUnavailableError(
                f"the s2.cpp library cannot load the model for {backend}; {remedy}"
            )

    def _encode(self, order: Order) -> _Voice:
        """The codes of a reference, from memory or made now."""
        reference = order.reference
        assert reference is not None
        voice = self._voices.get(reference.key)
        if voice is not None:
            self._voices.move_to_end(reference.key)
            self.num_voice_hits += 1
            return voice
        self.num_voice_misses += 1
        codes = self._library.call("AllocS2AudioPromptCodes")
        num_frames = c_int32(0)
        path = _write_wav(reference)
        try:
            code = self._library.call(
                "InitializeAudioPromptCodes",
                self._pipeline,
                order.num_threads,
                _path(path),
                codes,
                byref(num_frames),
            )
        finally:
            path.unlink()
        if code != OK or num_frames.value < 1:
            self._library.call("ReleaseS2AudioPromptCodes", codes)
            raise EngineError("the s2.cpp library could not encode the reference")
        self._voices[reference.key] = voice = _Voice(codes, num_frames.value)
        if len(self._voices) > _MAX_VOICES:
            _, oldest = self._voices.popitem(last=False)
            self._library.call("ReleaseS2AudioPromptCodes", oldest.codes)
        return voice

    def _speak_streaming(
        self,
        order: Order,
        voice: _Voice | None,
        params: int,
        emit: Callable[[Pcm], None],
        is_wanted: Callable[[], bool],
    ) -> int:
        stream = _Stream(emit)

        def write(samples: "ctypes._Pointer[ctypes.c_ubyte]", num_bytes: int, _: object) -> int:
            # What is raised in here ctypes would swallow, and the library would go on.
            try:
                stream.take(ctypes.string_at(samples, num_bytes))
            except Exception:
                logger.exception("samples of the s2.cpp library cannot be taken")
                return 0
            return int(is_wanted())

        def is_cancelled(_: object) -> int:
            self.num_frames += 1
            return int(not is_wanted())

        callbacks = Callbacks(
            WriteCallback(write),
            DoneCallback(lambda _: None),
            ErrorCallback(lambda _message, _: None),
            CancelledCallback(is_cancelled),
            None,
        )
        shown = _show(order, voice)
        how: object = byref(default_streaming(low_latency=order.low_latency))
        name = "S2SynthesizeStreamingEx"
        if not self._library.has(name):  # the same with a stride alone; 0 is the library's own
            name, how = "S2SynthesizeStreaming", 0
        code: int = self._library.call(name, self._pipeline, params, byref(callbacks), *shown, how)
        if code == OK and not stream.num_samples:
            raise EngineError("the s2.cpp library made no sound")
        return code

    def _speak_whole(
        self, order: Order, voice: _Voice | None, params: int, emit: Callable[[Pcm], None]
    ) -> int:
        buffer = self._library.call("AllocS2AudioBuffer", 0)
        num_samples = c_int32(0)
        try:
            code: int = self._library.call(
                "S2Synthesize",
                self._pipeline,
                params,
                buffer,
                *_show(order, voice),
                None,
                byref(num_samples),
            )
            if code == OK:
                pointer = self._library.call("GetS2AudioBufferDataPointer", buffer)
                if not pointer or num_samples.value < 1:
                    raise EngineError("the s2.cpp library made no sound")
                # A copy: the buffer is released below.
                emit(np.ctypeslib.as_array(pointer, (num_samples.value,)).copy())
        finally:
            self._library.call("ReleaseS2AudioBuffer", buffer)
        return code

    def _set_verbose(self, is_verbose: bool) -> None:
        if self._library.has("SetS2LogLevel"):
            self._library.call("SetS2LogLevel", _WARNINGS if is_verbose else _QUIET)


class _Stream:
    """A WAV file that comes in pieces, as samples. Its header has placeholder sizes."""

    def __init__(self, emit: Callable[[Pcm], None]) -> None:
        self._emit = emit
        self._num_header_bytes = 0
        self._rest = b""
        self.num_samples = 0

    def take(self, piece: bytes) -> None:
        left = _WAV_HEADER_BYTES - self._num_header_bytes
        self._num_header_bytes += len(piece[:left])
        raw = self._rest + piece[left:]
        num_whole = len(raw) // 2 * 2
        self._rest = raw[num_whole:]
        if num_whole:
            self.num_samples += num_whole // 2
            self._emit(np.frombuffer(raw[:num_whole], "<i2") * np.float32(1 / 32768))


def _show(order: Order, voice: _Voice | None) -> tuple[object, ...]:
    """Codes, their number, no path, transcript, text: the middle of both synthesis calls.

    The number is a fresh one each time, as the library may write there.
    """
    text = _text(order.text)
    if voice is None or order.reference is None:
        return (None, None, None, None, text)
    frames = byref(c_int32(voice.num_frames))
    return (voice.codes, frames, None, _text(order.reference.transcript), text)


def _failed(code: int) -> EngineError:
    reason = FAILURES.get(code, "it does not say why")
    return EngineError(f"the s2.cpp library failed with code {code}: {reason}")


def _text(text: str) -> bytes:
    """As the library takes it: UTF-8, no zero byte, and nothing that it would obey."""
    return text.replace("\0", " ").replace("<|", "< |").encode(errors="replace")


def _path(path: Path) -> bytes:
    return str(path).encode() if os.name == "nt" else os.fsencode(path)


def _write_wav(reference: Reference) -> Path:
    """A temporary file with the reference: 44.1 kHz, mono, 16 bits. For the caller to remove."""
    pcm = resample(reference.pcm, reference.sample_rate_hz, SAMPLE_RATE_HZ)
    scaled: Pcm = pcm * np.float32(32767)
    samples = np.clip(np.rint(scaled), -32768, 32767).astype("<i2")
    number, name = tempfile.mkstemp(suffix=".wav")
    with os.fdopen(number, "wb") as file, wave.open(file) as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE_HZ)
        wav.writeframes(samples.tobytes())
    return Path(name)
