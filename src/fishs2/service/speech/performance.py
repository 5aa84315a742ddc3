"""The main use case: a request for speech becomes encoded audio, as it is made.

`SpeechService.plan` decides everything that can be refused; `stream` and `render` then speak it.
The dialects in `server` call this; it calls `text`, `engines.base` and `audio`.
"""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field, replace

from fishs2.audio.effects import Effects
from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.audio.joints import Joints
from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Latency, Sampling, SpeechEngine, Utterance
from fishs2.errors import UserError
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.audio_path import AudioPath, AudioPaths
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.parts import Read, speak_parts
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.script import (
    Cutting,
    Line,
    fit_chars,
    is_sayable,
    number_parts,
    worded,
    write_script,
)
from fishs2.service.voices.choice import (
    ChosenVoice,
    Cloning,
    GivenReference,
    SpeakerVoice,
    VoiceChooser,
)
from fishs2.service.voices.library import Voices
from fishs2.store.accounts.usage import Outcome
from fishs2.text.cleaning import Cleaning
from fishs2.text.emoji import EmojiReading
from fishs2.text.tags import style_tag
from fishs2.text.turns import remove_speaker_tags

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What a client wants spoken, free of any dialect.

    text: as sent. voice: a voice name; "" is the default voice. references: speak like these,
    joined in order, whatever the voice is. transcript: of the reference or, in place of the stored
    one, of the voice; None was not given, "" was given blank. format: wav, pcm, mp3, opus, aac or
    flac. sample_rate_hz: None means what the format and engine prefer. control: a direction put in
    parentheses before the text; emotion: a word for a style tag; instructions: how to speak, in
    plain words; "" means none.
    speakers: the voices of a text that has several, marked `<|speaker:i|>`; in place of voice,
    references and transcript. bit_rate: of the format, in bits per second; None means ours.
    max_utterance_chars: wish for shorter utterances than the engine's; short_utterance_chars: below
    this they take in the next sentence. is_continuous: the engine may carry its manner over from
    one utterance to the next. emoji: whether they are read; None means what the settings say.
    latency, sampling: what the client asks for; where it does not, None or None in a field, the
    defaults of the dialect hold, and for sampling where these say nothing ours. unheeded: fields of
    the dialect that nobody acts on, as the client knows them.
    """

    request_id: str
    text: str
    voice: str = ""
    references: tuple[GivenReference, ...] = ()
    transcript: str | None = None
    speakers: tuple[SpeakerVoice, ...] = ()
    format: str = "wav"
    sample_rate_hz: int | None = None
    bit_rate: int | None = None
    language: str | None = None
    dialect: str = ""
    control: str = ""
    emotion: str = ""
    instructions: str = ""
    max_utterance_chars: int | None = None
    short_utterance_chars: int | None = None
    is_continuous: bool = True
    emoji: EmojiReading | None = None
    latency: Latency | None = None
    latency_default: Latency = "balanced"
    effects: Effects = field(default_factory=Effects)
    sampling: Sampling = field(default_factory=Sampling)
    sampling_defaults: Sampling = field(default_factory=Sampling)
    num_threads: int | None = None
    verbose: bool | None = None
    unheeded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """A request that can be spoken: nothing in it is left to refuse.

    pauses_s: silence after each utterance, in seconds. cloning: how near the engine comes to the
    reference; None without one. ignored: fields of the request that change nothing on this engine.
    cast: the voice of each speaker. cleaning: what is left out of the text.
    """

    request: SpeechRequest
    utterances: tuple[Utterance, ...]
    pauses_s: tuple[float, ...]
    format: AudioFormat
    cloning: Cloning | None
    ignored: tuple[str, ...]
    cast: tuple[ChosenVoice, ...] = ()
    cleaning: Cleaning = field(default_factory=Cleaning)


OnEnd = Callable[[SpeechPlan, SpeechReport, float], None]


@dataclass(frozen=True, slots=True)
class SpeechRules:
    """What the settings say about every request.

    strict_voices: refuse preset names and approximate cloning. styles: make plain instructions a
    style tag. emoji, sampling: what holds where a request does not say.
    """

    max_input_chars: int = 12_000
    strict_voices: bool = False
    styles: bool = True
    emoji: EmojiReading = "read"
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
        self._paths = AudioPaths(self._capabilities.sample_rate_hz)

    @property
    def engine_name(self) -> str:
        """The value of FISHS2_ENGINE that selects this engine."""
        return self._capabilities.name

    def close(self) -> None:
        """End the audio threads. No request may be in progress."""
        self._paths.close()

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide how to speak `request`. Raises UserError with the field at fault."""
        plan = await self.prepare(request)
        self._check_length(request.text)
        if not self.can_speak(plan, request.text):
            raise _nothing_to_speak()
        lines = self.write(plan, self._directions(request) + request.text)
        if not lines:
            raise _nothing_to_speak()
        return replace(
            plan,
            utterances=number_parts(
                [line.utterance for line in lines], is_continuous=request.is_continuous
            ),
            pauses_s=(*(line.pause_s for line in lines[:-1]), 0.0),
        )

    async def prepare(self, request: SpeechRequest) -> SpeechPlan:
        """Decide all that does not depend on the text. Raises UserError."""
        audio_format = choose_format(
            request.format,
            engine_rate_hz=self._capabilities.sample_rate_hz,
            sample_rate_hz=request.sample_rate_hz,
            bit_rate=request.bit_rate,
        )
        if request.speakers:
            cast = await self._chooser.choose_cast(request.speakers, language=request.language)
        else:
            chosen = await self._chooser.choose(
                request.voice,
                language=request.language,
                references=request.references,
                transcript=request.transcript,
            )
            cast = (chosen,)
        is_cloned = any(chosen.references for chosen in cast)
        return SpeechPlan(
            request=request,
            cast=cast,
            utterances=(),
            pauses_s=(),
            format=audio_format,
            cloning=self._capabilities.cloning if is_cloned else None,
            ignored=self._ignored_fields(request, cast),
            cleaning=Cleaning(
                speaks_tags=self._capabilities.speaks_tags, emoji=request.emoji or self._rules.emoji
            ),
        )

    def can_speak(self, plan: SpeechPlan, text: str) -> bool:
        """Tell whether anything of `text` can be pronounced."""
        return bool(plan.cleaning.clean(remove_speaker_tags(text)))

    def write(self, plan: SpeechPlan, text: str) -> list[Line]:
        """What is to be spoken of `text`, as the plan says; nothing if nothing can be pronounced.

        Raises UserError `unknown_speaker`.
        """
        request = plan.request
        limit = fit_chars(text, self._capabilities.max_utterance_chars)
        max_chars = min(limit, request.max_utterance_chars or limit)
        cutting = Cutting(max_chars=max_chars, cleaning=plan.cleaning)
        if request.short_utterance_chars is not None:
            cutting = replace(cutting, short_chars=request.short_utterance_chars)
        defaults = _fill(request.sampling_defaults, self._rules.sampling)
        like = Utterance(
            text="",
            sampling=_fill(request.sampling, defaults),
            # Zero sets no limit.
            has_common_limit=not request.sampling.max_new_tokens,
            latency=request.latency or request.latency_default,
            num_threads=request.num_threads,
            verbose=request.verbose,
        )
        lines = write_script(text, plan.cast, like=like, engine=self._capabilities, cutting=cutting)
        return [line for line in lines if is_sayable(line.utterance, self._capabilities)]

    async def stream(self, plan: SpeechPlan, report: SpeechReport) -> AsyncGenerator[bytes]:
        """Yield encoded audio as it is made, in the streamed form of the format.

        The first item holds audio, so whoever has it knows that the engine works. Closing the
        generator aborts the work. Raises BusyError or UserError before the first item, EngineError
        at any time.
        """
        spoken = self._pcm(plan, report, UtteranceFeed.read)
        path = self.open_path(plan)
        pieces = self.perform(spoken, path, report, lambda: plan, self.open_place())
        async with aclosing(pieces) as encoded:
            async for piece in encoded:
                yield piece

    async def render(self, plan: SpeechPlan, report: SpeechReport) -> bytes:
        """Speak to the end and return a complete file. Raises what `stream` raises."""
        path = self._paths.file(plan.format, plan.request.effects)
        spoken = self._pcm(plan, report, UtteranceFeed.read_whole)
        pieces = self.perform(spoken, path, report, lambda: plan, self.open_place())
        async with aclosing(pieces) as encoded:
            return b"".join([piece async for piece in encoded])

    def open_path(self, plan: SpeechPlan) -> AudioPath:
        """The way from PCM to the streamed form of the plan's format."""
        return self._paths.stream(plan.format, plan.request.effects)

    def open_place(self) -> AbstractContextManager[None]:
        """The place of one request in progress; to enter it raises BusyError."""
        return self._admission.stream()

    def open_feed(self, utterance: Utterance) -> UtteranceFeed:
        """One utterance, not yet started; the caller closes it."""
        speakable = worded(utterance, self._capabilities)
        return UtteranceFeed(self._engine, self._admission, speakable)

    def end_speech(self, speech: str) -> None:
        """No more parts of this speech come."""
        self._engine.end_speech(speech)

    @property
    def sample_rate_hz(self) -> int:
        """Of the engine's PCM."""
        return self._capabilities.sample_rate_hz

    async def perform(
        self,
        pieces: AsyncGenerator[Pcm],
        path: AudioPath,
        report: SpeechReport,
        plan_by_now: Callable[[], SpeechPlan],
        place: AbstractContextManager[object],
    ) -> AsyncGenerator[bytes]:
        """Yield the pieces as `path` encodes them, while it has its place.

        Keeps the report and tells at the end how it went. plan_by_now: what is known to be spoken.
        """
        try:
            with place:
                async with aclosing(pieces):
                    async for pcm in pieces:
                        report.note_pcm(len(pcm) / self.sample_rate_hz / path.speed)
                        encoded = await path.encode(pcm)
                        report.audio_s = path.audio_s
                        if encoded:
                            report.note_first_audio()
                            yield encoded
            if path.has_sound:
                rest = await path.flush()
                report.audio_s = path.audio_s
                yield rest
            elif plan_by_now().utterances:
                raise _nothing_to_speak()
            report.outcome = "finished"
        finally:
            if report.outcome == "running":
                gone = isinstance(sys.exception(), GeneratorExit | asyncio.CancelledError)
                report.outcome = "aborted" if gone else "failed"
            seconds = time.perf_counter() - report.started_s
            _log_outcome(plan_by_now(), report, seconds)
            self._on_end(plan_by_now(), report, seconds)

    def _pcm(self, plan: SpeechPlan, report: SpeechReport, read: Read) -> AsyncGenerator[Pcm]:
        feeds = [self.open_feed(utterance) for utterance in plan.utterances]
        joints = Joints(self.sample_rate_hz)
        return speak_parts(feeds, plan.pauses_s, joints, read=read, report=report)

    def _check_length(self, text: str) -> None:
        limit = self._rules.max_input_chars
        if len(text) > limit:
            raise UserError(
                f"the text has {len(text):,} characters; the limit is {limit:,}",
                code="input_too_long",
                param="input",
            )

    def _directions(self, request: SpeechRequest) -> str:
        """What stands before the text for an engine that acts on it."""
        if not self._capabilities.speaks_tags:
            return ""
        # The original wrapper's form, without a space. Source: contract A.2.
        control = f"({request.control.strip()})" if request.control.strip() else ""
        style = style_tag(request.instructions) if self._styles else ""
        return f"{style_tag(request.emotion)} {style} {control}"

    def _ignored_fields(
        self, request: SpeechRequest, cast: tuple[ChosenVoice, ...]
    ) -> tuple[str, ...]:
        """Names as the clients know them."""
        asked = {name: getattr(request.sampling, name) for name in request.sampling.__slots__}
        asked |= {"n_threads": request.num_threads, "verbose": request.verbose}
        asked |= {"latency": request.latency}
        honoured = self._capabilities.honours
        ignored = [name for name in asked if asked[name] is not None and name not in honoured]
        if request.control.strip() and not self._capabilities.speaks_tags:
            ignored.append("control")
        if request.emotion and not self._capabilities.speaks_tags:
            ignored.append("emotion")
        if request.emoji == "read" and self._capabilities.spelling == "free":
            ignored.append("emoji")
        if request.instructions and not self._styles:
            ignored.append("instructions")
        ignored += sorted(frozenset[str]().union(*(chosen.ignored for chosen in cast)))
        return (*ignored, *request.unheeded)


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
    is_timed = report.audio_s > 0 and not report.is_live
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
            "rtf": round(seconds / report.audio_s, 4) if is_timed else None,
            "rerolls": report.num_rerolls or None,
        },
    )
