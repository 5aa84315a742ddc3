"""Where sentences end, in any script.

Most scripts have marks that end a sentence and do nothing else. The Latin full stop also
abbreviates, orders and separates, so it is judged by the word before it and the letter after it.
Thai and Lao have no mark at all: a paragraph is one sentence there, and `cut` uses its spaces.
Armenian ՞ and ՜ stand on the stressed vowel inside a sentence; only ։ ends one.

Called by `split` with a mask, in which every tag is a run of `TAG_MASK`: no tag is ever looked
into, and a tag between two sentences belongs to the second.
"""

import re

from fishs2.text.scripts import CLOSERS, GREEK, OPENERS, TAG_MASK, UNSPACED
from fishs2.text.splitting.abbreviations import (
    BEFORE_NUMBER,
    CLOSING_DOTTED,
    DOTTED_NAME_ENDINGS,
    DOTTED_NAME_STARTS,
    INTRODUCTIONS,
    LONG_BEFORE_LOWER_CASE,
    ORDINAL_AFTER,
    ORDINAL_BEFORE,
    SENTENCE_STARTERS,
    STREET_ENDING,
    TITLES,
)

_LATIN_MARKS = ".!?…‽⁇⁈⁉"

# Unicode property Sentence_Terminal (UAX #29) without the Latin marks, without Burmese ၊ and
# Tibetan shad inside a syllable group, which pause but do not end; scripts in use today only.
_PLAIN_MARKS = (
    "。！？｡．"
    "؟۔\u061d\u061e\u0700-\u0702\u05c3\u07f9"
    "।॥\u0df4\u104b\u1362\u1367\u1368\u17d4\u17d5\u1803\u1809\u0f0d\u0f0e\u0589"
    "\u1944\u1945\u1b5a\u1b5b\u1b5e\u1b5f\u1c3b\u1c3c\u1c7e\u1c7f"
    "\ua4ff\ua60e\ua60f\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb"
    "\U00011141-\U00011143\U000111c5\U000111c6\U0001e95e\U0001e95f"
)

_CANDIDATE = re.compile(
    rf"\n|(?P<marks>[{_LATIN_MARKS}{_PLAIN_MARKS}]+"
    # NFC turns the Greek question mark U+037E into a semicolon.
    rf"|(?<=[{GREEK}]{{2}});)(?P<closers>{CLOSERS})"
)
_BEFORE_FIRST_LETTER = re.compile(rf"[\s{TAG_MASK}{OPENERS}*_–—―-]*")
_STARTS_WITHOUT_SPACE = re.compile(rf"[\s{TAG_MASK}{UNSPACED}\uac00-\ud7a3¿¡“„]")
_DASH = re.compile(r"[–—―-]")
_PLAIN_MARK = re.compile(rf"[{_PLAIN_MARKS};]")
_JAPANESE_QUOTE_GOES_ON = re.compile("と|って")

_MAX_WORD_CHARS = 40
"""How far back a word is looked for; longer ones are no abbreviations."""

_WORD_BEFORE = re.compile(rf"(?:(?<!\S)(?:[^\W\d_]\.[ ])+)?[^\s{TAG_MASK}{OPENERS}]*\Z")
_WORD_TWO_BEFORE = re.compile(r"([^\W\d_]+)\s+\S*\Z")
_NEXT_WORD = re.compile(r"[^\W\d_]+\.?")
_NUMBER_NEXT = re.compile(r"\d|[IVXLC]{2,}\b|[VX]\b")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,3}\.)+[^\W\d_]{1,3}")

# "hi.Then left", "end.”Then", "Stop!He ran": the words around a mark without a space behind it.
# Nothing but letters in them, for an address or a path has other signs.
_GLUED_BEFORE = re.compile(
    r"(?:\A|[^\w.@/\\:=&#?$%])(\d[\d,]*|[^\W\d_]+(?:['’-][^\W\d_]+)*)[\"'”’»)\]]*\Z"
)
_GLUED_AFTER = re.compile(r"[\"'“”’»)\]]{0,2}([^\W\d_]{1,40})(?![\w@/\\:=&(]|\.\w)")


def find_sentence_ends(mask: str, *, since: int = 0) -> list[int]:
    """Return the offsets at which the sentences of a paragraph end, the last one included.

    mask: one paragraph. A line break that is still in it ends a sentence. Each offset is just
    behind the marks, quotes and brackets that close the sentence; white space follows it, or not.
    since: no sentence ends before it.
    """
    ends: list[int] = []
    start = 0
    for candidate in _CANDIDATE.finditer(mask, since):
        if candidate["marks"] is None:
            end = candidate.start()
        elif _ends_sentence(mask, candidate, start):
            end = candidate.end()
        else:
            continue
        if mask[start:end].strip():
            ends.append(end)
            start = end
    if mask[start:].strip():
        ends.append(len(mask))
    return ends


def _ends_sentence(mask: str, candidate: re.Match[str], start: int) -> bool:
    marks, has_closers, end = candidate["marks"], bool(candidate["closers"]), candidate.end()
    if end == len(mask):
        return True
    follows = mask[end]
    if _PLAIN_MARK.match(marks[-1]):
        is_decimal_point = marks == "．" and follows.isdigit()
        goes_on = has_closers and _JAPANESE_QUOTE_GOES_ON.match(mask, end)
        return not is_decimal_point and not goes_on
    if not _STARTS_WITHOUT_SPACE.match(follows):
        return _is_glued(mask, candidate, start)
    lead = _BEFORE_FIRST_LETTER.match(mask, end)
    assert lead is not None, "the pattern matches the empty string"
    first = mask[lead.end() : lead.end() + 1]
    if first and first in _LATIN_MARKS:
        return False
    if first.islower() and (has_closers or _DASH.search(lead.group())):
        return False
    if marks.endswith(("…", "..")):
        # Without a space it is the hesitation inside a Chinese or Japanese sentence.
        is_hesitation = not has_closers and not follows.isspace() and follows != TAG_MASK
        return not first.islower() and not is_hesitation
    if marks != ".":
        return True
    return _full_stop_ends(mask, stop=candidate.start(), first_at=lead.end(), start=start)


def _is_glued(mask: str, candidate: re.Match[str], start: int) -> bool:
    """Tell whether two sentences meet without a space: not in Node.js, example.com and 3.14."""
    marks, stop, end = candidate["marks"], candidate.start(), candidate.end()
    before = _GLUED_BEFORE.search(mask[max(start, stop - _MAX_WORD_CHARS) : stop])
    after = _GLUED_AFTER.match(mask, end)
    if not before or not after:
        return False
    left, right = before[1], after[1]
    if marks != ".":
        return len(left) > 1 and (not right[0].islower() or len(right) > 1)
    if left[0].isdigit():
        return right[0].isupper() and right.casefold() in SENTENCE_STARTERS
    if len(left) < 2 or left.isupper() or _introduces(left.casefold(), left):
        return False
    if right[0].upper() == right[0].lower():
        # Scripts without capitals; a single letter abbreviates.
        return not left[-1].islower() and len(left) > 2 and len(right) > 1
    if right != right.capitalize() or left.casefold() in TITLES | BEFORE_NUMBER:
        return False
    is_name = left in DOTTED_NAME_STARTS or right.casefold() in DOTTED_NAME_ENDINGS
    is_word_after_word = left.islower() and len(right) > 1 and not is_name
    return is_word_after_word or right.casefold() in SENTENCE_STARTERS


def _full_stop_ends(mask: str, *, stop: int, first_at: int, start: int) -> bool:
    """Judge a single "." at `stop` by its word and by what begins at `first_at`."""
    before = mask[max(start, stop - _MAX_WORD_CHARS) : stop]
    found = _WORD_BEFORE.search(before)
    word = found.group() if found else ""
    key = word.replace(" ", "").casefold()
    last = word.rpartition(" ")[2]
    if _introduces(key, last):
        return False
    is_initial = _is_initial(last)
    is_before_number = key in BEFORE_NUMBER or key.endswith(STREET_ENDING) or is_initial
    if is_before_number and _NUMBER_NEXT.match(mask, first_at):
        return False
    next_word = _NEXT_WORD.match(mask, first_at)
    following = next_word.group() if next_word else ""
    if last.isdigit():
        is_item = len(last) <= 3 and not before.removesuffix(last).strip(" \n" + TAG_MASK)
        return not is_item and not following[:1].islower() and not _is_ordinal(before, following)
    if following[:1].islower():
        return len(key) >= 5 and key.isalpha() and key not in LONG_BEFORE_LOWER_CASE
    if is_initial or _DOTTED.fullmatch(key):
        closes = key in CLOSING_DOTTED and following[:1].isupper()
        return closes or not following or following.casefold() in SENTENCE_STARTERS
    return True


def _introduces(key: str, last: str) -> bool:
    if key in INTRODUCTIONS or last.casefold() in INTRODUCTIONS:
        return True
    # "DNA." and "MS." are acronyms, "Ms." and the French "M." are not.
    return last.casefold() in TITLES and last[0].isupper() and last[1:] == last[1:].lower()


def _is_initial(word: str) -> bool:
    """Tell whether `word` is one letter of a script with capitals, or "St" and its like."""
    is_letter = len(word) == 1 and word.upper() != word.lower()
    return is_letter or word in {"St", "Ste", "Mt", "Ft"}


def _is_ordinal(before: str, following: str) -> bool:
    if following.rstrip(".").casefold() in ORDINAL_AFTER:
        return True
    two_before = _WORD_TWO_BEFORE.search(before)
    return two_before is not None and two_before[1].casefold() in ORDINAL_BEFORE
