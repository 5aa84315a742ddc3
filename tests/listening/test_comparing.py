"""Word error rates of two texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.listening.comparing import compare, without_directions, words_of


@pytest.mark.parametrize(
    ("expected", "heard", "num_words", "num_errors", "longest"),
    [
        ("Hello, world!", "hello world", 2, 0, 0),
        ("one two three four", "one too three", 4, 2, 1),
        ("one two three four", "", 4, 4, 4),
        ("", "one two", 0, 2, 2),
        ("a b c d e f", "a x y z e f", 6, 3, 3),
        ("the head line", "the headline", 3, 0, 0),
        ("don\u2019t stop", "don't stop", 2, 0, 0),
        ("Caf\u00e9 \uff11\uff12", "cafe\u0301 12", 2, 0, 0),
        ("今天天气好", "今天天汽好", 5, 1, 1),
        ("用 AI 说话", "用AI说话", 4, 0, 0),
    ],
)
def test_errors_are_counted_in_words_or_in_characters_without_spaces(
    expected: str, heard: str, num_words: int, num_errors: int, longest: int
) -> None:
    difference = compare(expected, heard)

    assert (difference.num_words, difference.num_errors, difference.longest_run) == (
        num_words,
        num_errors,
        longest,
    )


def test_rate_is_errors_per_word_of_the_text() -> None:
    assert compare("one two three four", "one two three five").rate == 0.25
    assert compare("", "").rate == 0


def test_directions_are_not_expected_to_be_heard() -> None:
    assert words_of(without_directions("[whisper] Hello (sad) there <|speaker:1|>")) == [
        "hello",
        "there",
    ]


@given(st.text(), st.text())
def test_any_two_texts_can_be_compared(expected: str, heard: str) -> None:
    difference = compare(expected, heard)

    assert 0 <= difference.longest_run <= difference.num_errors
    assert difference.num_errors <= max(len(words_of(expected)), len(words_of(heard)))
    assert compare(expected, expected).num_errors == 0
