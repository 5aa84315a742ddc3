"""How the words of a text are said: what lexicons say, never inside a direction.

`service.speech.script` reads what `cleaning` leaves, before it is split into utterances. What a
lexicon says is not looked at again.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fishs2.errors import UserError
from fishs2.text.edits import Edit
from fishs2.text.figures.find import find_figures
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
    tags. has_figures: figures and signs are said in words, where they are no lexicon's.
    """

    lexicons: tuple[Lexicon, ...] = ()
    language: str = ""
    as_sounds: Callable[[str], str] | None = None
    speaks_tags: bool = False
    has_figures: bool = False

    def read(self, text: Sourced) -> Sourced:
        """Return what is said of `text`, which is cleaned. Raises UserError `input_too_long`."""
        edits = self._find(text.text)
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

    def _find(self, text: str) -> list[Edit]:
        blocked = self._blocked(text)
        found = [list(lexicon.find(text, self.language)) for lexicon in self.lexicons]
        edits = []
        for each in choose(found, blocked) if any(found) else ():
            blocked.append((each.start, each.end))
            say = self._say(each)
            if say is not None and say != text[each.start : each.end]:
                edits.append(Edit(each.start, each.end, say))
        if self.has_figures:
            edits += _without(find_figures(text, self.language), sorted(blocked))
        return sorted(edits)

    def _say(self, found: Found) -> str | None:
        """What stands in its place; None where it stays as it is written."""
        if found.word.ipa is not None and self.as_sounds is not None:
            return self.as_sounds(tidy(found.word.ipa))
        return None if found.say is None else tidy(found.say)

    def _blocked(self, text: str) -> list[tuple[int, int]]:
        return sorted({*find_tags(text), *find_leading_controls(text)}) if self.speaks_tags else []


AS_WRITTEN = Reading()
"""Nothing is said otherwise."""


def _without(edits: Sequence[Edit], spans: Sequence[tuple[int, int]]) -> list[Edit]:
    """Those that touch none of these, which are in order."""
    kept, at = [], 0
    for edit in edits:
        while at < len(spans) and spans[at][1] <= edit.start:
            at += 1
        if at == len(spans) or spans[at][0] >= edit.end:
            kept.append(edit)
    return kept


def has_sounds_only(lexicons: tuple[Lexicon, ...]) -> bool:
    """Whether a word is given in IPA and in no letters."""
    return any(each.ipa and each.say is None for lexicon in lexicons for each in lexicon.words)
