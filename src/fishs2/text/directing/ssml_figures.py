"""Figures of `say-as` in words, where the language has them here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fishs2.text.edits import Edit
from fishs2.text.figures.numbers import say_digits, say_ordinal, say_whole
from fishs2.text.figures.tongues import TONGUES, Tongue
from fishs2.text.sourced import Sourced

_WHOLE = re.compile(r"\s*(\d{1,15})(?:\.|st|nd|rd|th|º|ª|er|e)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Figures:
    """Some characters of a text that are figures. kind: digits, ordinal or cardinal; speaker: whose
    they are.
    """

    start: int
    end: int
    kind: str
    speaker: int


def say_figures(text: Sourced, figures: Sequence[Figures], languages: Sequence[str]) -> list[Edit]:
    """Return what says the figures of a text in words; nothing for those that cannot be said so.

    languages: of each figure, BCP 47 tags or eSpeak NG's names; "" is unknown.
    """
    edits: list[Edit] = []
    for each, tag in zip(figures, languages, strict=True):
        language = tag.lower().replace("_", "-").partition("-")[0]
        say = _say(text.text[each.start : each.end], each.kind, TONGUES.get(language))
        if say is not None:
            edits.append(Edit(each.start, each.end, say))
    return edits


def _say(written: str, kind: str, tongue: Tongue | None) -> str | None:
    code = tongue.code if tongue else ""
    if kind == "digits":
        digits = [each for each in written if each.isascii() and each.isdigit()]
        if not digits:
            return None
        return say_digits(tongue, "".join(digits)) if tongue and code else " ".join(digits)
    match = _WHOLE.fullmatch(written)
    if match is None:
        return None
    if kind == "ordinal":
        return say_ordinal(code, int(match[1])) if code else None
    return say_whole(code, int(match[1])) if code else match[1]
