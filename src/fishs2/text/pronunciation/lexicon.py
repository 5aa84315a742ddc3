"""A list of words, made ready to be found in any text in time linear in the text."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import re2

from fishs2.text.pronunciation.borders import APOSTROPHES, STARTS, is_end, is_start
from fishs2.text.pronunciation.words import (
    Case,
    Word,
    compile_regex,
    expand,
    regex_options,
    tidy,
)

_KEY_CHARS = 3
"""Words are looked up by so many of their first characters: few of a thousand share them."""

_PLAIN = str.maketrans({**dict.fromkeys(APOSTROPHES, "'"), "\n": " "})
_LANGUAGES = {"cmn": "zh", "nb": "no"}
"""Names of eSpeak NG's voices and what people call the language."""


class Found(NamedTuple):
    """A word of a lexicon in a text."""

    start: int
    end: int
    word: Word
    say: str | None


@dataclass(frozen=True, slots=True)
class _Entry:
    letters: str
    word: Word


@dataclass(frozen=True, slots=True)
class _Expressions:
    """Expressions of one case rule: which of them are in a text costs one look."""

    words: tuple[Word, ...]
    which: Any


class Lexicon:
    """Words and how they are said. Ready for any language; used from any thread."""

    def __init__(self, words: Sequence[Word]) -> None:
        """words: as `check_words` lets them through. Of equal ones the last counts."""
        self.words = tuple(words)
        self._index = _index(words)
        self._expressions = [
            each for case in ("any", "exact") if (each := _gather(words, case)) is not None
        ]

    def find(self, text: str, language: str) -> Iterator[Found]:
        """Yield the longest word at each place where one begins, and what expressions find.

        They may overlap. language: of the speech, as a BCP 47 tag or eSpeak NG's name; "" unknown.
        """
        known = _plain_tag(language)
        if self._index:
            yield from self._find_words(text, known)
        for expressions in self._expressions:
            # RE2 answers None, not an empty list, where none of them is in the text.
            for number in expressions.which.Match(text) or ():
                word = expressions.words[number]
                if not _suits(word, known):
                    continue
                for match in compile_regex(word.regex or "", word.case).finditer(text):
                    start, end = match.span()
                    if start < end:
                        say = None if word.say is None else expand(word.say, match)
                        yield Found(start, end, word, say)

    def _find_words(self, text: str, language: str) -> Iterator[Found]:
        exact = text.translate(_PLAIN)
        folded = _fold(exact)
        is_turkish = language.startswith("tr")
        for place in STARTS.finditer(text):
            start = place.start()
            for num_chars in range(_KEY_CHARS, 0, -1):
                bucket = self._index.get(folded[start : start + num_chars])
                if bucket is None:
                    continue
                found = self._match(bucket, text, exact, folded, start, language, is_turkish)
                if found is not None:
                    yield found
                    break

    def _match(
        self,
        bucket: Sequence[_Entry],
        text: str,
        exact: str,
        folded: str,
        start: int,
        language: str,
        is_turkish: bool,
    ) -> Found | None:
        for entry in bucket:
            word = entry.word
            written = exact if word.case == "exact" else folded
            if not written.startswith(entry.letters, start) or not _suits(word, language):
                continue
            end = start + len(entry.letters)
            if is_start(text, start) and is_end(text, end, is_turkish=is_turkish):
                return Found(start, end, word, word.say)
        return None


def _index(words: Sequence[Word]) -> dict[str, list[_Entry]]:
    """Words by their first characters, the longest first, then those of a case and a language."""
    index: dict[str, list[_Entry]] = {}
    for word in reversed(words):
        if word.word is not None:
            letters = tidy(word.word).translate(_PLAIN)
            folded = _fold(letters)
            entry = _Entry(letters if word.case == "exact" else folded, word)
            index.setdefault(folded[:_KEY_CHARS], []).append(entry)
    for bucket in index.values():
        bucket.sort(key=lambda each: (-len(each.letters), each.word.case == "any",
                                      each.word.language is None))  # fmt: skip
    return index


def _gather(words: Sequence[Word], case: str) -> _Expressions | None:
    chosen = tuple(each for each in words if each.regex is not None and each.case == case)
    if not chosen:
        return None
    rule: Case = "exact" if case == "exact" else "any"
    which = re2.Set.SearchSet(regex_options(rule))
    for word in chosen:
        which.Add(word.regex)
    which.Compile()
    return _Expressions(chosen, which)


def _fold(text: str) -> str:
    """The text in lower case, of the same length."""
    lower = text.lower()
    if len(lower) == len(text) and "Σ" not in text:
        return lower
    # Of a capital sigma the place in the word decides, of others the number of characters changes.
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _plain_tag(language: str) -> str:
    first, *rest = language.lower().replace("_", "-").split("-")
    return "-".join([_LANGUAGES.get(first, first), *rest])


def _suits(word: Word, language: str) -> bool:
    if word.language is None:
        return True
    wanted = _plain_tag(word.language)
    return language == wanted or language.startswith(f"{wanted}-")


def choose(found: Sequence[list[Found]], blocked: Sequence[tuple[int, int]]) -> list[Found]:
    """Choose what is said, in order: the first, the longest, that of the first lexicon.

    found: of each lexicon, the one that counts most first. blocked: what none may touch, in order.
    """
    ranked = sorted(
        (each.start, -each.end, rank, index)
        for rank, matches in enumerate(found)
        for index, each in enumerate(matches)
    )
    starts = [start for start, _ in blocked]
    chosen: list[Found] = []
    done = 0
    for start, minus_end, rank, index in ranked:
        if start < done:
            continue
        after = bisect_right(starts, start)
        touches_before = after > 0 and blocked[after - 1][1] > start
        touches_after = after < len(blocked) and blocked[after][0] < -minus_end
        if not touches_before and not touches_after:
            chosen.append(found[rank][index])
            done = -minus_end
    return chosen
