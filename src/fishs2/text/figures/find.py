"""All figures and signs of a text in words, where the language has them here."""

import re
from collections.abc import Iterable

from fishs2.text.edits import Edit
from fishs2.text.figures.addresses import find_addresses, find_phones
from fishs2.text.figures.amounts import (
    find_measures,
    find_money,
    find_numbers,
    find_ordinals,
    find_percentages,
)
from fishs2.text.figures.calendar import find_dates, find_times
from fishs2.text.figures.romans import find_romans
from fishs2.text.figures.tongues import TONGUES, Tongue

_ANY = re.compile(r"\d|@|www\.|://|\b[IVXLCDM]+")
_MONTH_FIRST = frozenset({"en", "en-us"})


def find_figures(text: str, language: str) -> list[Edit]:
    """Return what is said in words, in order. Takes time linear in the text.

    language: a BCP 47 tag or eSpeak NG's name; nothing is found in one that has no words here.
    """
    tag = language.lower().replace("_", "-")
    tongue = TONGUES.get(tag.partition("-")[0])
    if tongue is None or not _ANY.search(text):
        return []
    day_first = tongue.day_first or tag not in _MONTH_FIRST
    found: list[Edit] = []
    for edits in _find_all(text, tongue, day_first):
        found = _merge(found, edits)
    return found


def _find_all(text: str, tongue: Tongue, day_first: bool) -> Iterable[Iterable[Edit]]:
    """What is found, the surest first: what is a date is no range of numbers."""
    yield find_addresses(text, tongue)
    if any(character.isdecimal() for character in text):
        yield find_phones(text, tongue)
        yield find_dates(text, tongue, day_first=day_first)
        yield find_times(text, tongue)
        yield find_money(text, tongue)
        yield find_percentages(text, tongue)
        yield find_measures(text, tongue)
        yield find_ordinals(text, tongue)
        yield find_numbers(text, tongue)
    yield find_romans(text, tongue)


def _merge(found: list[Edit], more: Iterable[Edit]) -> list[Edit]:
    """`found`, and those of `more` that touch none of it."""
    kept: list[Edit] = []
    at = 0
    for edit in sorted(more):
        while at < len(found) and found[at].end <= edit.start:
            at += 1
        is_free = at == len(found) or found[at].start >= edit.end
        if is_free and (not kept or kept[-1].end <= edit.start):
            kept.append(edit)
    return sorted([*found, *kept]) if kept else found
