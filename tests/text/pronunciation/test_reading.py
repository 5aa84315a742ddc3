"""What is said of a text by lexicons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.errors import UserError
from fishs2.text.pronunciation.lexicon import Lexicon
from fishs2.text.pronunciation.reading import Reading, has_sounds_only
from fishs2.text.pronunciation.words import Word
from fishs2.text.sourced import Sourced

LEXICON = Lexicon(
    [
        Word(word="GIF", say="jif"),
        Word(word="jif", say="never"),
        Word(word="um", say=""),
        Word(word="Worcester", ipa="ˈwʊstə", say="Wooster"),
        Word(word="Leicester", ipa="ˈlɛstə"),
    ]
)


def read(text: str, **rules: object) -> str:
    return Reading((LEXICON,), **rules).read(Sourced.of(text)).text  # type: ignore[arg-type]


def test_what_a_lexicon_says_is_not_looked_at_again() -> None:
    assert read("A GIF, um, GIF.") == "A jif, , jif."


def test_a_word_that_is_left_out_leaves_no_gap() -> None:
    assert read("um so um it is um") == "so it is"


def test_sounds_are_for_engines_that_take_them() -> None:
    text = "Worcester, Leicester"

    assert read(text, as_sounds=lambda ipa: f"/{ipa}/") == "/ˈwʊstə/, /ˈlɛstə/"
    assert read(text) == "Wooster, Leicester"
    assert has_sounds_only((LEXICON,))
    assert not has_sounds_only((Lexicon([Word(word="a", ipa="a", say="a")]),))


def test_nothing_is_found_inside_a_tag() -> None:
    assert read("[GIF style] GIF", speaks_tags=True) == "[GIF style] jif"
    assert read("[GIF style] GIF") == "[jif style] jif"


def test_figures_are_said_where_no_lexicon_has_them() -> None:
    lexicon = Lexicon([Word(word="km", say="klicks"), Word(word="$5", say="five bucks")])
    reading = Reading((lexicon,), "en", speaks_tags=True, has_figures=True)

    said = reading.read(Sourced.of("5 km, 6 kg, $5, [in 7 kg] $6"))

    assert said.text == "5 klicks, six kilograms, five bucks, [in 7 kg] six dollars"


def test_places_stay_those_of_the_source() -> None:
    said = Reading((LEXICON,)).read(Sourced.of("My GIF ends"))

    assert said.text == "My jif ends"
    assert said.span(3, 6) == (3, 6)
    assert said.span(7, 11) == (7, 11)


def test_a_text_cannot_become_boundless() -> None:
    reading = Reading((Lexicon([Word(word="a", say="b" * 500)]),))

    with pytest.raises(UserError, match="the limit for 2,000 is 12,000") as raised:
        reading.read(Sourced.of("a " * 1_000))
    assert raised.value.code == "input_too_long"


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=4), max_size=5))
def test_places_are_total_and_in_order_whatever_the_text(text: str, words: list[str]) -> None:
    lexicon = Lexicon([Word(word=word, say=word[::-1] * 2) for word in words if word.strip()])

    said = Reading((lexicon,)).read(Sourced.of(text))

    assert len(said.starts) == len(said.ends) == len(said.text)
    assert all(0 <= a <= b <= len(text) for a, b in zip(said.starts, said.ends, strict=True))
    assert (said.starts[1:] >= said.starts[:-1]).all()
    assert (said.ends[1:] >= said.ends[:-1]).all()
