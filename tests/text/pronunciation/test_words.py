"""What an entry of a lexicon may be."""

import pytest

from fishs2.errors import UserError
from fishs2.text.pronunciation.words import MAX_REGEXES, MAX_WORDS, Word, check_words, tidy


@pytest.mark.parametrize(
    "word",
    [
        Word(word="GIF", say="jif"),
        Word(word="a", say=""),
        Word(regex="v([0-9]+)", say=r"version \1"),
        Word(word="Worcester", ipa="ˈwʊstə", language="en-GB", case="exact"),
        Word(word="x", ipa="t͡ʃʰɐ̯ː.ˌt̪ã"),
        Word(word="東京", say="とうきょう", language="ja"),
    ],
)
def test_good_words_are_let_through(word: Word) -> None:
    check_words([word], param="words")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (Word(say="x"), "either word or regex"),
        (Word(word="x", regex="x", say="y"), "either word or regex"),
        (Word(word="x"), "give say, ipa or both"),
        (Word(word=" ", say="y"), "word is empty"),
        (Word(word="x", ipa=" "), "ipa is empty"),
        (Word(word="x", ipa="ʕaɧ"), "ipa has ʕ, ɧ, which no engine can say"),
        (Word(word="x", ipa="中"), "ipa has 中"),
        (Word(word="x", ipa="ˈ."), "ipa has no sound"),
        (Word(word="x" * 201, say="y"), "201 characters; the limit is 200"),
        (Word(word="x", say="y" * 501), "501 characters; the limit is 500"),
        (Word(word="x", say="a\x00b"), "control or private"),
        (Word(word="x", say="\U000f0250"), "control or private"),
        (Word(word="x", say="<|speaker:1|>"), "marks speakers"),
        (Word(word="x", say="y", language="not a tag"), "BCP 47"),
        (Word(regex="(", say="y"), "missing )"),
        (Word(regex="(?=a)", say="y"), "RE2"),
        (Word(regex=r"a\C", say="y"), "half a character"),
        (Word(regex=r"\\\C", say="y"), "half a character"),
        (Word(regex="(a{999}){999}", say="y"), "RE2"),
        (Word(regex="(a)", say=r"\2"), "group 2, but regex has 1"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(word: Word, reason: str) -> None:
    with pytest.raises(UserError, match="entry 1") as raised:
        check_words([Word(word="fine", say="fine"), word], param="pronunciations")

    assert reason in raised.value.message
    assert (raised.value.code, raised.value.param) == ("invalid_pronunciation", "pronunciations")


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        ([Word(word="a", say="b")] * (MAX_WORDS + 1), "5,000"),
        ([Word(regex="a", say="b")] * (MAX_REGEXES + 1), "100"),
    ],
)
def test_a_lexicon_has_limits(words: list[Word], limit: str) -> None:
    with pytest.raises(UserError, match=f"the limit is {limit}"):
        check_words(words, param="words")


def test_a_word_is_composed_and_has_single_spaces() -> None:
    assert tidy(" cafe\u0301  noir ") == "café noir"
