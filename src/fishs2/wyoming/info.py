"""What a server tells of itself: its voices, each under every language that it can speak.

Home Assistant offers a voice only under the languages that are listed for it.
"""

from collections.abc import Iterable, Sequence

from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from fishs2 import __version__
from fishs2.engines.base import Capabilities
from fishs2.engines.languages import LANGUAGES
from fishs2.service.voices.choice import DEFAULT_VOICE
from fishs2.store.voices.files import Voice

_OURS = Attribution("fishs2", "")


def describe(capabilities: Capabilities | None, stored: Iterable[Voice]) -> Info:
    """All voices. capabilities: of the engine; None while it starts, which it may do for minutes:
    it is asked once, by who then keeps the answer.
    """
    languages = capabilities.languages if capabilities else LANGUAGES
    own = capabilities.voices if capabilities else ()
    default = _own_languages(own[0], languages) if own else languages
    voices = [_voice(DEFAULT_VOICE, "the default voice", default)]
    voices += [
        _voice(name, name, _own_languages(name, languages)) for name in own if name != DEFAULT_VOICE
    ]
    taken = {voice.name.casefold() for voice in voices}
    voices += [
        _voice(voice.voice_id, voice.name, languages)
        for voice in stored
        if voice.voice_id.casefold() not in taken
    ]
    program = TtsProgram(
        name="fishs2",
        attribution=_OURS,
        installed=True,
        description="Text to speech on your own machine",
        version=__version__,
        voices=voices,
        supports_synthesize_streaming=True,
    )
    return Info(tts=[program])


def _voice(name: str, description: str, languages: Sequence[str]) -> TtsVoice:
    return TtsVoice(
        name=name,
        attribution=_OURS,
        installed=True,
        description=description,
        version=None,
        languages=list(languages),
    )


def _own_languages(name: str, languages: Sequence[str]) -> Sequence[str]:
    """What one of the engine's own voices speaks: eSpeak's are named by it, others speak all.

    A request that names a voice names no language, so `en-us` must not be offered for German.
    """
    tag = name.partition("+")[0].casefold()
    names = (tag, tag.partition("-")[0])
    return [language for language in languages if language.casefold() in names] or languages
