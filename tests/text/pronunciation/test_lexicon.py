"""Where the words of a lexicon are found."""

import pytest

from fishs2.text.pronunciation.lexicon import Lexicon, choose
from fishs2.text.pronunciation.words import Case, Word


def find(text: str, *words: Word, language: str = "en") -> list[str]:
    """What is said, with the place that it is said in."""
    found = choose([list(Lexicon(words).find(text, language))], [])
    return [f"{text[each.start : each.end]}={each.say}" for each in found]


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("NASA, nasa NASA's l'NASA «NASA»", "NASA", 5),
        ("NASAs xNASA NASA_ NASA1", "NASA", 0),
        ("don't can't we're it’s", "don", 0),
        ("don't", "t", 0),
        ("it's It’ll", "it", 1),
        ("e-mail", "mail", 1),
        ("1 0.1 1.5 1,000 (1)", "1", 2),
        ("C++ and C+++", "C++", 2),
        ("東京都と東京", "東京", 2),
        ("新API接口", "api", 1),
        ("서울은 서울 대서울", "서울", 2),
        ("cafe\u0301s cafe", "cafe", 1),
        ("किताब", "ताब", 0),
        ("New\nYork new york", "New York", 2),
        ("New\n\nYork", "New York", 0),
        ("rock ’n’ roll", "rock 'n' roll", 1),
        ("ΟΔΟΣ οδος", "Οδοσ", 1),
        ("İstanbul ok", "ok", 1),
    ],
)
def test_words_are_found_where_words_are(text: str, word: str, found: int) -> None:
    assert len(find(text, Word(word=word, say="x"))) == found


def test_a_turkish_suffix_follows_an_apostrophe() -> None:
    word = Word(word="Ankara", say="x")

    assert find("Ankara'da", word, language="tr") == ["Ankara=x"]
    assert find("Ankara'da", word) == []


def test_the_longest_word_counts() -> None:
    words = [Word(word="New", say="1"), Word(word="New York", say="2"), Word(word="York", say="3")]

    assert find("New York, York, New", *words) == ["New York=2", "York=3", "New=1"]


def test_case_counts_where_the_word_says_so() -> None:
    words = [Word(word="US", say="u s", case="exact"), Word(word="us", say="uss")]

    assert find("US us Us", *words) == ["US=u s", "us=uss", "Us=uss"]


def test_of_equal_words_the_last_counts() -> None:
    assert find("a", Word(word="a", say="1"), Word(word="A", say="2")) == ["a=2"]


@pytest.mark.parametrize(
    ("wanted", "spoken", "is_found"),
    [
        (None, "", True),
        ("de", "de", True),
        ("de", "de-AT", True),
        ("de-AT", "de", False),
        ("de_at", "de-AT", True),
        ("zh", "cmn", True),
        ("de", "", False),
        ("d", "de", False),
    ],
)
def test_a_language_is_that_of_the_speech(wanted: str | None, spoken: str, is_found: bool) -> None:
    found = find("Chef", Word(word="Chef", say="x", language=wanted), language=spoken)

    assert bool(found) is is_found


def test_a_word_of_another_language_hides_none() -> None:
    words = [Word(word="Chef", say="1", language="de"), Word(word="chef", say="2")]

    assert find("Chef", *words, language="fr") == ["Chef=2"]
    assert find("Chef", *words, language="de") == ["Chef=1"]


def test_expressions_take_their_groups_along() -> None:
    words = [
        Word(regex=r"v([0-9]+)\.([0-9]+)", say=r"version \1 point \2"),
        Word(regex="[A-Z]{3}", say=r"\0!", case="exact"),
        Word(regex="x*", say="never"),
        Word(regex="été", say="ete"),
    ]

    assert find("V2.10 ABC abc ÉTÉ", *words) == [
        "V2.10=version 2 point 10",
        "ABC=ABC!",
        "ÉTÉ=ete",
    ]


@pytest.mark.parametrize("text", ["nothing of it", "", "日本 😀"])
@pytest.mark.parametrize("case", ["any", "exact"])
def test_a_text_without_the_expressions_stays_as_it_is(text: str, case: Case) -> None:
    assert find(text, Word(regex="q+", say="cue", case=case)) == []


def test_a_text_without_the_expressions_still_has_its_words() -> None:
    words = Word(word="it", say="id"), Word(regex="q+", say="cue")
    assert find("nothing of it", *words) == ["it=id"]


def test_an_earlier_lexicon_wins_only_against_equals() -> None:
    first = list(Lexicon([Word(word="New", say="1")]).find("New York New", ""))
    second = list(Lexicon([Word(word="New York", say="2"), Word(word="new", say="3")]).find(
        "New York New", ""))  # fmt: skip

    assert [each.say for each in choose([first, second], [])] == ["2", "1"]


def test_what_is_blocked_is_not_touched() -> None:
    found = list(Lexicon([Word(word="sad", say="x")]).find("sad [sad] sad", ""))

    assert [each.start for each in choose([found], [(4, 9)])] == [0, 10]
