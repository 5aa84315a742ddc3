"""Money, percentages, measures, ranges, ordinals, and numbers that are no plain digits.

$12.50 -> twelve dollars and fifty cents      10–20 km -> ten to twenty kilometers
-5 °C -> minus five degrees Celsius           21st -> twenty-first
3,5 % -> drei Komma fünf Prozent
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from fishs2.text.edits import Edit
from fishs2.text.figures.numbers import (
    is_plain,
    number_pattern,
    parts_of,
    say_number,
    say_ordinal,
    say_year,
)
from fishs2.text.figures.tongues import Tongue

_BEFORE = r"(?<![\w.,:/+#])(?<!\d[-–])"
_AFTER = r"(?![\w%]|[.,:/–-]\d)"
_JOIN = {"en": " and ", "fr": " et ", "es": " con ", "it": " e ", "pt": " e ", "de": " "}
"""Between an amount's whole and its hundredths."""

_ORDINALS = {
    "en": re.compile(r"(?<![\w.,])(\d{1,6})(?:st|nd|rd|th)\b"),
    "fr": re.compile(r"(?<![\w.,])(\d{1,6})(?:er|re|ère|nde?|e|ème|ième)\b"),
    "es": re.compile(r"(?<![\w.,])(\d{1,6})\.?([ºª])"),
    "it": re.compile(r"(?<![\w.,])(\d{1,6})\.?([ºª°](?![CF]))"),
    "pt": re.compile(r"(?<![\w.,])(\d{1,6})\.?([ºª])"),
    "de": re.compile(
        r"(?:(?<=\bder\s)|(?<=\bdie\s)|(?<=\bdas\s))(\d{1,4})\.(?=\s[A-ZÄÖÜ])"
        r"|(?:(?<=\bdem\s)|(?<=\bden\s)|(?<=\bdes\s)|(?<=\bzum\s)|(?<=\bvom\s)|(?<=\bzur\s)"
        r"|(?<=\bam\s)|(?<=\bim\s))(\d{1,4})\.(?=\s[A-ZÄÖÜ])"
    ),
}


_ONE = {"de": "ein", "es": "un", "it": "un"}
"""Before a noun."""


@lru_cache(maxsize=64)
def _pattern(tongue: Tongue, kind: str) -> re.Pattern[str]:
    number = number_pattern(tongue)
    minus = r"(?P<minus>(?<![\w)])[-−–])?"
    amount = rf"{_BEFORE}{minus}(?P<one>{number})(?:[ ]?[-–—][ ]?(?P<two>{number}))?"
    if kind == "percent":
        return re.compile(rf"{amount}[ ]?%(?!\w)")
    if kind == "units":
        units = "|".join(map(re.escape, sorted(tongue.units, key=len, reverse=True)))
        return re.compile(rf"{amount}[ ]?(?P<unit>{units})(?![\w/²³°])")
    if kind == "numbers":
        return re.compile(rf"{amount}{_AFTER}")
    signs = "|".join(map(re.escape, sorted(tongue.money, key=len, reverse=True)))
    scale = _scale(tongue)
    before = rf"(?<!\w)(?P<sign>{signs})[ ]?(?P<minus2>[-−])?(?P<a>{number})(?P<a_scale>{scale})?"
    after = rf"{_BEFORE}(?P<b>{number})(?P<b_scale>{scale})?[ ]?(?P<b_sign>{signs})"
    return re.compile(rf"{minus}(?:{before}{_AFTER}|{after}(?!\w))")


def _scale(tongue: Tongue) -> str:
    """Words of a scale stand apart, letters may follow the number."""
    words = sorted(map(re.escape, tongue.scales), key=len, reverse=True)
    return "|".join(rf"[ ]?{word}(?!\w)" if tongue.joins_words else word for word in words)


def find_money(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield prices in words."""
    for match in _pattern(tongue, "money").finditer(text):
        written, sign = match["a"] or match["b"], match["sign"] or match["b_sign"]
        scale = (match["a_scale"] or match["b_scale"] or "").strip()
        is_negative = bool(match["minus"] or match["minus2"])
        yield Edit(*match.span(), _minus(tongue, is_negative, _price(tongue, written, sign, scale)))


def find_percentages(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield percentages, and ranges of them."""
    if "%" in text:
        for match in _pattern(tongue, "percent").finditer(text):
            yield Edit(*match.span(), tongue.percent.format(_said(tongue, match)))


def find_measures(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield numbers with their units."""
    for match in _pattern(tongue, "units").finditer(text):
        whole, fraction = parts_of(tongue, match["two"] or match["one"])
        one, several = tongue.units[match["unit"]]
        name = one if whole == 1 and not fraction and not match["two"] else several
        said = _join(tongue, _said(tongue, match), name)
        if name is one and tongue.code in _ONE and not match["minus"]:
            said = _counted(tongue, match["one"], name)
        yield Edit(*match.span(), said)


def find_numbers(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield ranges, negative numbers, fractions and thousands; engines read plain digits."""
    for match in _pattern(tongue, "numbers").finditer(text):
        if not match["two"] and not match["minus"] and is_plain(match["one"]):
            continue
        if tongue.code or match["minus"] or match["two"]:
            yield Edit(*match.span(), _said(tongue, match))


def find_ordinals(text: str, tongue: Tongue) -> Iterator[Edit]:
    """Yield which one it is."""
    pattern = _ORDINALS.get(tongue.code)
    for match in pattern.finditer(text) if pattern and tongue.code else ():
        number = int(match[1] or match[2])
        said = say_ordinal(tongue.code, number)
        if tongue.code == "de" and match[2]:
            said += "n"
        if match.re.groups == 2 and match[2] == "ª":
            said = f"{said[:-1]}a"
        if tongue.code == "fr" and number == 1 and match[0].endswith(("re", "ère")):
            said = "première"
        yield Edit(*match.span(), said)


def _said(tongue: Tongue, match: re.Match[str]) -> str:
    one, two = match["one"], match["two"]
    first = _year_or_number(tongue, one, two)
    said = _minus(tongue, bool(match["minus"]), first)
    if not two:
        return said
    return _join(tongue, _join(tongue, said, tongue.to), _year_or_number(tongue, two, one))


def _year_or_number(tongue: Tongue, written: str, other: str | None) -> str:
    is_year = all(
        each is not None and len(each) == 4 and each.isdecimal() and "1100" <= each < "2100"
        for each in (written, other)
    )
    return say_year(tongue, int(written)) if is_year else say_number(tongue, written)


def _price(tongue: Tongue, written: str, sign: str, scale: str) -> str:
    (one, several), parts = tongue.money[sign]
    if scale:
        said = _join(tongue, say_number(tongue, written), tongue.scales[scale])
        return _join(tongue, said, several)
    whole, fraction = parts_of(tongue, written)
    if not parts or len(fraction) != 2:
        is_one = whole == 1 and not fraction
        return _counted(tongue, written, one if is_one else several)
    num_parts = int(fraction)
    units = _counted(tongue, str(whole), one if whole == 1 else several)
    if not num_parts:
        return units
    name = parts[0] if num_parts == 1 else parts[1]
    rest = _counted(tongue, str(num_parts), name)
    return f"{units}{_JOIN[tongue.code]}{rest}" if whole else rest


def _counted(tongue: Tongue, written: str, name: str) -> str:
    """So many of something."""
    said = _ONE.get(tongue.code) if written == "1" else None
    return _join(tongue, said or say_number(tongue, written), name)


def _minus(tongue: Tongue, is_negative: bool, said: str) -> str:
    return _join(tongue, tongue.minus, said) if is_negative else said


def _join(tongue: Tongue, one: str, two: str) -> str:
    return f"{one} {two}" if tongue.joins_words else f"{one}{two}"
