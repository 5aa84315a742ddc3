"""What is silent between two utterances."""

import pytest

from fishs2.text.sourced import Sourced
from fishs2.text.splitting.cut import Boundary
from fishs2.text.splitting.silences import Silence, Silences, boundary_of
from fishs2.text.splitting.split import split_text


def test_without_a_wish_it_is_a_part_of_the_speech() -> None:
    assert Silences().after("paragraph") == Silence(0.6, is_exact=False)
    assert Silences().after("scene") == Silence(1.2, is_exact=False)


@pytest.mark.parametrize(
    ("boundary", "seconds"),
    [("sentence", 1.0), ("line", 2.0), ("paragraph", 3.0), ("scene", 6.0)],
)
def test_a_wish_is_exact(boundary: Boundary, seconds: float) -> None:
    assert Silences(1.0, 2.0, 3.0).after(boundary) == Silence(seconds, is_exact=True)


def test_a_request_wins_over_the_settings_where_it_says_something() -> None:
    assert Silences(0.0, None, 3.0).or_else(Silences(1.0, 2.0, 1.0)) == Silences(0.0, 2.0, 3.0)


def test_a_wish_takes_sentences_and_lines_apart() -> None:
    text = Sourced.of("One. Two.\nThree\n\nFour.")

    together = split_text(text, max_chars=200)
    sentences = split_text(text, max_chars=200, apart=Silences(sentence_s=1.0).apart)
    lines = split_text(text, max_chars=200, apart=Silences(line_s=1.0).apart)

    assert [each.text.text for each in together] == ["One. Two.\nThree", "Four."]
    assert [each.text.text for each in sentences] == ["One.", "Two.", "Three", "Four."]
    assert [(each.text.text, each.boundary) for each in lines] == [
        ("One. Two.", "line"),
        ("Three", "paragraph"),
        ("Four.", "paragraph"),
    ]


@pytest.mark.parametrize(
    ("text", "boundary"),
    [
        ("Hi.\n \n", "paragraph"),
        ("Hi.\n", "sentence"),
        ("Hi.", "sentence"),
        ("\n\nhi", "word"),
        ("Hi ", "word"),
    ],
)
def test_how_a_text_ends_says_what_ends_there(text: str, boundary: Boundary) -> None:
    assert boundary_of(text) == boundary


def test_many_line_breaks_before_the_words_cost_nothing() -> None:
    # A search from each of them would take hours, and the test's own limit would end it.
    assert boundary_of("\n" * 3_000_000 + "hi") == "word"
