"""The main use case: a request for speech becomes encoded audio, as it is made.

`SpeechService.plan` decides everything that can be refused; `stream` and `render` then speak it.
The dialects in `server` call this; it calls `text`, `engines.base` and `audio`.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from fishs2.audio.effects import EffectChain, Effects
from fishs2.audio.encode import AudioEncoder, FileEncoder, StreamEncoder
from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.audio.pcm import Pcm, Resampler, silence
from fishs2.engines.base import Sampling, SpeechEngine, Utterance
from fishs2.errors import UserError
from fishs2.service.admission import Admission
from fishs2.service.feed import UtteranceFeed
from fishs2.text.normalize import has_speech, normalize_text
from fishs2.text.split import split_text
from fishs2.text.tags import remove_tags, style_tag

logger = logging.getLogger(__name__)

PRESET_VOICES = frozenset(
    [
        "alloy",
        "ash",
        "ballad",
        "coral",
        "echo",
        "fable",
        "onyx",
        "nova",
        "sage",
        "shimmer",
        "verse",
        "marin",
        "cedar",
    ]
)
"""OpenAI's voice names. Source: OpenAI API reference, createSpeech."""

_DEFAULT_VOICES = frozenset({"", "default", "random"})

PAUSE_S = {"paragraph": 0.6, "sentence": 0.3, "clause": 0.12, "word": 0.0}
"""Silence between two utterances, in seconds, by what ended the first: common reading pauses."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What a client wants spoken, free of any dialect.

    text: as sent. voice: a voice name; "" is the default voice. format: wav, pcm, mp3, opus, aac
    or flac. sample_rate_hz: None means what the format and engine prefer.
    instructions: how to speak, in plain words; "" means nothing special.
    """

    request_id: str
    text: str
    voice: str = ""
    format: str = "wav"
    sample_rate_hz: int | None = None
    language: str | None = None
    instructions: str = ""
    effects: Effects = field(default_factory=Effects)
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """A request that can be spoken: nothing in it is left to refuse.

    pauses_s: silence after each utterance, in seconds. ignored: fields of the request that change
    nothing on this engine.
    """

    request: SpeechRequest
    utterances: tuple[Utterance, ...]
    pauses_s: tuple[float, ...]
    format: AudioFormat
    ignored: tuple[str, ...]


@dataclass(slots=True)
class SpeechReport:
    """What became of one plan; written by the service while it speaks.

    num_spoken: utterances that are complete. Times in seconds, since `started_s`.
    """

    started_s: float = field(default_factory=time.perf_counter)
    first_audio_s: float | None = None
    audio_s: float = 0.0
    num_spoken: int = 0
    outcome: Literal["running", "finished", "aborted", "failed"] = "running"

    def note_first_audio(self) -> None:
        """Keep the time of the first call."""
        if self.first_audio_s is None:
            self.first_audio_s = time.perf_counter() - self.started_s


class SpeechService:
    """Speaks requests with one started engine."""

    def __init__(
        self,
        engine: SpeechEngine,
        admission: Admission,
        *,
        max_input_chars: int,
        strict_voices: bool,
        style_from_instructions: bool,
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._max_input_chars = max_input_chars
        self._strict_voices = strict_voices
        self._capabilities = engine.capabilities
        self._styles = style_from_instructions and self._capabilities.speaks_tags
        # Codecs and filters release the GIL; more threads than cores would only add latency.
        self._audio_threads = ThreadPoolExecutor(
            max_workers=os.cpu_count(), thread_name_prefix="fishs2-audio"
        )

    @property
    def engine_name(self) -> str:
        """The value of FISHS2_ENGINE that selects this engine."""
        return self._capabilities.name

    def close(self) -> None:
        """End the audio threads. No request may be in progress."""
        self._audio_threads.shutdown()

    def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide how to speak `request`. Raises UserError with the field at fault."""
        audio_format = choose_format(
            request.format,
            engine_rate_hz=self._capabilities.sample_rate_hz,
            sample_rate_hz=request.sample_rate_hz,
        )
        voice = self._find_voice(request)
        ignored = self._ignored_fields(request)
        pieces = split_text(
            self._speakable_text(request),
            max_chars=self._capabilities.max_utterance_chars,
        )
        return SpeechPlan(
            request=request,
            utterances=tuple(
                Utterance(text=piece.text, voice=voice, sampling=request.sampling)
                for piece in pieces
            ),
            pauses_s=(*(PAUSE_S[piece.boundary] for piece in pieces[:-1]), 0.0),
            format=audio_format,
            ignored=ignored,
        )

    async def stream(self, plan: SpeechPlan, report: SpeechReport) -> AsyncGenerator[bytes]:
        """Yield encoded audio as it is made, in the streamed form of the format.

        The first item holds audio, so whoever has it knows that the engine works. Closing the
        generator aborts the work. Raises BusyError or UserError before the first item, EngineError
        at any time.
        """
        async with aclosing(self._speak(plan, StreamEncoder(plan.format), report)) as encoded:
            async for piece in encoded:
                yield piece

    async def render(self, plan: SpeechPlan, report: SpeechReport) -> bytes:
        """Speak to the end and return a complete file. Raises what `stream` raises."""
        async with aclosing(self._speak(plan, FileEncoder(plan.format), report)) as encoded:
            return b"".join([piece async for piece in encoded])

    async def _speak(
        self, plan: SpeechPlan, encoder: AudioEncoder, report: SpeechReport
    ) -> AsyncGenerator[bytes]:
        rate_hz = self._capabilities.sample_rate_hz
        path = _AudioPath(plan, encoder, engine_rate_hz=rate_hz)
        try:
            with self._admission.stream():
                async with aclosing(self._pcm(plan, report)) as pieces:
                    async for pcm in pieces:
                        encoded = await self._encode(path, pcm)
                        report.audio_s = path.audio_s
                        if encoded:
                            report.note_first_audio()
                            yield encoded
            if not path.has_sound:
                raise _nothing_to_speak()
            loop = asyncio.get_running_loop()
            rest = await loop.run_in_executor(self._audio_threads, path.flush)
            report.audio_s = path.audio_s
            yield rest
            report.outcome = "finished"
        finally:
            if report.outcome == "running":
                gone = isinstance(sys.exception(), GeneratorExit | asyncio.CancelledError)
                report.outcome = "aborted" if gone else "failed"
            _log_outcome(plan, report)

    async def _encode(self, path: "_AudioPath", pcm: Pcm) -> bytes:
        if path.is_light:
            # 16-bit integers of a chunk take 0.1 ms; to hand it to a thread costs more.
            return path.encode(pcm)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._audio_threads, path.encode, pcm)

    async def _pcm(self, plan: SpeechPlan, report: SpeechReport) -> AsyncGenerator[Pcm]:
        """Yield the PCM of all utterances in order, with the pauses between them.

        At most two utterances are in flight: the one being read and the next.
        """
        feeds = [UtteranceFeed(self._engine, self._admission, u) for u in plan.utterances]
        try:
            await feeds[0].start_as_first()
            for index, pause_s in enumerate(plan.pauses_s):
                if index + 1 < len(feeds):
                    feeds[index + 1].start()
                has_sound = False
                async with aclosing(feeds[index].read()) as pieces:
                    async for pcm in pieces:
                        has_sound = True
                        yield pcm
                report.num_spoken += 1
                if has_sound and pause_s:
                    yield silence(pause_s, self._capabilities.sample_rate_hz)
        finally:
            for feed in feeds:
                await feed.close()

    def _find_voice(self, request: SpeechRequest) -> str:
        wanted: str | None = request.voice.strip()
        name = request.voice.strip().lower()
        if name in _DEFAULT_VOICES or (name in PRESET_VOICES and not self._strict_voices):
            wanted = None
        return self._engine.find_voice(wanted, request.language)

    def _speakable_text(self, request: SpeechRequest) -> str:
        """Return the text as the engine gets it, not yet split."""
        num_chars = len(request.text)
        if num_chars > self._max_input_chars:
            raise UserError(
                f"the text has {num_chars:,} characters; the limit is {self._max_input_chars:,}",
                code="input_too_long",
                param="input",
            )
        text = request.text if self._capabilities.speaks_tags else remove_tags(request.text)
        if self._styles:
            text = f"{style_tag(request.instructions)} {text}"
        text = normalize_text(text)
        if not has_speech(remove_tags(text)):
            raise _nothing_to_speak()
        return text

    def _ignored_fields(self, request: SpeechRequest) -> tuple[str, ...]:
        ignored = [
            name
            for name in request.sampling.__slots__
            if getattr(request.sampling, name) is not None
            and name not in self._capabilities.honours
        ]
        if request.instructions and not self._styles:
            ignored.append("instructions")
        return tuple(ignored)


class _AudioPath:
    """PCM of the engine to encoded bytes: effects, then resampling, then the codec.

    One call at a time, from any thread. audio_s: seconds of sound so far, after the effects.
    has_sound: whether the engine has given any. is_light: `encode` takes next to no time.
    """

    def __init__(self, plan: SpeechPlan, encoder: AudioEncoder, *, engine_rate_hz: int) -> None:
        self._effects = EffectChain(plan.request.effects, engine_rate_hz)
        self._resampler = Resampler(engine_rate_hz, plan.format.sample_rate_hz)
        self._encoder = encoder
        self._engine_rate_hz = engine_rate_hz
        self.audio_s = 0.0
        self.has_sound = False
        self.is_light = (
            plan.format.name in ("wav", "pcm")
            and plan.format.sample_rate_hz == engine_rate_hz
            and plan.request.effects == Effects()
        )

    def encode(self, pcm: Pcm) -> bytes:
        """Return what the codec has ready after float32 [n] more of the engine."""
        self.has_sound = self.has_sound or len(pcm) > 0
        return self._encode(self._effects.apply(pcm))

    def flush(self) -> bytes:
        """Return the rest. Nothing may follow."""
        rest = self._encode(self._effects.flush())
        rest += self._encoder.encode(self._resampler.flush())
        return rest + self._encoder.flush()

    def _encode(self, pcm: Pcm) -> bytes:
        self.audio_s += len(pcm) / self._engine_rate_hz
        return self._encoder.encode(self._resampler.resample(pcm))


def _nothing_to_speak() -> UserError:
    return UserError(
        "the text has nothing that can be spoken: send at least one letter or digit",
        code="empty_input",
        param="input",
    )


def _log_outcome(plan: SpeechPlan, report: SpeechReport) -> None:
    seconds = time.perf_counter() - report.started_s
    logger.info(
        "speech",
        extra={
            "request_id": plan.request.request_id,
            "outcome": report.outcome,
            "characters": len(plan.request.text),
            "utterances": len(plan.utterances),
            "format": plan.format.name,
            "audio_s": round(report.audio_s, 3),
            "first_audio_ms": round(1000 * report.first_audio_s) if report.first_audio_s else None,
            "rtf": round(seconds / report.audio_s, 4) if report.audio_s else None,
        },
    )
