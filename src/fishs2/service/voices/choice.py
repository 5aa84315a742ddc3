"""Whose voice a request is spoken in: its own references, a stored voice, or the engine's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fishs2.engines.base import Reference, SpeechEngine
from fishs2.errors import NotFoundError, UserError
from fishs2.service.voices.library import Voices
from fishs2.store.voices.files import Voice

Cloning = Literal["none", "approximate", "full"]

SPEECH_PRESETS = (
    *("alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer"),
    *("verse", "marin", "cedar"),
)
"""OpenAI's voice names. Source: OpenAI API reference, createSpeech."""

_LIVE_PRESETS = (
    *("beacon", "bossa", "cinder", "delta", "gleam", "meridian", "quartz", "ripple", "shida"),
    *("stone", "tempo", "vesper", "willow"),
)

PRESET_VOICES = frozenset({*SPEECH_PRESETS, *_LIVE_PRESETS})
"""Those and the names of its live API. Source: OpenAI API reference, Realtime."""

DEFAULT_VOICE = "default"
_DEFAULT_VOICES = frozenset({"", DEFAULT_VOICE, "random"})


@dataclass(frozen=True, slots=True)
class GivenReference:
    """Audio that came with a request. Either content, the bytes of a file, or path is given.

    transcript: what is said in it; None was not given.
    """

    content: bytes | None = None
    path: str | None = None
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class SpeakerVoice:
    """The voice of one speaker of a text that has several; references win over the name."""

    voice: str = ""
    references: tuple[GivenReference, ...] = ()


@dataclass(frozen=True, slots=True)
class ChosenVoice:
    """voice: for `Utterance.voice`. references: none speaks in the engine's own voice.

    ignored: what was given for the choice and changed nothing, as the clients know it. language: of
    the stored voice, as whoever stored it wrote it; "" is unknown. name: by which a lexicon may be
    this voice's; "" where the request has only a recording.
    """

    voice: str
    references: tuple[Reference, ...] = ()
    ignored: frozenset[str] = frozenset()
    language: str = ""
    name: str = ""


class VoiceChooser:
    """Finds voices for one started engine.

    strict_voices: a preset name that nobody has stored is an error, and so is cloning by an engine
    that only comes near.
    """

    def __init__(self, engine: SpeechEngine, voices: Voices, *, strict_voices: bool) -> None:
        self._engine = engine
        self._voices = voices
        self._strict = strict_voices

    async def choose(
        self,
        name: str,
        *,
        language: str | None,
        references: Sequence[GivenReference],
        transcript: str | None,
    ) -> ChosenVoice:
        """Choose for a request. References win over the name, a stored voice over the engine's.

        transcript: for a stored voice it replaces the stored one; "" counts as missing. Raises
        NotFoundError `voice_not_found`; UserError `invalid_reference_audio`, `missing_prompt_text`,
        `cloning_not_supported`, `unsupported_language` and what decoding raises.
        """
        if references:
            return await self._choose_given(name, language, references, transcript)
        stored = await self._voices.find(name) if name.strip() else None
        if stored is not None:
            return await self._choose_stored(stored, language, transcript)
        own = self._own_name(name)
        ignored = self._ignored(own, language)
        if transcript is not None:
            ignored |= {"reference_text"}
        found = await self._find_own(own, name, language)
        return ChosenVoice(found, ignored=ignored, name=found.partition("+")[0])

    async def _find_own(self, own: str | None, name: str, language: str | None) -> str:
        """The engine's voice. For one that it lacks, the error names the one that was meant."""
        try:
            return self._engine.find_voice(own, language)
        except NotFoundError as error:
            meant = await self._voices.suggest(name, self._engine.capabilities.voices)
            raise NotFoundError(
                f"{error.message}{meant}", code=error.code, param=error.param
            ) from None

    async def choose_cast(
        self, speakers: Sequence[SpeakerVoice], *, language: str | None
    ) -> tuple[ChosenVoice, ...]:
        """Choose for each speaker. Raises what `choose` raises."""
        chosen: dict[SpeakerVoice, ChosenVoice] = {}
        for speaker in speakers:
            # Two speakers with one voice: it is read and decoded once.
            if speaker not in chosen:
                chosen[speaker] = await self.choose(
                    speaker.voice, language=language, references=speaker.references, transcript=None
                )
        return tuple(chosen[speaker] for speaker in speakers)

    async def _choose_given(
        self,
        name: str,
        language: str | None,
        references: Sequence[GivenReference],
        transcript: str | None,
    ) -> ChosenVoice:
        self._check_cloning()
        files = [await self._read(reference) for reference in references]
        transcripts = [reference.transcript for reference in references]
        is_transcript_ignored = transcript is not None and len(transcripts) > 1
        if len(transcripts) == 1 and transcript is not None:
            transcripts = [transcript]
        parts = [
            (file, _checked_transcript(text)) for file, text in zip(files, transcripts, strict=True)
        ]
        reference = await self._voices.join_references(parts)
        carrier, ignored = self._carrier(name, language)
        if is_transcript_ignored:
            ignored |= {"reference_text"}
        return ChosenVoice(carrier, (reference,), ignored)

    async def _choose_stored(
        self, stored: Voice, language: str | None, transcript: str | None
    ) -> ChosenVoice:
        self._check_cloning()
        needs_transcript = self._engine.capabilities.needs_transcript
        reference = await self._voices.reference(
            stored, transcript, needs_transcript=needs_transcript
        )
        carrier = self._stored_carrier(stored, language)
        return ChosenVoice(
            carrier,
            (reference,),
            self._ignored(None, language),
            language=stored.language or "",
            name=stored.voice_id,
        )

    async def _read(self, reference: GivenReference) -> bytes:
        if reference.content is not None:
            return reference.content
        assert reference.path is not None
        return await self._voices.read_reference_file(reference.path)

    def _carrier(self, name: str, language: str | None) -> tuple[str, frozenset[str]]:
        """The engine's voice under a reference, and what was ignored for it.

        It is the voice that is named, if the engine has it.
        """
        own = self._own_name(name)
        try:
            return self._engine.find_voice(own, language), self._ignored(own, language)
        except NotFoundError:
            found = self._engine.find_voice(None, language)
            return found, self._ignored(None, language) | {"voice"}

    def _stored_carrier(self, stored: Voice, language: str | None) -> str:
        if language is None and stored.language:
            try:
                return self._engine.find_voice(None, stored.language)
            except UserError:
                # A note of whoever stored the voice, in words of their own; the request asks for
                # no language.
                pass
        return self._engine.find_voice(None, language)

    def _ignored(self, own: str | None, language: str | None) -> frozenset[str]:
        """A voice of the engine that is named overrides the language."""
        heeds = own is None and "language" in self._engine.capabilities.honours
        return frozenset() if language is None or heeds else frozenset({"language"})

    def _own_name(self, name: str) -> str | None:
        """The name to ask the engine for; None for its default voice."""
        wanted = name.strip().lower()
        if wanted in _DEFAULT_VOICES or (wanted in PRESET_VOICES and not self._strict):
            return None
        return name.strip()

    def _check_cloning(self) -> None:
        capabilities = self._engine.capabilities
        if capabilities.cloning == "full":
            return
        if capabilities.cloning == "none" or self._strict:
            raise UserError(
                f"the {capabilities.name} engine cannot clone a voice; the s2 engine can",
                code="cloning_not_supported",
                param="voice",
            )


def _checked_transcript(text: str | None) -> str:
    if text is None or not text.strip():
        raise UserError(
            "reference audio needs its transcript: send reference_text with what is said in it",
            code="missing_prompt_text",
            param="reference_text",
        )
    return text
