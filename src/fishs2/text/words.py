"""The words of a text: what a reader points at while it is read aloud."""

import re
from collections.abc import Iterator

from fishs2.text.scripts import PHRASE_SPACED

_LONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
"""Kana and Han: nobody separates words there, so each character stands for itself."""

_SOUNDS = "\U000f0000-\U000ffffd"
"""Where the service keeps IPA in a text: see `engines.base.find_sounds`."""

# The danda of the scripts of India ends sentences.
_JOINED = r"\u0300-\u036f\u0900-\u0963\u0966-\u0fff\u1000-\u109f\u1780-\u17ff"
_PART = rf"(?:[^\W_{_LONE}]|[{_SOUNDS}{_JOINED}])+"
_WORD = re.compile(
    rf"[{_LONE}][\u3099\u309a\u30fc]*"
    rf"|[{PHRASE_SPACED}]+"
    rf"|{_PART}(?:['’ʼ\-‐‑·]{_PART}|(?<=\d)[.,:]\d+|(?<=[^\W\d_])\.(?=[^\W\d_]\b){_PART})*"
)


def find_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each word begins and ends, in order; marks around it are no part of it.

    "isn't", "well-known" and "3.14" are one word each. Han and kana are words by themselves; a
    phrase of Thai, Lao, Burmese or Khmer, which have no spaces within one, is one word.
    """
    for match in _WORD.finditer(text):
        yield match.span()


_VOWELS = re.compile(
    "[aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿāēīōūăĕĭŏŭąęįųěůűőαάεέηήιίοόυύωώаеёиоуыэюяіїєў]+",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")


def count_syllables(word: str) -> int:
    """About how many syllables a word has: its groups of vowels; at least one.

    A digit has one and a half, in most languages. Where vowels are not written, or are marks, two
    letters make a syllable.
    """
    digits = len(_DIGIT.findall(word))
    vowels = len(_VOWELS.findall(word))
    if vowels or digits:
        return max(1, vowels + (3 * digits + 1) // 2)
    return max(1, len(word) // 2)
