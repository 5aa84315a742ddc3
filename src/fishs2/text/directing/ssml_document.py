"""What an SSML document says, once it has been read."""

from collections.abc import Sequence
from dataclasses import dataclass

from fishs2.text.directing.cues import Cues, Directed
from fishs2.text.directing.ssml_figures import Figures, say_figures
from fishs2.text.directing.ssml_text import NARRATOR
from fishs2.text.edits import Edit
from fishs2.text.sourced import Sourced
from fishs2.text.turns import speaker_tag


@dataclass(frozen=True, slots=True)
class SsmlVoice:
    """Whose words some are: by name, "" is the voice of the request; by language, "" is its own."""

    name: str = ""
    language: str = ""

    @property
    def is_given(self) -> bool:
        """Whether it is another than that of the request."""
        return bool(self.name or self.language)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """What an SSML document says.

    turns: where another speaker begins, and who. voices: of the speakers but `NARRATOR`, who
    begins, and is numbered behind them.
    language: of the document. ignored: elements and attributes that do nothing, as `ssml:audio` and
    `ssml:prosody.pitch`.
    """

    text: Sourced
    cues: Cues
    turns: tuple[tuple[int, int], ...]
    voices: tuple[SsmlVoice, ...]
    language: str
    ignored: tuple[str, ...]
    figures: tuple[Figures, ...]

    def direct(self, languages: Sequence[str]) -> Directed:
        """The text as it is spoken. languages: of each speaker, the voice of the request last."""
        tags = [Edit(at, at, speaker_tag(self._number(who))) for at, who in self.turns]
        return Directed(self.text.edit(sorted([*tags, *self._say(languages)])), self.cues)

    def find_ignored(self, languages: Sequence[str]) -> tuple[str, ...]:
        """What does nothing in these languages."""
        are_all_said = len(self._say(languages)) == len(self.figures)
        said_as = () if are_all_said else ("ssml:say-as",)
        return tuple(dict.fromkeys([*self.ignored, *said_as]))

    def _say(self, languages: Sequence[str]) -> list[Edit]:
        spoken = [languages[self._number(each.speaker)] for each in self.figures]
        return say_figures(self.text, self.figures, spoken)

    def _number(self, speaker: int) -> int:
        return len(self.voices) if speaker == NARRATOR else speaker
