"""How a request is spoken, whatever its text: voices, format, manner, and what is ignored.

`Planner` decides everything that can be refused but the text; a plan then writes any text into
lines. A text that is all there becomes a script in `whole`, one that grows in `live`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.engines.base import Capabilities, Sampling, SpeechEngine, Utterance, as_sounds
from fishs2.errors import UserError
from fishs2.service.lexicons import Lexicons
from fishs2.service.speech.document import choose_voices, language_of, read_document
from fishs2.service.speech.request import SpeechRequest, fill
from fishs2.service.speech.script import Line, fit_chars, word, write_script
from fishs2.service.speech.timing.units import Kind
from fishs2.service.voices.choice import ChosenVoice, Cloning, VoiceChooser
from fishs2.service.voices.library import Voices
from fishs2.text.cleaning.cleaning import Cleaning, TextCleaning
from fishs2.text.directing.cues import Directed
from fishs2.text.directing.names import tag_speakers
from fishs2.text.directing.pauses import direct_pauses
from fishs2.text.directing.ssml_document import Document
from fishs2.text.directing.telling import Cutting
from fishs2.text.edits import Edit
from fishs2.text.emoji import EmojiReading
from fishs2.text.pronunciation.reading import Reading, has_sounds_only
from fishs2.text.sourced import Sourced
from fishs2.text.splitting.silences import Silences
from fishs2.text.tags import style_tag
from fishs2.text.turns import without_speaker_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRules:
    """What the settings say about every request; their defaults are there.

    strict_voices: refuse preset names and approximate cloning. styles: make plain instructions a
    style tag. emoji, text_cleaning, silences, sampling: what holds where a request does not say.
    temp_dir: where whole answers are while they are made, if they are large.
    """

    temp_dir: Path
    silences: Silences
    max_input_chars: int
    strict_voices: bool
    styles: bool
    emoji: EmojiReading
    text_cleaning: TextCleaning
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """How a request is spoken: nothing is left to refuse but its text.

    engine: what will speak. cast: the voice of each speaker. like: all of the utterances but text,
    voice and references. directions: what stands before the text. cloning: how near the engine
    comes to the reference; None without one. ignored: fields of the request that change nothing on
    this engine. cleaning: what is left out of the text. readings: how each of the cast says what is
    left. silences: what is wished between utterances. times: how it is found out when words sound,
    where the request asks. document: the text of the request, if it is SSML.
    """

    request: SpeechRequest
    engine: Capabilities
    cast: tuple[ChosenVoice, ...]
    like: Utterance
    format: AudioFormat
    directions: str
    cloning: Cloning | None
    ignored: tuple[str, ...]
    cleaning: Cleaning
    readings: tuple[Reading, ...] = ()
    silences: Silences = field(default_factory=Silences)
    times: Kind | None = None
    document: Document | None = None

    @property
    def languages(self) -> list[str]:
        """What each of the cast speaks; "" is unknown."""
        return [reading.language for reading in self.readings]

    def direct(self, text: str) -> Directed:
        """`text` with its directions found. Raises UserError."""
        if self.document is not None:
            return self.document.direct(self.languages)
        names = [name for name, _ in self.request.cast]
        sourced = Sourced.of(text)
        return direct_pauses(tag_speakers(sourced, names) if names else sourced)

    @property
    def narrator(self) -> int:
        """Who speaks until a turn begins: the voice of the request, behind its cast."""
        return 0 if self.request.speakers else len(self.cast) - 1

    def can_speak(self, text: Directed) -> bool:
        """Tell whether anything of a text can be pronounced."""
        return bool(self.cleaning.clean(without_speaker_tags(text.text)).text)

    def write(self, text: Directed, *, before: str = "") -> list[Line]:
        """What is to be spoken of a text; nothing if nothing can be pronounced.

        before: directions or a speaker's tag, which stand before it. Raises UserError
        `unknown_speaker`.
        """
        request = self.request
        sourced = text.text.edit([Edit(0, 0, before)] if before else [])
        limit = fit_chars(sourced.text, self.engine.max_utterance_chars)
        max_chars = min(limit, request.max_utterance_chars or limit)
        cutting = Cutting(
            max_chars=max_chars,
            cleaning=self.cleaning,
            readings=self.readings,
            silences=self.silences,
        )
        if request.short_utterance_chars is not None:
            cutting = replace(cutting, short_chars=request.short_utterance_chars)
        if self.times not in (None, "exact"):
            # So that nobody has to guess where one ends.
            cutting = replace(cutting, are_sentences_apart=True)
        return write_script(
            replace(text, text=sourced),
            self.cast,
            like=self.like,
            engine=self.engine,
            cutting=cutting,
            needs_all=not self.narrator,
        )

    def worded(self, line: Line) -> Sourced:
        """The text of a line as the engine gets it."""
        return word(line.text, line.utterance.voice, self.engine)


class Planner:
    """Plans requests for one started engine, in its own voices and in stored ones."""

    def __init__(
        self, engine: SpeechEngine, voices: Voices, rules: SpeechRules, lexicons: Lexicons
    ) -> None:
        self._rules = rules
        self._lexicons = lexicons
        self._capabilities = engine.capabilities
        self._chooser = VoiceChooser(engine, voices, strict_voices=rules.strict_voices)
        self._styles = rules.styles and self._capabilities.speaks_tags

    async def plan(self, request: SpeechRequest) -> SpeechPlan:
        """Decide how to speak `request`. Raises UserError with the field at fault."""
        audio_format = choose_format(
            request.format,
            engine_rate_hz=self._capabilities.sample_rate_hz,
            sample_rate_hz=request.sample_rate_hz,
            bit_rate=request.bit_rate,
        )
        document = await self._read_document(request)
        cast = await self._choose_cast(request, document)
        readings = await self._choose_readings(request, document, cast)
        is_cloned = any(chosen.references for chosen in cast)
        return SpeechPlan(
            request=request,
            engine=self._capabilities,
            cast=cast,
            like=self._likeness(request),
            format=audio_format,
            directions=self._directions(request),
            cloning=self._capabilities.cloning if is_cloned else None,
            ignored=(
                *self._ignored_fields(request, cast, readings),
                *self._ignored_of_document(request, document, readings),
            ),
            cleaning=Cleaning(
                speaks_tags=self._capabilities.speaks_tags,
                emoji=request.emoji or self._rules.emoji,
                # SSML says itself what is to be spoken.
                mode="off" if document else request.text_cleaning or self._rules.text_cleaning,
            ),
            readings=tuple(readings),
            silences=request.silences.or_else(self._rules.silences),
            document=document,
        )

    async def _read_document(self, request: SpeechRequest) -> Document | None:
        """The text of a request as SSML, if it is. Raises UserError."""
        if request.text_type != "ssml":
            return None
        check_chars(request.text, max_chars=self._rules.max_input_chars)
        return await asyncio.to_thread(read_document, request, self._capabilities)

    async def _choose_readings(
        self, request: SpeechRequest, document: Document | None, cast: Sequence[ChosenVoice]
    ) -> list[Reading]:
        languages = [request.language] * len(cast)
        if document is not None:
            asked = [voice.language or None for voice in document.voices]
            languages = [*asked, language_of(request, document)]
        return [
            await self._choose_reading(request, voice, language)
            for voice, language in zip(cast, languages, strict=True)
        ]

    async def _choose_reading(
        self, request: SpeechRequest, voice: ChosenVoice, language: str | None
    ) -> Reading:
        """How this voice says words. An engine of plain spelling speaks the language of its voice,
        whatever is asked for.
        """
        capabilities = self._capabilities
        is_plain = capabilities.spelling == "plain"
        asked = language or voice.language
        return Reading(
            lexicons=await self._lexicons.choose(
                request.lexicons, voice=voice.name, words=request.pronunciations
            ),
            language=voice.voice.partition("+")[0] if is_plain else asked,
            as_sounds=as_sounds if capabilities.takes_ipa else None,
            speaks_tags=capabilities.speaks_tags,
            has_figures=(request.text_cleaning or self._rules.text_cleaning) == "full",
        )

    async def _choose_cast(
        self, request: SpeechRequest, document: Document | None
    ) -> tuple[ChosenVoice, ...]:
        if request.speakers:
            return await self._chooser.choose_cast(request.speakers, language=request.language)
        language = request.language
        if document is not None and "language" in self._capabilities.honours:
            language = language_of(request, document)
        chosen = await self._chooser.choose(
            request.voice,
            language=language,
            references=request.references,
            transcript=request.transcript,
        )
        if document is not None:
            named = await choose_voices(request, document, self._chooser, narrator=chosen)
        else:
            speakers = [voice for _, voice in request.cast]
            named = await self._chooser.choose_cast(speakers, language=request.language)
        return (*named, chosen)

    def _likeness(self, request: SpeechRequest) -> Utterance:
        # Zero sets no limit.
        has_limit = request.sampling.max_new_tokens not in (None, 0)
        return Utterance(
            text="",
            sampling=fill(request.sampling, self._rules.sampling),
            has_common_limit=not has_limit or "max_new_tokens" in request.unasked,
            latency=request.latency or "balanced",
            num_threads=request.num_threads,
            verbose=request.verbose,
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
        self,
        request: SpeechRequest,
        cast: tuple[ChosenVoice, ...],
        readings: Sequence[Reading],
    ) -> tuple[str, ...]:
        """Names as the clients know them."""
        asked = {name: getattr(request.sampling, name) for name in request.sampling.__slots__}
        asked |= {"n_threads": request.num_threads, "verbose": request.verbose}
        asked |= {"latency": request.latency}
        heeded = self._capabilities.honours | request.unasked
        ignored = [name for name in asked if asked[name] is not None and name not in heeded]
        if request.control.strip() and not self._capabilities.speaks_tags:
            ignored.append("control")
        if request.emotion and not self._capabilities.speaks_tags:
            ignored.append("emotion")
        if request.emoji == "read" and self._capabilities.spelling == "free":
            ignored.append("emoji")
        if request.instructions and not self._styles:
            ignored.append("instructions")
        if any(has_sounds_only(each.lexicons) for each in readings):
            ignored += [] if self._capabilities.takes_ipa else ["ipa"]
        ignored += sorted(frozenset[str]().union(*(chosen.ignored for chosen in cast)))
        return (*ignored, *request.unheeded)

    def _ignored_of_document(
        self, request: SpeechRequest, document: Document | None, readings: Sequence[Reading]
    ) -> tuple[str, ...]:
        """What does nothing of SSML, and of what a request says about texts that are none."""
        if document is None:
            return ()
        names = document.find_ignored([reading.language for reading in readings])
        if document.language and "language" not in self._capabilities.honours:
            names = ("ssml:speak.xml:lang", *names)
        cleaning = ("text_cleaning",) if request.text_cleaning not in (None, "off", "full") else ()
        return (*cleaning, *names)


def check_chars(text: str, *, max_chars: int) -> None:
    """Raise UserError `input_too_long` for a text that is longer than a request's may be."""
    if len(text) > max_chars:
        raise UserError(
            f"the text has {len(text):,} characters; the limit is {max_chars:,}",
            code="input_too_long",
            param="input",
        )
