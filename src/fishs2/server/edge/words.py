"""Words of lexicons in bodies: of every dialect's speech, and of the lexicons' own routes."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field

from fishs2.server.edge.bodies import one_as_list
from fishs2.server.edge.fields import JsonBody
from fishs2.text.pronunciation.words import Case, Word


class WordBody(JsonBody):
    """How one word is said. Of word and regex one is given, and say, ipa or both."""

    word: str | None = Field(None, description="As it is written; found where a word is.")
    regex: str | None = Field(None, description="Or a regular expression in RE2's syntax.")
    say: str | None = Field(
        None, description='Its respelling; "" leaves it out, \\\\1 is a group of regex.'
    )
    ipa: str | None = Field(
        None, description="Its sounds, for an engine that takes them; others use say."
    )
    language: str | None = Field(None, description="Only in speech of this language: BCP 47.")
    case: Case = Field("any", description="exact: only when it is capitalised as here.")


def _names(value: object) -> object:
    """Names as a list; an empty field of a form, which comes as one empty name, is none."""
    listed = one_as_list(value)
    return None if listed == [""] else listed


Lexicons = Annotated[
    list[str] | None,
    BeforeValidator(_names),
    Field(description="Names of lexicons that act beside the default one and the voice's."),
]
Pronunciations = Annotated[
    list[WordBody] | None, Field(description="How words of this request are said.")
]


def to_words(bodies: Sequence[WordBody] | None) -> tuple[Word, ...]:
    """The words of a body."""
    return tuple(
        Word(
            word=each.word,
            regex=each.regex,
            say=each.say,
            ipa=each.ipa,
            language=each.language,
            case=each.case,
        )
        for each in bodies or ()
    )
