"""How far what was heard is from what should have been said: word error rates, and where."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_TAG = re.compile(r"\[[^\[\]]*\]|\([^()]*\)|<[^<>]*>")
# Scripts that write no spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han.
_SPACELESS = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What was heard against what should have been said.

    num_words: of the text; characters, where the script has no spaces. num_errors: words that are
    missing, added or others. longest_run: errors in a row, the most of them.
    """

    num_words: int
    num_errors: int
    longest_run: int

    @property
    def rate(self) -> float:
        """Word error rate: errors per word of the text; 0 for nothing against nothing."""
        return self.num_errors / max(1, self.num_words)


def words_of(text: str) -> list[str]:
    """What counts when two texts are compared: words in one case, without marks and directions.

    Characters of scripts without spaces are a word each.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    words: list[str] = []
    for word in _WORD.findall(plain):
        if not _SPACELESS.search(word):
            words.append(word)
            continue
        rest = ""
        for char in word:
            if _SPACELESS.match(char):
                words += [rest, char] if rest else [char]
                rest = ""
            else:
                rest += char
        words += [rest] if rest else []
    return words


def without_directions(text: str) -> str:
    """A text without what is in brackets, which an engine may act on instead of reading it."""
    return _TAG.sub(" ", text)


def compare(expected: str, heard: str) -> Difference:
    """Compare two texts by their words; what they differ in by spelling alone counts too."""
    return compare_words(words_of(expected), words_of(heard))


def compare_words(expected: Sequence[str], heard: Sequence[str]) -> Difference:
    """Compare words; what is only written apart, or in one, is no error."""
    # Imported here: it belongs to the extra `asr`.
    from rapidfuzz.distance import Levenshtein

    num_errors = longest = source = destination = 0
    blocks = Levenshtein.opcodes(expected, heard)
    ends = [(block.src_start, block.dest_start, block) for block in blocks if block.tag == "equal"]
    for src_start, dest_start, block in [*ends, (len(expected), len(heard), None)]:
        left, right = expected[source:src_start], heard[destination:dest_start]
        if "".join(left) != "".join(right):
            run = max(len(left), len(right))
            num_errors += run
            longest = max(longest, run)
        if block is not None:
            source, destination = block.src_end, block.dest_end
    return Difference(len(expected), num_errors, longest)
