"""Texts that several voices read."""

import pytest

from fishs2.text.turns import Turn, find_speaker_tags, find_turns, remove_speaker_tags


def test_text_without_tags_is_one_turn_of_the_first_speaker() -> None:
    assert find_turns("Hello there.") == [Turn(0, "Hello there.")]


def test_each_tag_begins_a_turn_and_text_before_the_first_is_speaker_0() -> None:
    text = "Well. <|speaker:1|>Hi!<|speaker:0|> Oh, <|speaker:12|>no."

    assert find_turns(text) == [
        Turn(0, "Well. "),
        Turn(1, "Hi!"),
        Turn(0, " Oh, "),
        Turn(12, "no."),
    ]


@pytest.mark.parametrize(
    "text", ["<|speaker:|>", "<|speaker:-1|>", "<speaker:1>", "<|speaker:1 |>"]
)
def test_what_only_looks_like_a_tag_is_text(text: str) -> None:
    assert find_turns(text) == [Turn(0, text)]
    assert remove_speaker_tags(text) == text


def test_a_removed_tag_leaves_words_apart() -> None:
    assert remove_speaker_tags("one<|speaker:1|>two") == "one two"
    assert find_speaker_tags("one<|speaker:1|>two") == [(3, 16)]
