"""The main use case: a request for speech becomes encoded audio, as it is made.

`SpeechService.plan` decides everything that can be refused; `stream` and `render` then speak it.
The dialects in `server` call this; it calls `text`, `engines.base` and `audio`.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal

from fishs2.audio.effects import EffectChain, Effects, LoudnessStage
from fishs2.audio.encode import AudioEncoder, FileEncoder, StreamEncoder
from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.audio.loudness import StreamLoudness, WholeLoudness
from fishs2.audio.pcm import Pcm, Resampler
from fishs2.engines.base import Sampling, SpeechEngine, Utterance
from fishs2.errors import UserError
from fishs2.service.admission import Admission
from fishs2.service.feed import UtteranceFeed
from fishs2.service.parts import Read, speak_parts
from fishs2.service.voice_choice import Cloning, GivenReference, VoiceChooser
from fishs2.service.voices import Voices
from fishs2.store.usage import Outcome
from fishs2.text.normalize import has_speech, normalize_text
from fishs2.text.split import split_text
from fishs2.text.tags import remove_tags, style_tag

logger = logging.getLogger(__name__)

PAUSE_S = {"paragraph": 0.6, "sentence": 0.3, "clause": 0.12, "word": 0.0}
"""Silence between two utterances, in seconds, by what ended the first: common reading pauses."""


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What a client wants spoken, free of any dialect.

    text: as sent. voice: a voice name; "" is the default voice. references: speak like these,
    joined in order, whatever the voice is. transcript: of the reference or, in place of the stored
    one, of the voice; None was not given, "" was given blank. format: wav, pcm, mp3, opus, aac or
    flac. sample_rate_hz: None means what the format and engine prefer. control: a direction put in
    parentheses before the text; emotion: a word for a style tag; instructions: how to speak, in
    plain words; "" means none.
    max_utterance_chars: wish for shorter utterances than the engine's. sampling: None in a field
    means our default.
    """

    request_id: str
    text: str
    voice: str = ""
    references: tuple[GivenReference, ...] = ()
    transcript: str | None = None
    format: str = "wav"
    sample_rate_hz: int | None = None
    language: str | None = None
    dialect: str = ""
    control: str = ""
    emotion: str = ""
    instructions: str = ""
    max_utterance_chars: int | None = None
    effects: Effects = field(default_factory=Effects)
    sampling: Sampling = field(default_factory=Sampling)
    num_threads: int | None = None
    verbose: bool | None = None


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """A request that can be spoken: nothing in it is left to refuse.

    pauses_s: silence after each utterance, in seconds. cloning: how near the engine comes to the
    reference; None without one. ignored: fields of the request that change nothing on this engine.
    """

    request: SpeechRequest
    utterances: tuple[Utterance, ...]
    pauses_s: tuple[float, ...]
    format: AudioFormat
    cloning: Cloning | None
    ignored: tuple[str, ...]


@dataclass(slots=True)
class SpeechReport:
    """What became of one plan; written by the service while it speaks.

    num_begun, num_spoken: utterances that sounded, and that are complete. num_rerolls: how often
    one was spoken again. Times in seconds, since `started_s`.
    """

    started_s: float = field(default_factory=time.perf_counter)
    first_audio_s: float | None = None
    audio_s: float = 0.0
    num_begun: int = 0
    num_spoken: int = 0
    num_rerolls: int = 0
    outcome: Literal["running", "finished", "aborted", "failed"] = "running"

    def note_first_audio(self) -> None:
        """Keep the time of the first call."""
        if self.first_audio_s is None:
            self.first_audio_s = time.perf_counter() - self.started_s


OnEnd = Callable[[SpeechPlan, SpeechReport, float], None]


@dataclass(frozen=True, slots=True)
class SpeechRules:
    """What the settings say about every request.

    strict_voices: refuse preset names and approximate cloning. styles: make plain instructions a
    style tag. sampling: what holds where a request does not say.
    """

    max_input_chars: int = 12_000
    strict_voices: bool = False
    styles: bool = True
    sampling: Sampling = field(default_factory=Sampling)


class SpeechService:
    """Speaks requests with one started engine, in its own voices and in stored ones."""

    def __init__(
        self,
        engine: SpeechEngine,
        admission: Admission,
        voices: Voices,
        rules: SpeechRules,
        *,
        on_end: OnEnd = lambda _plan, _report, _seconds: None,
    ) -> None:
        """on_end: told of every request that has ended, and after how many seconds."""
        self._engine = engine
        self._admission = admission
        self._rules = rules
        self._on_end = on_end
        self._capabilities = engine.capabilities
        self._chooser = VoiceChooser(engine, voices, strict_voices=rules.strict_voices)
        self._styles = rules.styles and self._capabilities.speaks_tags
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

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide how to speak `request`. Raises UserError with the field at fault."""
        audio_format = choose_format(
            request.format,
            engine_rate_hz=self._capabilities.sample_rate_hz,
            sample_rate_hz=request.sample_rate_hz,
        )
        chosen = await self._chooser.choose(
            request.voice,
            language=request.language,
            references=request.references,
            transcript=request.transcript,
        )
        pieces = split_text(self._speakable_text(request), max_chars=self._max_chars(request))
        return SpeechPlan(
            request=request,
            utterances=tuple(
                Utterance(
                    text=piece.text,
                    voice=chosen.voice,
                    references=chosen.references,
                    sampling=_fill(request.sampling, self._rules.sampling),
                    num_threads=request.num_threads,
                    verbose=request.verbose,
                )
                for piece in pieces
            ),
            pauses_s=(*(PAUSE_S[piece.boundary] for piece in pieces[:-1]), 0.0),
            format=audio_format,
            cloning=self._capabilities.cloning if chosen.references else None,
            ignored=self._ignored_fields(request),
        )

    async def stream(self, plan: SpeechPlan, report: SpeechReport) -> AsyncGenerator[bytes]:
        """Yield encoded audio as it is made, in the streamed form of the format.

        The first item holds audio, so whoever has it knows that the engine works. Closing the
        generator aborts the work. Raises BusyError or UserError before the first item, EngineError
        at any time.
        """
        path = self._audio_path(plan, StreamEncoder(plan.format), StreamLoudness)
        async with aclosing(self._speak(plan, path, report, UtteranceFeed.read)) as encoded:
            async for piece in encoded:
                yield piece

    async def render(self, plan: SpeechPlan, report: SpeechReport) -> bytes:
        """Speak to the end and return a complete file. Raises what `stream` raises."""
        path = self._audio_path(plan, FileEncoder(plan.format), WholeLoudness)
        async with aclosing(self._speak(plan, path, report, UtteranceFeed.read_whole)) as encoded:
            return b"".join([piece async for piece in encoded])

    async def _speak(
        self, plan: SpeechPlan, path: "_AudioPath", report: SpeechReport, read: Read
    ) -> AsyncGenerator[bytes]:
        try:
            with self._admission.stream():
                spoken = speak_parts(
                    self._engine,
                    self._admission,
                    plan.utterances,
                    plan.pauses_s,
                    read=read,
                    report=report,
                )
                async with aclosing(spoken) as pieces:
                    async for pcm in pieces:
                        encoded = await self._encode(path, pcm)
                        report.audio_s = path.audio_s
                        if encoded:
                            report.note_first_audio()
                            yield encoded
            if not path.has_sound:
                raise _nothing_to_speak()
            rest = await asyncio.get_running_loop().run_in_executor(self._audio_threads, path.flush)
            report.audio_s = path.audio_s
            yield rest
            report.outcome = "finished"
        finally:
            if report.outcome == "running":
                gone = isinstance(sys.exception(), GeneratorExit | asyncio.CancelledError)
                report.outcome = "aborted" if gone else "failed"
            seconds = time.perf_counter() - report.started_s
            _log_outcome(plan, report, seconds)
            self._on_end(plan, report, seconds)

    def _audio_path(
        self, plan: SpeechPlan, encoder: AudioEncoder, loudness: LoudnessStage
    ) -> "_AudioPath":
        rate_hz = self._capabilities.sample_rate_hz
        effects = EffectChain(plan.request.effects, rate_hz, loudness=loudness)
        return _AudioPath(plan, encoder, effects, engine_rate_hz=rate_hz)

    async def _encode(self, path: "_AudioPath", pcm: Pcm) -> bytes:
        if path.is_light:
            # 16-bit integers of a chunk take 0.1 ms; to hand it to a thread costs more.
            return path.encode(pcm)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._audio_threads, path.encode, pcm)

    def _max_chars(self, request: SpeechRequest) -> int:
        limit = self._capabilities.max_utterance_chars
        return min(limit, request.max_utterance_chars or limit)

    def _speakable_text(self, request: SpeechRequest) -> str:
        """Return the text as the engine gets it, not yet split."""
        num_chars = len(request.text)
        if num_chars > self._rules.max_input_chars:
            limit = self._rules.max_input_chars
            raise UserError(
                f"the text has {num_chars:,} characters; the limit is {limit:,}",
                code="input_too_long",
                param="input",
            )
        if not self._capabilities.speaks_tags:
            text = normalize_text(remove_tags(request.text))
            if not has_speech(text):
                raise _nothing_to_speak()
            return text
        # The original wrapper's form, without a space. Source: contract A.2.
        control = f"({request.control.strip()})" if request.control.strip() else ""
        style = style_tag(request.instructions) if self._styles else ""
        if not has_speech(remove_tags(request.text)):
            raise _nothing_to_speak()
        return normalize_text(f"{style_tag(request.emotion)} {style} {control}{request.text}")

    def _ignored_fields(self, request: SpeechRequest) -> tuple[str, ...]:
        """Names as the clients know them."""
        asked = {name: getattr(request.sampling, name) for name in request.sampling.__slots__}
        asked |= {"n_threads": request.num_threads, "verbose": request.verbose}
        honoured = self._capabilities.honours
        ignored = [name for name in asked if asked[name] is not None and name not in honoured]
        if request.control.strip() and not self._capabilities.speaks_tags:
            ignored.append("control")
        if request.emotion and not self._capabilities.speaks_tags:
            ignored.append("emotion")
        if request.instructions and not self._styles:
            ignored.append("instructions")
        return tuple(ignored)


class _AudioPath:
    """PCM of the engine to encoded bytes: effects, then resampling, then the codec.

    One call at a time, from any thread. audio_s: seconds of sound so far, after the effects.
    has_sound: whether the engine has given any. is_light: `encode` takes next to no time.
    """

    def __init__(
        self,
        plan: SpeechPlan,
        encoder: AudioEncoder,
        effects: EffectChain,
        *,
        engine_rate_hz: int,
    ) -> None:
        self._effects = effects
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


def cost(plan: SpeechPlan, report: SpeechReport) -> Outcome:
    """What a request is charged: all of its text; aborted, the utterances that had begun; failed,
    nothing.
    """
    num_chars = len(plan.request.text)
    if report.outcome == "finished":
        return Outcome(num_chars, report.audio_s)
    if report.outcome == "aborted":
        begun = sum(len(utterance.text) for utterance in plan.utterances[: report.num_begun])
        return Outcome(min(begun, num_chars), report.audio_s)
    return Outcome(0, report.audio_s, is_error=True)


def _fill(asked: Sampling, default: Sampling) -> Sampling:
    """`asked`, with `default` in the fields that are None."""
    return replace(
        default, **{k: v for k in asked.__slots__ if (v := getattr(asked, k)) is not None}
    )


def _nothing_to_speak() -> UserError:
    return UserError(
        "the text has nothing that can be spoken: send at least one letter or digit",
        code="empty_input",
        param="input",
    )


def _log_outcome(plan: SpeechPlan, report: SpeechReport, seconds: float) -> None:
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
            "rerolls": report.num_rerolls or None,
        },
    )
