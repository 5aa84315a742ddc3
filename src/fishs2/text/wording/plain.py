"""Letters and digits of every kind in their plain spelling, for an engine that knows no other.

    Room ４０２ -> Room 402     𝐇𝐞𝐥𝐥𝐨 -> Hello     oﬃcial -> official     ٤٢ -> 42     Ⅳ -> IV

Signs that are read by name and marks that end sentences stay as they are. Source: compatibility
decompositions, numeric values and names of the Unicode Character Database.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from fishs2.text.edits import Edit

_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_PLAIN_SUPERSCRIPTS = str.maketrans(_SUPERSCRIPTS + "⁻", "0123456789-")
_SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"

_RULES = re.compile(
    "(?P<drawn>"
    # Strokes and lines through, over and under a letter, what encloses it, its variants: drawing,
    # not spelling. So is what is piled above two accents.
    "[\u0305\u0332-\u0338\u033f\u0347\u20d0-\u20f0\ufe00-\ufe0f\U000e0100-\U000e01ef]+"
    "|(?<=[\u0300-\u036f]{2})[\u0300-\u036f]+)"
    "|(?P<apostrophe>(?<=[^\\W\\d_])[\u02b9\u02bb-\u02bd\u02c8\u02ca\u02cb\u2018\u2019\u201b\u2032"
    "\u055a\u1fbd\u1fbf\ua78b\ua78c\uff07`\u00b4](?=[^\\W\\d_])"
    # A modifier letter is one at either end of a word too.
    "|(?<=[^\\W\\d_])[\u02bb-\u02bd]|[\u02bb-\u02bd](?=[^\\W\\d_]))"
    f"|(?P<superscript>⁻?[{_SUPERSCRIPTS}]+)"
    f"|(?P<index>[{_SUBSCRIPTS}]+)"
    "|(?P<point>(?<=\\d)[．，：٫٬⁄](?=\\d))"
    "|(?P<other>[\u0080-\U0010ffff])"
)

# Written as they are, or read by name, by whatever reads the plain spelling.
_KEPT = re.compile(
    "[\u0080-\u0131ªµº¼½¾⅓⅔™℠№…℅\u0e00-\u0fff\u0587\u0675-\u0678"
    # Full-width marks, ideographs, kana, Hangul letters.
    "！（），．：；？［］｛｝\u3001-\u318f\u3400-\u9fff\uac00-\ud7a3]"
)
_POINTS = {"．": ".", "，": ",", "：": ":", "٫": ".", "٬": ",", "⁄": "/"}
_NAMED_LETTER = re.compile(
    "(?:NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER"
    "|LATIN LETTER (?P<small>SMALL) CAPITAL|REGIONAL INDICATOR SYMBOL LETTER) ([A-Z])"
)


def find_plain_spellings(text: str) -> Iterator[Edit]:
    """Yield what is not in plain letters and ASCII digits, with its plain spelling.

    Numbers stay apart from the digits beside them: "10²" is "10 2" and "①②" is "1 2". Takes time
    linear in the text; what comes of one character is at most 18 characters and two spaces.
    """
    if text.isascii() and "`" not in text:
        return
    for match in _RULES.finditer(text):
        start, end = match.span()
        found = match.group()
        if match["other"]:
            plain, is_number = _spell(found)
            if plain != found:
                yield Edit(start, end, _set_apart(plain, text, start, end) if is_number else plain)
        elif match["superscript"]:
            number = found.translate(_PLAIN_SUPERSCRIPTS)
            yield Edit(start, end, _set_apart(number, text, start, end))
        elif match["index"]:
            # "H2O" is one word, as in the plain spelling.
            front = " " if text[start - 1 : start].isnumeric() else ""
            behind = " " if text[end : end + 1].isnumeric() else ""
            index = "".join(str(unicodedata.digit(digit)) for digit in found)
            yield Edit(start, end, f"{front}{index}{behind}")
        elif match["apostrophe"]:
            yield Edit(start, end, "'")
        else:
            yield Edit(start, end, _POINTS.get(found, ""))


@lru_cache(maxsize=4096)
def _spell(character: str) -> tuple[str, bool]:
    """The plain form of a character, and whether it is a number that is complete by itself."""
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character)), False
    if _KEPT.match(character):
        return character, False
    kind, _, _ = unicodedata.decomposition(character).partition(" ")
    plain = unicodedata.normalize("NFKC", character).replace("⁄", "/").replace("ʼ", "'")
    if kind.startswith("<"):
        is_folded = (
            any(char.isalnum() or char in "!?" for char in plain)
            or kind in ("<wide>", "<super>", "<sub>")
        )  # fmt: skip
        is_number = kind in ("<circle>", "<fraction>") and plain[0].isdecimal()
        return (plain, is_number) if is_folded else (character, False)
    if category in ("No", "Nl") and unicodedata.numeric(character) % 1 == 0:
        return str(int(unicodedata.numeric(character))), True
    named = _NAMED_LETTER.fullmatch(unicodedata.name(character, ""))
    if named:
        return named[2].lower() if named["small"] else named[2], False
    return character, False


def _set_apart(number: str, text: str, start: int, end: int) -> str:
    """`number` as a word of its own beside letters and digits."""
    before, after = text[start - 1 : start], text[end : end + 1]
    front = " " if before.isalnum() else ""
    # A number that follows sets itself apart.
    follows = after.isalnum() and not (_spell(after)[1] or after in _SUPERSCRIPTS)
    return f"{front}{number}{' ' if follows else ''}"
