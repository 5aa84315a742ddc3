"""Where a string may be cut without breaking what a reader sees as one character.

A small part of UAX #29, widened for speech: Thai vowels, small kana and the conjuncts of Indic
scripts stay with the consonant they change. `cut` and `tags` ask when no space is left to cut at.
"""

import re
import unicodedata

# Emoji modifiers, half-width voicing marks, Thai and Lao vowels written after their consonant,
# small kana and the kana length mark.
_ATTACHED = re.compile(
    "[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\uff9e\uff9f"
    "\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3"
    "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶー々]"
)
# Arabic and Syriac number signs, Thai and Lao vowels written before their consonant.
_ATTACHING = re.compile("[\u200d\u0600-\u0605\u06dd\u070f\u0e40-\u0e44\u0ec0-\u0ec4]")
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff]")
_VIRAMA_CLASS = 9

# UAX #29 rules GB6 to GB8 and a pair of surrogates.
_INSEPARABLE_PAIR = re.compile(
    "[\u1100-\u115f\ua960-\ua97c][\u1100-\u11a7\ua960-\ua97c\uac00-\ud7a3]"
    "|[\u1160-\u11a7\ud7b0-\ud7c6\uac00-\ud7a3][\u1160-\u11ff\ud7b0-\ud7fb]"
    "|[\u11a8-\u11ff\ud7cb-\ud7fb][\u11a8-\u11ff\ud7cb-\ud7fb]"
    "|[\ud800-\udbff][\udc00-\udfff]"
)


def is_grapheme_border(text: str, position: int, *, since: int = 0) -> bool:
    """Tell whether `text` may be cut before the character at `position`.

    since: a border before it; nothing further back is looked at.
    """
    if position <= since or position >= len(text):
        return True
    before, after = text[position - 1], text[position]
    if unicodedata.category(after).startswith("M") or _ATTACHED.match(after):
        return False
    if _ATTACHING.match(before) or _INSEPARABLE_PAIR.match(text, position - 1):
        return False
    if unicodedata.combining(before) == _VIRAMA_CLASS and after.isalpha():
        return False
    if _REGIONAL.match(before) and _REGIONAL.match(after):
        return _num_regional_before(text, position, since) % 2 == 0
    return True


def find_grapheme_border(text: str, most: int) -> int:
    """Return the last border at or before `most`; `most` itself if one character is longer."""
    for position in range(most, 0, -1):
        if is_grapheme_border(text, position):
            return position
    return most


def _num_regional_before(text: str, position: int, since: int) -> int:
    """Flags are pairs of regional indicators, so only the parity of the run tells where to cut."""
    start = position
    while start > since and _REGIONAL.match(text[start - 1]):
        start -= 1
    return position - start
