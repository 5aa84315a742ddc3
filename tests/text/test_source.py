"""Utterances find their way back to the text that was sent."""

from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.cleaning import Cleaning
from fishs2.text.normalize import normalize_text
from fishs2.text.source import split_source
from fishs2.text.split import split_text
from fishs2.text.tags import remove_tags

TAGGED = Cleaning(speaks_tags=True)
TEXT = "First things  first. \nSecond, [sigh] the rest! (happy) Thirdly:\tnothing. “Really?” Yes."


def utterances_of(text: str, max_chars: int = 30) -> list[str]:
    pieces = split_text(normalize_text(remove_tags(text)), max_chars=max_chars)
    return [piece.text for piece in pieces]


def test_parts_are_what_the_utterances_say() -> None:
    assert split_source(TEXT, utterances_of(TEXT), TAGGED) == [
        "First things  first. \n",
        "Second, [sigh] the rest! ",
        "(happy) Thirdly:\tnothing. “Really?” ",
        "Yes.",
    ]


def test_styles_that_are_repeated_after_a_cut_are_not_counted() -> None:
    text = "[whispering] one two three four five six seven eight nine ten"
    utterances = [piece.text for piece in split_text(text, max_chars=40)]

    assert all(each.startswith("[whispering]") for each in utterances)
    parts = split_source(text, utterances, TAGGED)
    assert [part.split()[-1] for part in parts] == [each.split()[-1] for each in utterances]


def test_speaker_tags_go_with_the_turn_that_they_begin() -> None:
    text = "<|speaker:0|>Hello. <|speaker:1|>Hi there."

    assert split_source(text, ["Hello.", "Hi there."], TAGGED) == [
        "<|speaker:0|>Hello. ",
        text[20:],
    ]


def test_tags_without_a_space_before_them_open_the_next_part() -> None:
    dialogue = "<|speaker:0|>Hello there.<|speaker:1|>Hi."
    assert split_source(dialogue, ["Hello there.", "Hi."], TAGGED) == [dialogue[:25], dialogue[25:]]
    assert split_source("Hello.[sad] Bye.", ["Hello.", "Bye."], TAGGED) == ["Hello.", "[sad] Bye."]
    parts = split_source("Hello[laugh]. Bye.", ["Hello.", "Bye."], TAGGED)
    assert parts == ["Hello[laugh]. ", "Bye."]


@given(st.text(max_size=200))
def test_parts_add_up_to_the_text_whatever_it_is(text: str) -> None:
    utterances = utterances_of(text) or [""]

    parts = split_source(text, utterances, TAGGED)
    assert "".join(parts) == text
    assert len(parts) == len(utterances)


def test_what_is_left_out_of_a_text_belongs_to_what_is_read_around_it() -> None:
    text = "See [the docs](https://a.example/a/b.c). [John] went [whispering] home🙂. Then slept."
    plain = Cleaning(emoji="skip")
    utterances = [each.text for each in split_text(plain.clean(text), max_chars=40, has_tags=False)]

    assert utterances == ["See the docs. [John] went home.", "Then slept."]
    assert split_source(text, utterances, plain) == [text[: text.index("Then")], "Then slept."]


@given(st.text(max_size=200), st.booleans())
def test_parts_add_up_however_a_text_is_cleaned(text: str, speaks_tags: bool) -> None:
    cleaning = Cleaning(speaks_tags=speaks_tags, emoji="skip")
    pieces = split_text(cleaning.clean(text), max_chars=30, has_tags=speaks_tags)

    assert "".join(split_source(text, [each.text for each in pieces] or [""], cleaning)) == text
