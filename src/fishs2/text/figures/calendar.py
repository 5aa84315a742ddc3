"""Dates and times of day.

2024-03-05 -> March fifth, twenty twenty-four      14:30 -> fourteen thirty      3:00 pm -> three PM
5.3.2024 -> fünfter März zweitausendvierundzwanzig      05/03/2024 -> cinq mars deux mille ...
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from fishs2.text.edits import Edit
from fishs2.text.figures.numbers import say_ordinal, say_whole, say_year
from fishs2.text.figures.tongues import Tongue

_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ISO = re.compile(r"(?<![\w/.-])(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?![\w/-]|\.\d)")
_NUMERIC = re.compile(r"(?<![\w/.-])(\d{1,2})([./-])[ ]?(\d{1,2})\2[ ]?(\d{4})(?![\w/-]|\.\d)")
_TIME = re.compile(
    r"(?<![\w:.,])(?P<hour>[01]?\d|2[0-4])(?:[:h](?P<minute>[0-5]\d)(?![\w:]|[.,]\d)"
    r"|(?P<bare>)(?=[ ]?[ap](?:m\b|\.m\.)))(?:[ ]?(?P<half>[ap])(?:m\b|\.m\.))?"
    r"(?:[ ]?(?P<word>Uhr|h)\b)?",
    re.IGNORECASE,
)
_GERMAN_CASES = re.compile(r"\b(?:am|vom|zum|dem|den|bis|seit|ab)\s\Z", re.IGNORECASE)


def find_dates(text: str, tongue: Tongue, *, day_first: bool) -> Iterator[Edit]:
    """Yield dates in words. day_first: whether 5/3 is in March."""
    for match in _ISO.finditer(text):
        year, month, day = int(match[1]), int(match[3]), int(match[4])
        yield from _date(match, tongue, year, month, day)
    for match in _NUMERIC.finditer(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        is_day_first = day_first or match[2] == "." or first > 12
        day, month = (first, second) if is_day_first else (second, first)
        yield from _date(match, tongue, year, month, day)
    for match in _written(tongue).finditer(text):
        month = [name.lower() for name in tongue.months].index(match["month"].lower()) + 1
        day = int(match["day"] or match["day2"])
        yield from _date(match, tongue, int(match["year"] or 0), month, day)


def find_times(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield times of day in words; what may be a score or a duration is none."""
    for match in _TIME.finditer(text):
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        if match["word"] == "h" and match["minute"] is None:
            continue
        said = _time(tongue, hour, minute)
        if match["half"]:
            said = _clock(tongue, hour, minute) if tongue.code == "en" else said
            said += f" {match['half'].upper()}M"
        yield Edit(*match.span(), said)


def _time(tongue: Tongue, hour: int, minute: int) -> str:
    if tongue.code == "en":
        if minute:
            return _clock(tongue, hour, minute)
        said = say_whole("en", hour)
        return f"{said} o'clock" if 0 < hour <= 12 else f"{said} hundred hours"
    pattern = tongue.minute if minute else tongue.hour
    return pattern.format(hour=_hour(tongue, hour), minute=say_whole(tongue.code, minute)).replace(
        "une heures", "une heure"
    )


def _clock(tongue: Tongue, hour: int, minute: int) -> str:
    said = say_whole(tongue.code, hour)
    if not minute:
        return said
    zero = "oh " if minute < 10 else ""
    return f"{said} {zero}{say_whole(tongue.code, minute)}"


def _hour(tongue: Tongue, hour: int) -> str:
    if hour == 1:
        return {"de": "ein", "fr": "une", "es": "una", "it": "una", "pt": "uma"}.get(
            tongue.code, say_whole(tongue.code, hour)
        )
    said = say_whole(tongue.code, hour)
    return f"{said}e" if tongue.code == "fr" and said.endswith(" un") else said


@lru_cache(maxsize=16)
def _written(tongue: Tongue) -> re.Pattern[str]:
    """A day and a month by its name, in the order of the language, perhaps with a year."""
    if not tongue.joins_words:
        # They write dates with words already.
        return re.compile(r"(?!)(?P<day>)(?P<day2>)(?P<month>)(?P<year>)")
    months = "|".join(tongue.months)
    of = "de " if tongue.code in ("es", "pt") else ""
    year = rf"(?:,?[ ]{of}(?P<year>[12]\d{{3}})(?!\w|[.,]\d))?"
    day = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|\.|º|°)?[ ](?:of[ ])?"
    if tongue.code == "en":
        # A month is a word in upper case: may and march are not.
        behind = r"[ ](?P<day2>\d{1,2})(?:st|nd|rd|th)?(?![\w:%]|[.,]\d)"
        either = rf"{day}(?=(?:{months})\b)|(?=(?:{months}){behind.replace('?P<day2>', '?:')})"
        return re.compile(rf"(?<![\w.,])(?:{either})(?P<month>{months})\b(?(day)|{behind}){year}")
    return re.compile(rf"(?<![\w.,]){day}{of}(?P<month>{months})\b(?P<day2>(?!))?{year}", re.I)


def _date(match: re.Match[str], tongue: Tongue, year: int, month: int, day: int) -> Iterator[Edit]:
    if not (1 <= month <= 12 and 1 <= day <= _MONTH_LENGTHS[month - 1]):
        return
    before = match.string[max(0, match.start() - 8) : match.start()]
    said_day = _day(tongue, day, is_bent=_GERMAN_CASES.search(before) is not None)
    name = tongue.months[month - 1]
    pattern = tongue.date if year else tongue.day_month
    said = pattern.format(day=said_day, month=name, year=say_year(tongue, year) if year else "")
    yield Edit(*match.span(), said)


def _day(tongue: Tongue, day: int, *, is_bent: bool) -> str:
    if tongue.code == "en":
        return say_ordinal("en", day)
    if tongue.code == "de":
        return say_ordinal("de", day) + ("n" if is_bent else "r")
    if day == 1 and tongue.code in ("fr", "it", "pt"):
        return {"fr": "premier", "it": "primo", "pt": "primeiro"}[tongue.code]
    return say_whole(tongue.code, day)
