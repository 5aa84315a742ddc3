"""Texts that several voices read."""

import pytest

from fishs2.text import turns
from fishs2.text.sourced import Sourced
from fishs2.text.turns import last_speaker, remove_speaker_tags, without_speaker_tags


def find_turns(text: str) -> list[tuple[int, str]]:
    return [(turn.speaker, turn.text.text) for turn in turns.find_turns(Sourced.of(text))]


def test_text_without_tags_is_one_turn_of_the_first_speaker() -> None:
    assert find_turns("Hello there.") == [(0, "Hello there.")]


def test_each_tag_begins_a_turn_and_text_before_the_first_is_speaker_0() -> None:
    text = "Well. <|speaker:1|>Hi!<|speaker:0|> Oh, <|speaker:12|>no."

    assert find_turns(text) == [
        (0, "Well. "),
        (1, "Hi!"),
        (0, " Oh, "),
        (12, "no."),
    ]


@pytest.mark.parametrize(
    "text", ["<|speaker:|>", "<|speaker:-1|>", "<speaker:1>", "<|speaker:1 |>"]
)
def test_what_only_looks_like_a_tag_is_text(text: str) -> None:
    assert find_turns(text) == [(0, text)]
    assert remove_speaker_tags(text) == text


def test_a_removed_tag_leaves_words_apart() -> None:
    assert remove_speaker_tags("one<|speaker:1|>two") == "one two"
    assert without_speaker_tags(Sourced.of("one<|speaker:1|>two")).span(3, 4) == (3, 16)


def test_the_last_tag_says_who_speaks_at_the_end() -> None:
    assert last_speaker("<|speaker:0|>one<|speaker:7|>", 1) == 7
    assert last_speaker("one", 1) == 1
