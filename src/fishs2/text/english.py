"""Prices, years, powers and fractions as people say them in English.

    $500 -> 500 dollars      a $5.3bn deal -> a 5.3 billion dollar deal      £3.50 -> 3 pounds 50
    1984 -> nineteen eighty-four      1914-18 -> nineteen fourteen to eighteen
    the 1990s -> the nineteen nineties      10² -> 10 squared      1½ -> 1 and a half

Numbers that are read right as they are stay digits.
"""

import re
from collections.abc import Iterator

from fishs2.text.edits import Edit
from fishs2.text.money import AMOUNT, SIGNS

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

# One, several, and a hundredth of it where there is one in use.
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won"),
    "₽": ("rouble", "roubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira"),
    "₪": ("shekel", "shekels"),
    "₫": ("dong", "dong"),
    "₱": ("peso", "pesos"),
    "₦": ("naira", "naira"),
    "฿": ("baht", "baht"),
    "₿": ("bitcoin", "bitcoins"),
    "¢": ("cent", "cents"),
}
_COUNTRIES = {
    "US": "US", "A": "Australian", "AU": "Australian", "C": "Canadian", "CA": "Canadian",
    "NZ": "New Zealand", "HK": "Hong Kong", "S": "Singapore",
}  # fmt: skip
_SCALES = {
    "k": "thousand", "m": "million", "mn": "million", "mm": "million", "mio": "million",
    "b": "billion", "bn": "billion", "t": "trillion", "tn": "trillion",
}  # fmt: skip
_SCALE = (
    r"(?:(?P<scale>[ ]?(?:thousand|million|billion|trillion)"
    r"|[kK]|mn?|M[MN]?|bn?|B[Nn]?|tn|T[Nn]?)\b(?!-))?"
)
_MONEY = re.compile(
    rf"(?<![\w.])(?P<country>US|AU?|CA?|NZ|HK|S)?(?P<sign>[{SIGNS}])[ ]?(?P<amount>{AMOUNT})"
    rf"(?:[ ]?[-–—][ ]?(?P=sign)?(?P<to>{AMOUNT})(?![\w.,-]*\d))?{_SCALE}"
    rf"|(?<![\w.,])(?P<amount2>{AMOUNT})[ ]?(?P<sign2>[{SIGNS}])(?![\w{SIGNS}])"
)
_ADJECTIVAL_BEFORE = re.compile(r"\b(?:an?|each|every|per|the|this|that)\s\Z", re.IGNORECASE)
_ADJECTIVAL_AFTER = re.compile(r"(?:\s|-)(?:[^\W\d_]{3,}|[A-Z]-)")
_NO_NOUN = re.compile(
    r"(?:\s|-)(?:and|but|for|from|per|was|were|has|had|have|will|that|which|into)\b"
)

# What a number counts or measures in, so that it is no year.
_UNIT = (
    r"(?:k?m|[cm]m|k?g|mg|k?W|V|Hz|[kMG]Hz|[KMGT]i?B|lbs?|ft|mi|px|rpm|k?cal|bytes|pixels|miles"
    r"|met(?:er|re)s|kilomet(?:er|re)s|dollars?|euros?|pounds?|yen|rupees?|won|hundred|thousand"
    r"|million|billion|trillion|percent|per cent|points|degrees|volts|watts)\b"
)
_YEAR = re.compile(
    r"(?<![\w.,:/#+])(?<!\d[-–])(?<![\s(]-)(?<!\A-)(?P<year>1[1-9]\d\d|20\d\d)"
    rf"(?:(?P<decade>['’]?s)\b|[ ]?[-–—][ ]?(?P<to>1[1-9]\d\d|20\d\d|\d\d)\b)?"
    rf"(?![\w%°]|[.,:/]\d|[-–]\d|\s?{_UNIT})"
)
_DECADE = re.compile(r"(?<![\w.,-])['’]?(?P<tens>[2-9])0['’]?s\b")

_POWER = re.compile(
    r"(?P<base>(?<!\w)[^\W\d_²³¹⁰-⁹]{1,3}|\d|\))(?P<minus>⁻?)(?P<power>[⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
)
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_FRACTIONS = {
    "½": "a half", "¼": "a quarter", "¾": "three quarters", "⅓": "one third", "⅔": "two thirds",
    "⅕": "one fifth", "⅖": "two fifths", "⅗": "three fifths", "⅘": "four fifths",
    "⅙": "one sixth", "⅚": "five sixths", "⅐": "one seventh", "⅛": "one eighth",
    "⅜": "three eighths", "⅝": "five eighths", "⅞": "seven eighths", "⅑": "one ninth",
    "⅒": "one tenth",
}  # fmt: skip
_FRACTION = re.compile(rf"(?P<whole>\d ?)?(?P<fraction>[{''.join(_FRACTIONS)}])")


# What a power or a fraction has, and most texts have not.
_FORMULA = re.compile("[²³¹⁰-⁹¼-¾⅐-⅞]")


def find_formulas(text: str) -> Iterator[Edit]:
    """Yield powers and fractions of `text` in words; to be found before letters are made plain."""
    if not _FORMULA.search(text):
        return
    found = [*map(_power, _POWER.finditer(text)), *map(_fraction, _FRACTION.finditer(text))]
    yield from sorted(found)


def find_prices(text: str) -> Iterator[Edit]:
    """Yield amounts of money in words."""
    if not any(sign in text for sign in SIGNS):
        return
    for match in _MONEY.finditer(text):
        sign = match["sign"] or match["sign2"]
        yield Edit(*match.span(), _price(match, sign, is_noun=not _is_adjectival(match)))


def find_years(text: str) -> Iterator[Edit]:
    """Yield years, spans of years and decades in words; to be found after `find_prices`."""
    found = [Edit(*match.span(), _year(match)) for match in _YEAR.finditer(text)]
    found += [
        Edit(*match.span(), _plural(_TENS[int(match["tens"]) - 2]))
        for match in _DECADE.finditer(text)
    ]
    yield from sorted(found)


def _price(match: re.Match[str], sign: str, *, is_noun: bool) -> str:
    one, several, *parts = _CURRENCIES[sign]
    amount = match["amount"] or match["amount2"]
    whole, _, fraction = amount.partition(".")
    country = f"{_COUNTRIES[match['country']]} " if match["country"] else ""
    scale = (match["scale"] or "").strip()
    scale = f" {_SCALES.get(scale.lower(), scale)}" if scale else ""
    if match["to"]:
        return f"{amount} to {match['to']}{scale} {country}{several}"
    if len(fraction) != 2 or scale or not parts:
        is_one = amount == "1" and not scale
        return f"{amount}{scale} {country}{one if is_one or not is_noun else several}"
    units = f"{whole} {country}{one if whole == '1' or not is_noun else several}"
    num_parts = int(fraction)
    if not num_parts:
        return units
    named = f"{num_parts} {parts[0] if num_parts == 1 else parts[1]}"
    if not int(whole.replace(",", "")):
        return named
    return f"{units} {num_parts}" if sign in "£€" and num_parts >= 10 else f"{units} and {named}"


def _is_adjectival(match: re.Match[str]) -> bool:
    """Whether something costs it: "a $500 fine" is a five hundred dollar fine."""
    text = match.string
    return (
        _ADJECTIVAL_BEFORE.search(text, max(0, match.start() - 10), match.start()) is not None
        and _ADJECTIVAL_AFTER.match(text, match.end()) is not None
        and _NO_NOUN.match(text, match.end()) is None
    )


def _year(match: re.Match[str]) -> str:
    year, to = match["year"], match["to"]
    if match["decade"]:
        return (
            _plural(_say_year(year)) if year[-1] == "0" else f"{_say_year(year)}{match['decade']}"
        )
    if not to:
        return _say_year(year)
    if len(to) == 2 and int(to) <= int(year[2:]):
        # A month, perhaps, or a score.
        return match.group()
    return f"{_say_year(year)} to {_say_year(to) if len(to) == 4 else _say(int(to))}"


def _say_year(year: str) -> str:
    century, rest = int(year[:2]), int(year[2:])
    if century == 20 and rest < 10:
        return "two thousand" if not rest else year
    if not rest:
        return f"{_say(century)} hundred"
    return f"{_say(century)} {'oh ' if rest < 10 else ''}{_say(rest)}"


def _say(number: int) -> str:
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens - 2]}-{_ONES[ones]}" if ones else _TENS[tens - 2]


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _power(match: re.Match[str]) -> Edit:
    power = match["power"].translate(_POWERS)
    named = {"2": "squared", "3": "cubed"}.get(power) if not match["minus"] else None
    words = named or f"to the {'minus ' if match['minus'] else ''}{power}"
    is_glued = match.string[match.end() : match.end() + 1].isalnum()
    return Edit(match.end("base"), match.end(), f" {words}{' ' if is_glued else ''}")


def _fraction(match: re.Match[str]) -> Edit:
    words = _FRACTIONS[match["fraction"]]
    say = f"{match['whole'].strip()} and {words}" if match["whole"] else words
    is_glued = match.string[match.end() : match.end() + 1].isalnum()
    return Edit(match.start(), match.end(), f"{say}{' ' if is_glued else ''}")
