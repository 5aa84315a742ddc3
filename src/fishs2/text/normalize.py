"""Text as every engine may get it, and whether there is anything in it to pronounce.

Nothing here interprets the text: no numbers are spelled out, no line is joined, no tag is read.
The service calls `normalize_text` before anything else and refuses what has no speech.
"""

import re
import unicodedata
from collections.abc import Callable

from fishs2.text.sourced import Sourced

# A C1 control in text is a Windows-1252 byte that somebody decoded as Latin-1; above all 0x92, the
# apostrophe. Source: the HTML standard reads numeric references 0x80-0x9F the same way.
_C1_REPAIR = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}

_C1_CONTROL = re.compile("[\x80-\x9f]")
_LINE_BREAK = re.compile("\r\n|[\r\v\f\u2028]")
_PARAGRAPH_BREAK = re.compile("\u2029")

# Unseen or standing for something that is no text: icon fonts, inline objects, blank letters.
_BLANK = re.compile(
    "[\t \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\x1c-\x1f"
    "\u2800\u3164\uffa0\ufffc"
    "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]+"
)

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    chr(plane << 16 | 0xFFFE) + chr(plane << 16 | 0xFFFF) for plane in range(17)
)
_DROPPED = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f"
    "\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffd"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
    "\ud800-\udfff" + _NONCHARACTERS + "]"
    # The flags of parts of a country are drawn with these tags.
    "|(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)"
)

# ZWNJ, ZWJ and the Mongolian vowel separator change how a word reads from Arabic script to
# Mongolian, and ZWJ joins emoji. Elsewhere, and doubled, they are debris of typesetting.
_NEEDLESS_JOINER = re.compile(
    "(?<![\u0600-\u1dff\u2190-\u2bff\ua800-\uabff\ufe0f\U00010000-\U0001ffff])[\u180e\u200c\u200d]+"
)

_SPACES_AT_LINE_ENDS = re.compile(" *\n *")
_BLANK_LINES = re.compile("\n{3,}")
_BLANK_ENDS = re.compile(r"\A[ \n]+|[ \n]+\Z")
_SPACES = re.compile(" {2,}")

# \w without letters that are blank by definition (Hangul fillers).
_IN_WORD = "[^\\W_\u115f\u1160\u3164\uffa0]"
_WORD = re.compile(_IN_WORD)
_LETTER = (
    _IN_WORD +
    # Letters and words in circles, squares and the like.
    "|[\u2100-\u214f\u2460-\u24ff\u2776-\u2793\u3200-\u33ff\U0001f100-\U0001f1ff]"
    # Emoji that have names; stars, boxes and fleurons are left out as they mostly draw a line
    # between scenes.
    "|[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u2604\u2607-\u2618\u261a-\u26ff"
    "\U0001f004\U0001f0cf\U0001f200-\U0001f251\u231a\u231b\u23e9-\u23f3\u23f8-\u23fa\u2b50\u2b55"
    "\u2705\u2708\u2709\u270c\u270d\u270f\u2728\u2744\u274c\u274e\u2753-\u2757\u2764\u2795-\u2797]"
)
_READABLE_MARK = re.compile(_LETTER)
_READABLE = re.compile(
    _LETTER
    +
    # Signs with a name, except three and more in a row: "=====" draws a line.
    "|([%‰&@§°©®™№+=<>±×÷√∞≈≠≤≥$¢£¤¥€\u20a0-\u20cf％＆＠＋＝＜＞＄￠￡￥￦])(?!\\1)(?<!\\1\\1\\1)"
)


def normalize_text(text: str) -> str:
    """Return `text` in NFC, without characters that no engine should see.

    Every kind of space is one space, and one is enough: runs of them make S2 produce noise. A line
    break is "\\n", a paragraph break "\\n\\n", and no line starts or ends with a space; whether a
    line break is meant is for `split_text` to judge. Controls, bidirectional marks, zero-width
    characters, the byte order mark, lone surrogates and noncharacters vanish; private use
    characters become a space. Apostrophes, `[tags]` and all visible text stay.
    Idempotent.
    """
    text = unicodedata.normalize("NFC", text)
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    # What was dropped may have stood between a letter and its accent.
    return unicodedata.normalize("NFC", text)


def normalize(text: Sourced) -> Sourced:
    """Return `text` as `normalize_text` has it."""
    text = text.recompose()
    for pattern, say in _RULES:
        text = text.sub(pattern, say)
    return text.recompose()


def _repaired(control: re.Match[str]) -> str:
    return _C1_REPAIR[ord(control.group())]


_Say = str | Callable[[re.Match[str]], str]
_RULES: list[tuple[re.Pattern[str], _Say]] = [
    (_LINE_BREAK, "\n"),
    (_PARAGRAPH_BREAK, "\n\n"),
    (_C1_CONTROL, _repaired),
    (_DROPPED, lambda match: match[1] or ""),
    (_BLANK, " "),
    (_NEEDLESS_JOINER, ""),
    (_SPACES, " "),
    (_SPACES_AT_LINE_ENDS, "\n"),
    (_BLANK_LINES, "\n\n"),
    (_BLANK_ENDS, ""),
]


def has_speech(text: str) -> bool:
    """Tell whether there is anything to pronounce in `text`.

    Letters and digits of any script, emoji and signs that are read by name (% & + = € °) are
    speech. Punctuation, dashes, dots, stars and lines drawn with signs are not. Tags count as
    text here: remove them first for an engine that does not act on them.
    """
    return _READABLE.search(text) is not None


def is_readable(marks: str) -> bool:
    """Tell whether there is a letter, a digit or an emoji among `marks`."""
    return _READABLE_MARK.search(marks) is not None


def has_words(text: str) -> bool:
    """Tell whether there is a letter or a digit in `text`, which whoever can speak can say."""
    return _WORD.search(text) is not None
