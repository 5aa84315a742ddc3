"""One entry of a lexicon, and what it may be: a word or an expression, and how it is said.

    {"word": "GIF", "say": "jif", "case": "exact"}
    {"word": "Worcester", "ipa": "ˈwʊstə", "say": "Wooster", "language": "en"}
    {"regex": "v([0-9]+)", "say": "version \\\\1"}

Where a list of them is kept and who may change it is not known here.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import re2

from fishs2.errors import UserError

Case = Literal["any", "exact"]
"""Whether a word counts however it is capitalised."""

MAX_WORDS = 5_000
"""Of one lexicon: what is read and made ready in a few hundredths of a second."""

MAX_REGEXES = 100
"""Of one lexicon: each looks at the whole text."""

MAX_WORD_CHARS, MAX_REGEX_CHARS, MAX_SAY_CHARS, MAX_IPA_CHARS = 200, 300, 500, 200

_MAX_REGEX_BYTES = 1_048_576
"""Of the machine that an expression becomes, and of what it remembers while it looks."""

_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")
_GROUP = re.compile(r"\\(\d)")
_ONE_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
"""A byte to RE2: what it finds begins and ends inside characters, at no place in a text."""
IPA_LETTERS = "abcdefghijklmnopqrstuvwxyzæçðøŋœɐɑɒɔəɚɛɜɝɟɡɣɨɪɫɬɲɹɾʀʁʃʊʋʌʍʎʏʒʔβθχ"
"""Sounds that an engine which takes IPA can say; marks on them may mean nothing to it."""

_SPEAKER = re.compile(r"<\|")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ue000-\uf8ff\U000f0000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Word:
    """How a word, or what an expression finds, is said.

    One of word and regex is given. say: its respelling, "" leaves it out; in that of an expression
    `\\1` is its first group, `\\0` all of it. ipa: its sounds, for engines that take them; others
    fall back on `say`. language: of the speech, a BCP 47 tag; None is any.
    """

    word: str | None = None
    regex: str | None = None
    say: str | None = None
    ipa: str | None = None
    language: str | None = None
    case: Case = "any"


def check_words(words: Sequence[Word], *, param: str) -> None:
    """Raise UserError `invalid_pronunciation` for the first that cannot be, or for too many."""
    if len(words) > MAX_WORDS:
        raise _invalid(f"{len(words):,} words; the limit is {MAX_WORDS:,}", param)
    num_regexes = sum(each.regex is not None for each in words)
    if num_regexes > MAX_REGEXES:
        raise _invalid(f"{num_regexes:,} regular expressions; the limit is {MAX_REGEXES}", param)
    for index, word in enumerate(words):
        reason = _find_fault(word)
        if reason:
            raise _invalid(f"entry {index}: {reason}", param)


@lru_cache(maxsize=1024)
def compile_regex(regex: str, case: Case) -> Any:
    """The expression, made ready; it takes time linear in any text. Raises re2.error."""
    return re2.compile(regex, regex_options(case))


def regex_options(case: Case) -> Any:
    """How RE2 is to read expressions; it ships no types."""
    options = re2.Options()
    options.case_sensitive = case == "exact"
    options.log_errors = False
    options.max_mem = _MAX_REGEX_BYTES
    return options


def expand(say: str, match: Any) -> str:
    """What is said of a match of an expression."""
    return _GROUP.sub(lambda group: match.group(int(group[1])) or "", say)


def tidy(text: str) -> str:
    """A word or a respelling in NFC, with single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _find_fault(word: Word) -> str:
    """What is wrong with an entry; "" if nothing is."""
    if (word.word is None) == (word.regex is None):
        return "give either word or regex"
    if word.say is None and word.ipa is None:
        return "give say, ipa or both"
    given = (
        ("word", word.word, MAX_WORD_CHARS),
        ("regex", word.regex, MAX_REGEX_CHARS),
        ("say", word.say, MAX_SAY_CHARS),
        ("ipa", word.ipa, MAX_IPA_CHARS),
    )
    for name, text, max_chars in given:
        if text is not None and len(text) > max_chars:
            return f"{name} has {len(text):,} characters; the limit is {max_chars}"
        if text and name != "regex" and _CONTROL.search(text.strip()):
            return f"{name} has a control or private character; send plain text"
    if word.word is not None and not word.word.strip():
        return "word is empty"
    if word.ipa is not None and not word.ipa.strip():
        return "ipa is empty"
    if word.ipa is not None and (fault := _find_ipa_fault(word.ipa)):
        return fault
    if word.say and _SPEAKER.search(word.say):
        return 'say has "<|", which marks speakers; leave it out'
    if word.language is not None and not _LANGUAGE.fullmatch(word.language):
        return f"language {word.language[:40]!r} is no BCP 47 tag; send one such as en or de-AT"
    return "" if word.regex is None else _find_regex_fault(word.regex, word)


def _find_ipa_fault(ipa: str) -> str:
    """A sound that would be left out without a word."""
    # "ã" is a letter with a mark on it; "ç" is one of its own.
    plain = [c if c in IPA_LETTERS else unicodedata.normalize("NFD", c)[0] for c in ipa]
    sounds = [char for char in plain if unicodedata.category(char) in ("Ll", "Lu", "Lo")]
    unknown = dict.fromkeys(char for char in sounds if char not in IPA_LETTERS)
    if unknown:
        return f"ipa has {', '.join(unknown)}, which no engine can say; write a near sound, or say"
    return "" if sounds else "ipa has no sound, only marks"


def _find_regex_fault(regex: str, word: Word) -> str:
    if _ONE_BYTE.search(regex):
        return r"regex has \C, which is half a character; write . for any character"
    try:
        compiled = compile_regex(regex, word.case)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args else "it cannot be read"
        return f"regex cannot be used (RE2 syntax): {reason}"
    groups = [int(group) for group in _GROUP.findall(word.say or "")]
    if max(groups, default=0) > compiled.groups:
        return f"say names group {max(groups)}, but regex has {compiled.groups}"
    return ""


def _invalid(reason: str, param: str) -> UserError:
    return UserError(f"{param} cannot be used: {reason}", code="invalid_pronunciation", param=param)
