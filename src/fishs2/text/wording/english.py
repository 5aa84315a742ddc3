"""Prices, years, powers and fractions as people say them in English.

    $500 -> 500 dollars      a $5.3bn deal -> a 5.3 billion dollar deal      £3.50 -> 3 pounds 50
    1984 -> nineteen eighty-four      1914-18 -> nineteen fourteen to eighteen
    the 1990s -> the nineteen nineties      10² -> 10 squared      1½ -> 1 and a half

Numbers that are read right as they are stay digits.
"""

import re
from collections.abc import Iterator

from fishs2.text.edits import Edit
from fishs2.text.wording.money import SIGNS

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
_CODES = {
    "USD": "US", "AUD": "Australian", "CAD": "Canadian", "NZD": "New Zealand", "HKD": "Hong Kong",
    "SGD": "Singapore", "EUR": "", "GBP": "",
}  # fmt: skip
_LETTER_SCALE = r"[kK]|mn?|M[MN]?|bn?|B[Nn]?|tn|T[Nn]?"
_SCALE = rf"(?:(?:[ -]?(?:thousand|million|billion|trillion)|{_LETTER_SCALE})\b)"
_AMOUNT = (
    # 1.234,56 and 3,50 in Europe's way, 1,00,000 in India's, 1,234.56 and .50 in the usual one.
    r"(?:\d{1,3}(?:\.\d{3})+,\d{1,2}|\d{1,18},\d\d|\d{1,2}(?:,\d\d)+,\d{3}(?:\.\d{1,9})?"
    r"|\d{1,3}(?:,\d{3})+(?:\.\d{1,9})?|\d{1,18}(?:\.\d{1,9})?|\.\d\d)"
)
# No part of a number or of a word may be left over.
_END = r"(?!\w|[.,]\d)"
_PLURALS = ("dollars", "euros", "pounds", "rupees")
_NOUN = "|".join(f"{plural}?" for plural in _PLURALS)
_MONEY = re.compile(
    rf"(?P<minus>(?<![\w)])[-−–])?(?<![\w.])(?P<country>US|AU?|CA?|NZ|HK|S)?(?P<sign>[{SIGNS}])"
    rf"[ ]?(?P<minus2>[-−])?(?P<amount>{_AMOUNT})"
    rf"(?:(?P<scale_from>{_LETTER_SCALE})?[ ]?[-–—][ ]?(?P=sign)?(?P<to>{_AMOUNT})(?![\w.,-]*\d))?"
    rf"(?P<scale>{_SCALE})?(?:[ ]?(?P<code>{'|'.join(_CODES)})\b)?{_END}"
    rf"(?:[ -](?P<noun>{_NOUN})\b)?"
    rf"|(?<![\w.,])(?P<amount2>{_AMOUNT})[ ]?(?P<sign2>[{SIGNS}])(?![\w{SIGNS}])"
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
_NOT_BEFORE = rf"(?![\w%°]|[.,:/]\d|\s?{_UNIT}|[ ]?×|[ ]x[ ]?\d|[ ]\d{{5,}})"
_YEAR = re.compile(
    # Neither a part of a number of a telephone, nor of a size in pixels.
    r"(?<![\w.,:/#+×])(?<!×[ ])(?<!\d[ ]x[ ])(?<!\d[-–])(?<![\s(]-)(?<!\A-)(?<!\D\d{3}[ ])"
    r"(?<!\A\d{3}[ ])(?<!\+\d[ ])(?<!\+\d\d[ ])"
    r"(?P<year>1[1-9]\d\d|20\d\d)(?:(?P<decade>['’]?s)\b(?![\w%°]|[.,:/]\d)"
    rf"|(?:[ ]?[-–—][ ]?(?P<to>1[1-9]\d\d|20\d\d|\d\d)\b)?{_NOT_BEFORE}(?![-–]\d))"
)
# Years before 1100 are told by what is around them.
_EARLY_YEAR = re.compile(
    r"(?P<before>\b(?:[Ii]n|[Ss]ince|[Bb]y|[Ff]rom|[Uu]ntil|of|[Bb]efore|[Aa]fter|AD|A\.D\.|year"
    r"|[Cc]irca|ca?\.)[ ])?"
    r"(?<![\w.,:/#+×-])(?P<early>10(?!00)\d\d)"
    rf"(?:(?P<after>[ ](?:AD|A\.D\.|BC|B\.C\.|BCE|CE)(?!\w))|{_NOT_BEFORE}(?![-–]\d)"
    r"(?![ ](?!was\b|is\b|his\b|this\b|as\b)[a-z]+s\b))"
)
_DECADE = re.compile(r"(?:(?<![\w.,-])|(?<=s-))['’]?(?P<tens>[2-9])0['’]?s\b")

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
    found += [
        Edit(*match.span("early"), _say_year(match["early"]))
        for match in _EARLY_YEAR.finditer(text)
        if match["before"] or match["after"]
    ]
    yield from sorted(found)


def _price(match: re.Match[str], sign: str, *, is_noun: bool) -> str:
    one, several, *parts = _CURRENCIES[sign]
    amount = _usual(match["amount"] or match["amount2"])
    whole, _, fraction = amount.partition(".")
    country = _COUNTRIES.get(match["country"], "") or _CODES.get(match["code"], "")
    country = f"{country} " if country else ""
    minus = "-" if match["minus"] or match["minus2"] else ""
    scale = _say_scale(match["scale"])
    if match["to"]:
        to = f"{_usual(match['to'])}{scale} {country}{several}"
        return f"{minus}{amount}{_say_scale(match['scale_from'])} to {to}"
    if len(fraction) != 2 or scale or not parts:
        is_one = amount == "1" and not scale
        return f"{minus}{amount}{scale} {country}{one if is_one or not is_noun else several}"
    units = f"{minus}{whole} {country}{one if whole == '1' or not is_noun else several}"
    num_parts = int(fraction)
    if not num_parts:
        return units
    named = f"{num_parts} {parts[0] if num_parts == 1 else parts[1]}"
    if not int(whole.replace(",", "") or "0"):
        return f"{minus}{named}"
    return f"{units} {num_parts}" if sign in "£€" and num_parts >= 10 else f"{units} and {named}"


def _usual(amount: str) -> str:
    """An amount with a point before its fraction, and commas, if any, between thousands."""
    if re.search(r",\d\d?\Z", amount):
        return amount.replace(".", "").replace(",", ".")
    return amount.replace(",", "") if re.search(r",\d\d,", amount) else amount


def _say_scale(scale: str | None) -> str:
    scale = (scale or "").strip(" -")
    return f" {_SCALES.get(scale.lower(), scale)}" if scale else ""


def _is_adjectival(match: re.Match[str]) -> bool:
    """Whether something costs it: "a $500 fine" is a five hundred dollar fine."""
    if match["noun"]:
        return match["noun"] + "s" in _PLURALS
    if (match["scale"] or "").startswith("-"):
        return True
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
    if to[0] == "0":
        return f"{_say_year(year)} to oh {_say(int(to))}"
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
