"""Numbers as they are written and said in one language.

en 1,234.5 -> one thousand two hundred and thirty-four point five      zh 1,234.5 -> 1234.5
de 1.234,5 -> eintausendzweihundertvierunddreißig Komma fünf
"""

import re
from functools import lru_cache

from num2words import num2words

from fishs2.text.figures.tongues import Tongue

_MAX_DIGITS = 15
"""Longer ones are numbers of accounts and the like."""


def number_pattern(tongue: Tongue) -> str:
    """What a number looks like, without a sign; a whole pattern without named groups."""
    groups, point = re.escape(tongue.groups), re.escape(tongue.point)
    return rf"(?:\d{{1,3}}(?:[{groups}]\d{{3}})+(?!\d)|\d{{1,{_MAX_DIGITS}}})(?:{point}\d{{1,9}})?"


def is_plain(written: str) -> bool:
    """Whether every engine reads it: nothing but a few digits."""
    return written.isdecimal()


def parts_of(tongue: Tongue, written: str) -> tuple[int, str]:
    """The whole of a number and the digits of its fraction."""
    whole, _, fraction = written.partition(tongue.point)
    return int(re.sub(r"\D", "", whole) or "0"), fraction


def say_number(tongue: Tongue, written: str) -> str:
    """A number that `number_pattern` found, in words."""
    whole, fraction = parts_of(tongue, written)
    if not tongue.code:
        return f"{whole}{tongue.point}{fraction}" if fraction else str(whole)
    said = say_whole(tongue.code, whole)
    if not fraction:
        return said
    return f"{said} {tongue.point_word} {_say_fraction(tongue, fraction)}"


def say_year(tongue: Tongue, year: int) -> str:
    """A year, as people say it."""
    if not tongue.code:
        return str(year)
    kind = "year" if tongue.code in ("en", "de") else "cardinal"
    return _convert(tongue.code, year, kind)


@lru_cache(maxsize=4096)
def say_whole(code: str, number: int) -> str:
    """A whole number in words. code: as num2words names the language; "" leaves it as it is."""
    return _convert(code, number, "cardinal") if code else str(number)


@lru_cache(maxsize=1024)
def say_ordinal(code: str, number: int) -> str:
    """Which one it is, in words."""
    return _convert(code, number, "ordinal") if code else str(number)


def say_digits(tongue: Tongue, digits: str) -> str:
    """Digits one by one."""
    return " ".join(say_whole(tongue.code, int(digit)) for digit in digits)


def _say_fraction(tongue: Tongue, fraction: str) -> str:
    zeros = len(fraction) - len(fraction.lstrip("0"))
    is_short = tongue.code not in ("en", "de") and len(fraction) - zeros <= 2
    if is_short and zeros < len(fraction):
        rest = say_whole(tongue.code, int(fraction))
        return " ".join([*[say_whole(tongue.code, 0)] * zeros, rest])
    return say_digits(tongue, fraction)


def _convert(code: str, number: int, kind: str) -> str:
    # Its commas are pauses nobody makes.
    return str(num2words(number, lang=code, to=kind)).replace(",", "")
