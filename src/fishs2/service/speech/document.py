"""A request whose text is an SSML document: who its voices are, and what of it does nothing."""

from fishs2.engines.base import Capabilities
from fishs2.errors import UserError
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.voices.choice import ChosenVoice, SpeakerVoice, VoiceChooser
from fishs2.text.directing.names import tidy_name
from fishs2.text.directing.ssml import read_ssml
from fishs2.text.directing.ssml_document import Document


def read_document(request: SpeechRequest, engine: Capabilities) -> Document:
    """The document of a request, which is not too long. Raises what `read_ssml` raises."""
    if request.speakers:
        raise UserError(
            f'text_type "ssml" takes one voice, and the request has {len(request.speakers)}: name '
            "the others in <voice> elements",
            code="invalid_parameter",
            param="text_type",
        )
    return read_ssml(
        request.text,
        speaks_tags=engine.speaks_tags,
        picks_languages="language" in engine.honours,
    )


def language_of(request: SpeechRequest, document: Document) -> str | None:
    """The language of what no element has a language for."""
    return request.language or document.language or None


async def choose_voices(
    request: SpeechRequest, document: Document, chooser: VoiceChooser, *, narrator: ChosenVoice
) -> tuple[ChosenVoice, ...]:
    """Choose for the speakers of a document but the narrator, the voice of the request.

    Raises what `VoiceChooser.choose` raises.
    """
    known = {tidy_name(name): speaker for name, speaker in request.cast}
    own = SpeakerVoice(request.voice, request.references)
    voices: list[ChosenVoice] = []
    for wanted in document.voices:
        speaker, voice, transcript = own, narrator, request.transcript
        if wanted.name:
            speaker = known.get(tidy_name(wanted.name), SpeakerVoice(wanted.name))
            transcript = None
            voice = await _choose(chooser, speaker, None, None)
        if wanted.language and voice.references:
            voice = await _choose(chooser, speaker, wanted.language, transcript)
        elif wanted.language and not _speaks(voice.voice, wanted.language):
            # A voice of the engine's own has its language: another language is another voice.
            voice = await _choose(chooser, SpeakerVoice(), wanted.language, None)
        voices.append(voice)
    return tuple(voices)


async def _choose(
    chooser: VoiceChooser, speaker: SpeakerVoice, language: str | None, transcript: str | None
) -> ChosenVoice:
    return await chooser.choose(
        speaker.voice, language=language, references=speaker.references, transcript=transcript
    )


def _speaks(voice: str, language: str) -> bool:
    """Whether an engine's voice is of this language; one without a region is of any region."""
    name, wanted = voice.lower().partition("+")[0], language.lower().replace("_", "-")
    return name == wanted or name.partition("-")[0] == wanted
