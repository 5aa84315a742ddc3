"""Names of eSpeak's voices: which identifier belongs to a voice's name or to a language.

A voice's name is its main language tag in lower case (`en-us`, `de`, `cmn`), perhaps with one of
eSpeak's variants behind it (`de+f3`). Called by `engines.builtin`; only identifiers found here
ever reach eSpeak, which opens files by that name.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# Listed without a dictionary in espeakng-loader 0.2.4: eSpeak would read their text by guesswork.
_UNUSABLE = frozenset({"fo", "kaa", "xex"})


@dataclass(frozen=True, slots=True)
class EspeakVoice:
    """A voice that eSpeak lists.

    name: unique, lower case. identifier: what eSpeak loads it by (`gmw/en-US`).
    tags: language tag in lower case -> priority, the smallest first choice.
    """

    name: str
    identifier: str
    tags: dict[str, int]


@dataclass(frozen=True, slots=True)
class VoiceCatalogue:
    """All voices and variants of one eSpeak build.

    voices: by name. variants: lower-case name -> name of its file.
    """

    voices: dict[str, EspeakVoice]
    variants: dict[str, str]

    def find(self, name: str) -> str | None:
        """Return the identifier for `voice` or `voice+variant`, in any case, or None."""
        voice_name, plus, variant_name = name.lower().partition("+")
        voice = self.voices.get(voice_name)
        if voice is None or (plus and variant_name not in self.variants):
            return None
        return f"{voice.identifier}+{self.variants[variant_name]}" if plus else voice.identifier

    def find_language(self, tag: str, default: str) -> str | None:
        """Return the name of the voice that speaks a BCP 47 language best, or None.

        The tag as it is, then without its last parts: `de-AT` is read by `de`. The voice `default`
        wins where it speaks the tag, then eSpeak's priority: `en` is read by `en-us` if that is
        the default. A region that eSpeak lacks gets the language's main voice.
        """
        default_tags = self.voices[default.partition("+")[0]].tags
        subtags = tag.lower().replace("_", "-").split("-")
        for count in range(len(subtags), 0, -1):
            wanted = "-".join(subtags[:count])
            if wanted in default_tags:
                return default
            speakers = [voice for voice in self.voices.values() if wanted in voice.tags]
            if speakers:
                return min(speakers, key=lambda voice: _rank(voice, wanted)).name
        return None

    def list_languages(self) -> tuple[str, ...]:
        """Every tag that some voice names, sorted; longer tags under these are understood too."""
        return tuple(sorted({tag for voice in self.voices.values() for tag in voice.tags}))


def read_catalogue(lines: Iterable[str]) -> VoiceCatalogue:
    """Read the lines of the worker's READY message."""
    voices: dict[str, EspeakVoice] = {}
    variants: dict[str, str] = {}
    for line in lines:
        if line.startswith("+"):
            variants[line[1:].lower()] = line[1:]
            continue
        identifier, _, listed = line.partition("\t")
        pairs = [item.partition(":") for item in listed.split()]
        tags = {tag.lower(): int(priority) for priority, _, tag in pairs}
        main_tag = next(iter(tags))
        if main_tag in _UNUSABLE:
            continue
        # Two voices can share a main language (yue); the second goes by its file's name.
        name = main_tag if main_tag not in voices else identifier.rpartition("/")[2].lower()
        voices[name] = EspeakVoice(name=name, identifier=identifier, tags=tags)
    return VoiceCatalogue(voices=voices, variants=variants)


def _rank(voice: EspeakVoice, tag: str) -> tuple[int, int]:
    """Order voices for a tag: eSpeak's priority, then the one named after the tag."""
    return voice.tags[tag], 0 if voice.name == tag else 1
