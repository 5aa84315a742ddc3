"""Engines for the child process of `host`, made there by name; what they do stands in the text."""

import asyncio
import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fishs2 import errors
from fishs2.engines.base import (
    AudioChunk,
    Capabilities,
    CodecLayout,
    Codes,
    EngineStats,
    Pcm,
    Utterance,
)
from fishs2.engines.hosted.messages import Recipe
from fishs2.errors import (
    BusyError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    SettingsError,
    UserError,
)
from tests.fakes import FakeEngine

_CAPABILITIES = Capabilities(
    name="fake",
    backend="cpu",
    sample_rate_hz=24_000,
    num_turns=4,
    max_utterance_chars=200,
    voices=("fake", "Other"),
    cloning="full",
    honours=frozenset({"seed", "top_k"}),
)


FORKED_S = 25.731
"""How long what "fork" starts would live; tells it from others."""


def recipe(function: str = "make_engine", **arguments: object) -> Recipe:
    """How the child makes one of the engines below."""
    return Recipe("tests.engines.hosted.recipes", function, arguments)


class TextSteeredEngine(FakeEngine):
    """A FakeEngine of any language that does, between chunks, what the words of its text say.

    marks: folder of files by which it remembers, over deaths, what it has done "once".
    """

    def __init__(self, marks: str = "") -> None:
        super().__init__(capabilities=_CAPABILITIES)
        self._is_loaded = True
        self._marks = Path(marks)

    def find_voice(self, voice: str | None, language: str | None) -> str:
        for name in self.capabilities.voices:
            if (voice or "fake").lower() == name.lower():
                return name
        raise NotFoundError(f"there is no {voice!r}", code="voice_not_found", param="voice")

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        words = utterance.text.split()
        self._act(words[0] if words else "", utterance)
        if words[0] == "load":
            self._is_loaded = False
            await asyncio.sleep(0.5)
            self._is_loaded = True
        if words[0] == "stall":
            await asyncio.Event().wait()
        if words[0] == "stubborn":
            self.num_active += 1
            await _ignore_cancelling()
        if words[0] == "reference":
            for reference in utterance.references:
                yield AudioChunk(reference.pcm, reference.sample_rate_hz)
            return
        if words[0] == "large":
            yield AudioChunk(np.ones(1_000_000, np.float32), 24_000)
            return
        index = 0
        async for chunk in super().speak(utterance):
            yield chunk
            index += 1
            if index == 1 and len(words) > 1 and words[0] == "then":
                # So that the chunk is on its way.
                await asyncio.sleep(0.01)
                self._act(words[1], utterance)

    _is_lost = False

    def _act(self, word: str, utterance: Utterance) -> None:
        words = utterance.text.split()
        match word:
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(1_000)
            case "once":
                mark = self._marks / _name(utterance)
                if not mark.exists():
                    mark.touch()
                    os.abort()
            case "lose":
                mark = self._marks / _name(utterance)
                self._is_lost = not mark.exists() or words[-1] == "always"
                mark.touch()
                if self._is_lost:
                    raise EngineError("an illegal access")
            case "print":
                os.write(1, b"\x00\xffgarbage " * 50_000)
                sys.stderr.write("a complaint\n")
            case "chatter":
                os.write(2, b"chatter\n" * 100_000 + b"the last words\n")
                os.abort()
            case "fork":
                # By the C library, as a library would: it gets all that can be inherited.
                os.system(f"sleep {FORKED_S} &")
                os.abort()
            case "misreport":
                logging.getLogger("engine").warning("%d frames", "no")
            case "unknown":
                raise ValueError("a secret text")
            case "tell":
                raise UserError(repr(utterance), code="told")
            case "refuse":
                raise UserError("too long", code="prompt_too_long", param="input")
            case "raise":
                raise getattr(errors, utterance.text.split()[1])("a message")

    def stats(self) -> EngineStats:  # type: ignore[override]
        return EngineStats(
            self._is_loaded, num_slots=4, num_running=self.num_active, is_lost=self._is_lost
        )


def _name(utterance: Utterance) -> str:
    return "-".join(utterance.text.split())


async def _ignore_cancelling() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


class _SilentEngine(TextSteeredEngine):
    async def start(self) -> None:
        await asyncio.Event().wait()


class _FailingEngine(TextSteeredEngine):
    def __init__(self, error: str) -> None:
        super().__init__()
        self._error = error

    async def start(self) -> None:
        match self._error:
            case "settings":
                raise SettingsError("FISHS2_X=7: at most 5")
            case "unavailable":
                raise EngineUnavailableError("there is no model")
            case "defect":
                raise ZeroDivisionError
            case _:
                print("about to die", file=sys.stderr, flush=True)
                os.abort()


class _FragileEngine(TextSteeredEngine):
    """Starts once; after that not before the file `repaired` is in its folder."""

    async def start(self) -> None:
        mark = self._marks / "started"
        if mark.exists() and not (self._marks / "repaired").exists():
            os.abort()
        mark.touch()


class _ClingingEngine(TextSteeredEngine):
    """Cannot be closed, and has a thread that would keep the process."""

    async def start(self) -> None:
        threading.Thread(target=threading.Event().wait).start()

    async def close(self) -> None:
        raise ZeroDivisionError


class _LanguageEngine(FakeEngine):
    """Finds voices by language, as the builtin engine does."""


class _CodesEngine(TextSteeredEngine):
    """Has codes, of two codebooks: samples in thousandths, in turns. The rate steers it as well."""

    codec_layout = CodecLayout((1_001, 1_001), 12_000.0)

    async def encode(self, pcm: Pcm, sample_rate_hz: int) -> Codes:
        match sample_rate_hz:
            case 1:
                self._act("once", Utterance("encoded"))
            case 2:
                os.abort()
            case 3:
                self._is_at_work = True
                try:
                    await asyncio.Event().wait()
                finally:
                    self._is_at_work = False
            case 4:
                raise BusyError("8 recordings wait", retry_after_s=5)
            case 5:
                raise UserError("too long", code="audio_too_long", param="audios")
        return np.ascontiguousarray(np.rint(pcm * 1_000).astype(np.int32).reshape(-1, 2).T)

    _is_at_work = False

    async def decode(self, codes: Codes) -> Pcm:
        return (codes.T.reshape(-1) / 1_000).astype(np.float32)

    def stats(self) -> EngineStats:  # type: ignore[override]
        return replace(super().stats(), num_voice_misses=int(self._is_at_work))


def make_with_codes(marks: str = "") -> TextSteeredEngine:
    return _CodesEngine(marks)


def make_engine(marks: str = "") -> TextSteeredEngine:
    return TextSteeredEngine(marks)


def make_clinging() -> TextSteeredEngine:
    return _ClingingEngine()


def make_silent() -> TextSteeredEngine:
    return _SilentEngine()


def make_failing(error: str) -> TextSteeredEngine:
    return _FailingEngine(error)


def make_fragile(marks: str) -> TextSteeredEngine:
    return _FragileEngine(marks)


def make_by_language() -> FakeEngine:
    return _LanguageEngine()
