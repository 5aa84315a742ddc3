"""The exports of the s2.cpp library through ctypes: types, structures, return codes, nothing more.

For the child process only: many mistakes in a call end the process. Two sets of exports exist. The
older one loads model, tokenizer and codec one by one and speaks in one go; the newer one loads them
together, keeps layers off the card, and streams. What a library has, its symbols say.
Source: the library's headers and behaviour as measured (call order, return codes, faults).
"""

import ctypes
import logging
import os
import sys
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_float, c_int, c_int32, c_void_p
from pathlib import Path
from typing import Any

from fishs2.engines.s2cpp.bundle import find_ggml
from fishs2.errors import EngineUnavailableError

logger = logging.getLogger(__name__)

SAMPLE_RATE_HZ = 44_100
"""No export says it; the codec has no other."""

BACKEND_IDS = {"cpu": -1, "vulkan": 0, "cuda": 1, "metal": 2}

OK, UNCLONED, CANCELLED = 1, -1, -10
FAILURES = {
    0: "it was not ready",
    UNCLONED: "it could not read the reference and spoke in another voice, which was thrown away",
    -4: "it made no sound: out of memory, or the text gave nothing",
    -6: "it could not write a file",
    -7: "it wants the reference's transcript",
    -8: "it got the voice without its size",
    -9: "it got no callbacks",
    CANCELLED: "it was stopped",
}
"""What the synthesis calls return, beside OK."""

_OBJECTS = ("Pipeline", "Model", "Tokenizer", "AudioCodec", "GenerateParams", "AudioPromptCodes")
_Text = c_char_p  # UTF-8
_SYNTHESIS = (c_void_p, POINTER(c_int32), _Text, _Text, _Text)  # codes, T, path, transcript, text

WriteCallback = CFUNCTYPE(c_int, POINTER(ctypes.c_ubyte), c_int32, c_void_p)
DoneCallback = CFUNCTYPE(None, c_void_p)
ErrorCallback = CFUNCTYPE(None, c_char_p, c_void_p)
CancelledCallback = CFUNCTYPE(c_int, c_void_p)


class Callbacks(ctypes.Structure):
    """What the library calls while it speaks, on the thread that called it."""

    _fields_ = (
        ("write", WriteCallback),
        ("done", DoneCallback),
        ("error", ErrorCallback),
        ("cancelled", CancelledCallback),
        ("user", c_void_p),
    )


class StreamingParams(ctypes.Structure):
    """How the library streams. A zeroed one is not the default: see `default_streaming`."""

    _fields_ = (
        ("stride", c_int32),
        ("holdback", c_int32),
        ("context", c_int32),
        ("low_latency", c_int),
        ("segment_sentences", c_int),
        ("sentence_pause_ms", c_int32),
        ("segment_max_chars", c_int32),
        ("voice", c_char_p),
        ("voice_dir", c_char_p),
    )


def default_streaming(*, low_latency: bool) -> StreamingParams:
    """The library's own defaults, which it writes in C++ and a structure from here lacks."""
    return StreamingParams(
        holdback=-1, context=-1, low_latency=int(low_latency), sentence_pause_ms=180
    )


_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    **{f"AllocS2{name}": (c_void_p, ()) for name in _OBJECTS},
    "AllocS2AudioBuffer": (c_void_p, (c_int,)),
    **{f"ReleaseS2{name}": (None, (c_void_p,)) for name in (*_OBJECTS, "AudioBuffer")},
    "SetS2LogLevel": (None, (c_int32,)),
    "InitializeS2PipelineFromFiles": (
        c_int,
        (c_void_p, _Text, _Text, c_int32, c_int32, c_int32, c_int),
    ),
    "InitializeS2Pipeline": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p)),
    "InitializeS2Model": (c_int, (c_void_p, _Text, c_int32, c_int32)),
    "InitializeS2ModelWithGpuLayers": (c_int, (c_void_p, _Text, c_int32, c_int32, c_int32)),
    "InitializeS2AudioCodec": (c_int, (c_void_p, _Text, c_int32, c_int32)),
    "InitializeS2Tokenizer": (c_int, (c_void_p, _Text)),
    "SyncS2TokenizerConfigFromS2Model": (None, (c_void_p, c_void_p)),
    "InitializeS2GenerateParams": (
        c_int,
        (c_void_p, c_int32, c_float, c_float, *[c_int32] * 3, c_int),
    ),
    "InitializeAudioPromptCodes": (
        c_int,
        (c_void_p, c_int32, _Text, c_void_p, POINTER(c_int32)),
    ),
    "GetS2AudioBufferDataPointer": (POINTER(c_float), (c_void_p,)),
    "S2Synthesize": (
        c_int,
        (c_void_p, c_void_p, c_void_p, *_SYNTHESIS, _Text, POINTER(c_int32)),
    ),
    "S2SynthesizeStreaming": (
        c_int,
        (c_void_p, c_void_p, POINTER(Callbacks), *_SYNTHESIS, c_int32),
    ),
    "S2SynthesizeStreamingEx": (
        c_int,
        (c_void_p, c_void_p, POINTER(Callbacks), *_SYNTHESIS, POINTER(StreamingParams)),
    ),
}
_OPTIONAL = {
    "SetS2LogLevel",
    "InitializeS2PipelineFromFiles",
    "InitializeS2ModelWithGpuLayers",
    "SyncS2TokenizerConfigFromS2Model",
    "S2SynthesizeStreaming",
    "S2SynthesizeStreamingEx",
}


class S2Library:
    """A loaded library; `call` is any of its functions by name."""

    def __init__(self, path: Path, folders: Sequence[Path]) -> None:
        """Load it. Raises EngineUnavailableError that says which file is missing or foreign.

        folders: more places for the libraries that it needs, beside its own folder.
        """
        searched = [path.parent, *folders]
        self._search = _add_dll_folders(searched)  # they count as long as this object lives
        failed = _preload(searched)
        try:
            loaded = ctypes.CDLL(str(path))
        except OSError as error:
            logger.error("cannot load %s: %s", path, error)
            for name, reason in failed.items():
                logger.error("nor %s beside it: %s", name, reason)
            raise EngineUnavailableError(
                f"{path.name} cannot be loaded: it, or a library that it needs, is missing or was "
                "built for another system; the log says which. Name folders with more libraries "
                "with FISHS2_RUNTIME_EXTRA_DLL_DIRS"
            ) from error
        self._functions = _bind(loaded, path.name)

    def has(self, name: str) -> bool:
        return name in self._functions

    def call(self, name: str, *arguments: object) -> Any:
        return self._functions[name](*arguments)


def _bind(loaded: ctypes.CDLL, file: str) -> dict[str, Callable[..., Any]]:
    functions = {}
    missing = []
    for name, (result, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError:
            missing.append(name)
            continue
        function.restype, function.argtypes = result, arguments
        functions[name] = function
    needed = [name for name in missing if name not in _OPTIONAL]
    if needed:
        raise EngineUnavailableError(
            f"{file} is no s2.cpp library that this version knows: it has no {needed[0]}"
        )
    logger.info("%s lacks: %s", file, ", ".join(missing) or "nothing")
    return functions


def _add_dll_folders(folders: Sequence[Path]) -> list[object]:
    """Let Windows find what a library needs; elsewhere the process was started with the folders."""
    if sys.platform == "win32":
        return [os.add_dll_directory(str(each.resolve())) for each in folders if each.is_dir()]
    return []


def _preload(folders: Sequence[Path]) -> dict[str, str]:
    """Load the ggml libraries of the folders, whatever their order; returns what failed, and why.

    The library finds them by name once they are loaded, even where its own search path is that of
    the machine which built it. A backend whose driver is missing stays out.
    """
    waiting: dict[str, Path] = {}
    for folder in folders:
        if folder.is_dir():
            waiting = find_ggml(folder) | waiting
    failed: dict[str, str] = {}
    while waiting:
        failed = {}
        for name, path in waiting.items():
            try:
                ctypes.CDLL(str(path))  # stays loaded until the process ends
            except OSError as error:
                failed[name] = str(error)
        if len(failed) == len(waiting):
            break
        waiting = {name: waiting[name] for name in failed}
    return failed
