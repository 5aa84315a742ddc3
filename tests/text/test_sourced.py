"""Places of a text stay true through every change."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.edits import Edit, apply_edits
from fishs2.text.normalize import normalize, normalize_text
from fishs2.text.sourced import Sourced, join

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("ab \n\t\r\u0301\u0323\u1100\u1161\u11a8\u200b\x92\u00a0e\u09c7\u09be"),
    ),
    max_size=60,
)


@st.composite
def edits_of(draw: st.DrawFn, text: str) -> list[Edit]:
    borders = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = zip(borders[::2], borders[1::2], strict=False)
    return [Edit(start, end, draw(st.text(max_size=3))) for start, end in pairs]


def check(sourced: Sourced, source: str) -> None:
    """Places are as many as characters, inside the source and in order."""
    assert len(sourced.starts) == len(sourced.ends) == len(sourced.text)
    for start, end in zip(sourced.starts, sourced.ends, strict=True):
        assert 0 <= start <= end <= len(source)
    for places in (sourced.starts, sourced.ends):
        assert sorted(places) == list(places)


@given(TEXTS, st.data())
def test_edits_change_the_text_as_without_places_and_keep_them_in_order(
    text: str, data: st.DataObject
) -> None:
    sourced, plain = Sourced.of(text), text
    for _ in range(3):
        edits = data.draw(edits_of(plain))
        sourced, plain = sourced.edit(edits), apply_edits(plain, edits)
        assert sourced.text == plain
        check(sourced, text)


@given(TEXTS)
def test_a_text_is_normalised_as_without_places(text: str) -> None:
    sourced = normalize(Sourced.of(text))

    assert sourced.text == normalize_text(text)
    check(sourced, text)


@given(TEXTS)
def test_nfc_is_that_of_the_whole_text(text: str) -> None:
    assert Sourced.of(text).recompose().text == unicodedata.normalize("NFC", text)


def test_what_was_not_changed_stands_for_itself() -> None:
    sourced = Sourced.of("Pay &amp; go").edit([Edit(4, 9, "and")])

    assert sourced.text == "Pay and go"
    assert sourced.span(0, 3) == (0, 3)
    assert sourced.span(4, 7) == (4, 9)
    assert sourced.span(5, 6) == (4, 9)
    assert sourced.span(8, 10) == (10, 12)


def test_what_was_added_stands_for_nothing() -> None:
    sourced = Sourced.of("One").edit([Edit(3, 3, ".")])

    assert sourced.span(3, 4) == (3, 3)


def test_parts_are_put_together() -> None:
    text = Sourced.of("one two").sub(re.compile("o"), "00")

    assert join([text.select(0, 2), text.select(5, 9)]).span(1, 3) == (0, 5)
    assert join([]).text == ""


@pytest.mark.parametrize(
    ("source", "text"), [("e\u0301a", "éa"), ("\u1112\u1161\u11abx", "한x"), ("x\u0323\u0307", "ẋ̣")]
)
def test_a_letter_stands_for_all_its_marks(source: str, text: str) -> None:
    sourced = Sourced.of(source).recompose()

    assert sourced.text == unicodedata.normalize("NFC", text)
    assert sourced.span(0, 1)[1] >= 2
