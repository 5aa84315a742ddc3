"""How the words of a text are said: what lexicons say, never inside a direction.

`service.speech.script` reads what `cleaning` leaves, before it is split into utterances. What a
lexicon says is not looked at again.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fishs2.errors import UserError
from fishs2.text.edits import Edit
from fishs2.text.pronunciation.lexicon import Found, Lexicon, choose
from fishs2.text.pronunciation.words import tidy
from fishs2.text.sourced import Sourced
from fishs2.text.tags import find_leading_controls, find_tags

MAX_GROWTH = 4
"""How often as long as it was, and `_ROOM_CHARS`, a text may become by lexicons."""

_ROOM_CHARS = 4_000
_SPACES = re.compile(" {2,}")
_BLANK_ENDS = re.compile(r"\A[ \n]+|[ \n]+\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """How one voice says the words of a text.

    lexicons: the one that counts most first. language: of the speech, "" is unknown. as_sounds:
    writes IPA as the engine takes it; None where it takes none. speaks_tags: the engine acts on
    tags.
    """

    lexicons: tuple[Lexicon, ...] = ()
    language: str = ""
    as_sounds: Callable[[str], str] | None = None
    speaks_tags: bool = False

    def read(self, text: Sourced) -> Sourced:
        """Return what is said of `text`, which is cleaned. Raises UserError `input_too_long`."""
        edits = list(self._find(text.text))
        if not edits:
            return text
        num_chars = len(text.text) + sum(len(each.say) - each.end + each.start for each in edits)
        limit = MAX_GROWTH * len(text.text) + _ROOM_CHARS
        if num_chars > limit:
            raise UserError(
                f"what the lexicons say of the text has {num_chars:,} characters; the limit for "
                f"{len(text.text):,} is {limit:,}: say less, or send less text",
                code="input_too_long",
                param="input",
            )
        return text.edit(edits).sub(_SPACES, " ").sub(_BLANK_ENDS, "")

    def _find(self, text: str) -> Iterator[Edit]:
        found = [list(lexicon.find(text, self.language)) for lexicon in self.lexicons]
        if not any(found):
            return
        for each in choose(found, self._blocked(text)):
            say = self._say(each)
            if say is not None and say != text[each.start : each.end]:
                yield Edit(each.start, each.end, say)

    def _say(self, found: Found) -> str | None:
        """What stands in its place; None where it stays as it is written."""
        if found.word.ipa is not None and self.as_sounds is not None:
            return self.as_sounds(tidy(found.word.ipa))
        return None if found.say is None else tidy(found.say)

    def _blocked(self, text: str) -> list[tuple[int, int]]:
        return sorted({*find_tags(text), *find_leading_controls(text)}) if self.speaks_tags else []


AS_WRITTEN = Reading()
"""Nothing is said otherwise."""


def has_sounds_only(lexicons: tuple[Lexicon, ...]) -> bool:
    """Whether a word is given in IPA and in no letters."""
    return any(each.ipa and each.say is None for lexicon in lexicons for each in lexicon.words)
