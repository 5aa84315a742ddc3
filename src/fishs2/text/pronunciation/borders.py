"""Where a word of a lexicon begins and ends in a text.

NASA    in "NASA's" and "l'NASA", not in "NASAx"      don    not in "don't"
東京    in "東京都", as no spaces part words there       cafe   not in "cafe" + an accent
서울    in "서울은", as Korean adds to a word            1      not in "1,000" and "0.1"
"""

import re
import unicodedata

from fishs2.text.scripts import UNSPACED

APOSTROPHES = "'’ʼ＇"
"""Written for one another."""

STARTS = re.compile(rf"[{UNSPACED}]|(?<=[{UNSPACED}])\w|(?<!\w)\S")
"""Where words may begin, and some places where none does: `is_start` is to be asked as well."""

_UNSPACED = re.compile(f"[{UNSPACED}]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_REST = re.compile(r"[^\W\d_]+")
_CONTRACTIONS = frozenset({"s", "t", "m", "d", "re", "ll", "ve"})
"""English: what stands behind an apostrophe and is no word of its own."""


def is_start(text: str, at: int) -> bool:
    """Whether a word can begin at this place."""
    first, before = text[at], text[at - 1] if at else ""
    if not before or not _is_of_word(first):
        return True
    if _UNSPACED.match(first) or _UNSPACED.match(before):
        return True
    if _is_of_word(before):
        return False
    further = text[at - 2] if at > 1 else ""
    if first.isdecimal() and before in ".,":
        return not further.isdecimal()
    if before in APOSTROPHES and further.isalpha():
        rest = _REST.match(text, at)
        return rest is None or rest[0].lower() not in _CONTRACTIONS
    return True


def is_end(text: str, at: int, *, is_turkish: bool = False) -> bool:
    """Whether a word can end before this place. is_turkish: suffixes follow an apostrophe."""
    after = text[at] if at < len(text) else ""
    last = text[at - 1]
    if not after:
        return True
    if _is_mark(after):
        return False
    if not _is_of_word(last) or _UNSPACED.match(last) or _UNSPACED.match(after):
        return True
    if _HANGUL.match(last):
        return True
    if _is_of_word(after):
        return False
    if last.isdecimal() and after in ".,":
        return not text[at + 1 : at + 2].isdecimal()
    if after in APOSTROPHES and text[at + 1 : at + 2].isalpha():
        rest = _REST.match(text, at + 1)
        return is_turkish or (rest is not None and rest[0].lower() == "s")
    return True


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or _is_mark(character)


def _is_mark(character: str) -> bool:
    if character.isascii():
        return False
    # Joiners, too: they stand inside words of Arabic and Indian scripts.
    return character in "\u200c\u200d" or unicodedata.category(character)[0] == "M"
