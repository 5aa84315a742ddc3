"""Utterances find their way back to the text that was sent."""

from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.cleaning.cleaning import Cleaning, TextCleaning
from fishs2.text.sourced import Sourced, cut_source
from fishs2.text.splitting.split import split_text
from fishs2.text.turns import find_turns

TAGGED = Cleaning(speaks_tags=True)
PLAIN = Cleaning(emoji="skip")
TEXT = "First things  first. \nSecond, [sigh] the rest! (happy) Thirdly:\tnothing. “Really?” Yes."


def utterances_of(text: str, cleaning: Cleaning = PLAIN, max_chars: int = 30) -> list[Sourced]:
    return [
        piece.text
        for turn in find_turns(Sourced.of(text))
        for piece in split_text(
            cleaning.clean(turn.text), max_chars=max_chars, has_tags=cleaning.speaks_tags
        )
    ]


def parts_of(text: str, cleaning: Cleaning = PLAIN, max_chars: int = 30) -> list[str]:
    return cut_source(text, utterances_of(text, cleaning, max_chars))


def test_parts_are_what_the_utterances_say() -> None:
    assert parts_of(TEXT) == [
        "First things  first. \n",
        "Second, [sigh] the rest! ",
        "(happy) Thirdly:\tnothing. “Really?” ",
        "Yes.",
    ]


def test_styles_that_are_repeated_after_a_cut_are_not_counted() -> None:
    text = "[whispering] one two three four five six seven eight nine ten"
    utterances = utterances_of(text, TAGGED, 40)

    assert all(each.text.startswith("[whispering]") for each in utterances)
    parts = cut_source(text, utterances)
    assert [part.split()[-1] for part in parts] == [each.text.split()[-1] for each in utterances]


def test_speaker_tags_go_with_the_turn_that_they_begin() -> None:
    text = "<|speaker:0|>Hello. <|speaker:1|>Hi there."

    assert parts_of(text) == ["<|speaker:0|>Hello. ", text[20:]]


def test_tags_without_a_space_before_them_open_the_next_part() -> None:
    dialogue = "<|speaker:0|>Hello there.<|speaker:1|>Hi."
    assert parts_of(dialogue) == [dialogue[:25], dialogue[25:]]
    text = "Hello, everybody, and welcome.[sad] Goodbye to all of you."
    assert parts_of(text) == [text[:30], text[30:]]
    text = "Hello, everybody, and hi[laugh]. Goodbye to all of you."
    assert parts_of(text) == [text[:33], text[33:]]


def test_what_is_left_out_of_a_text_belongs_to_what_is_read_around_it() -> None:
    text = "See [the docs](https://a.example/a/b.c). [John] went [whispering] home🙂. Then slept."
    utterances = utterances_of(text, max_chars=40)

    assert [each.text for each in utterances] == ["See the docs. [John] went home.", "Then slept."]
    assert cut_source(text, utterances) == [text[: text.index("Then")], "Then slept."]


MODES = st.sampled_from(["off", "minimal", "markdown"])
BITS = [
    *("# ", "* ", "**", "`", "1. ", "> ", "```", "~~", "_", "\\*", "\\n", "\n", "\n\n", "***"),
    *("&amp;", "<b>", "</b>", "<br>", "<think>", "</think>", "<script>", "<!--", "-->"),
    *("[a](b)", "[laugh] ", "(happy)", "word ", "Word. ", "...", "😀", "e\u0301", "<|speaker:1|>"),
    "| a | b |\n|-|-|\n",
]
WRITTEN = st.lists(st.one_of(st.text(max_size=5), st.sampled_from(BITS)), max_size=25).map("".join)


@given(WRITTEN, st.booleans(), MODES)
def test_places_are_total_and_in_order_whatever_the_text(
    text: str, speaks_tags: bool, mode: TextCleaning
) -> None:
    cleaning = Cleaning(speaks_tags=speaks_tags, emoji="skip", mode=mode)
    utterances = utterances_of(text, cleaning)

    done = 0
    for utterance in utterances:
        assert len(utterance.starts) == len(utterance.ends) == len(utterance.text)
        assert (utterance.starts <= utterance.ends).all()
        own = [at for at, char in enumerate(utterance.text) if not char.isspace()]
        starts = [int(utterance.starts[at]) for at in own]
        ends = [int(utterance.ends[at]) for at in own]
        repeated = sum(end <= done for end in ends)
        assert starts[repeated:] == sorted(starts[repeated:])
        assert ends[repeated:] == sorted(ends[repeated:])
        done = max([done, *ends])
    assert done <= len(text)
    if utterances:
        assert "".join(cut_source(text, utterances)) == text


@given(st.text(alphabet="abc de.\n", max_size=80))
def test_plain_text_stands_for_itself(text: str) -> None:
    for utterance in utterances_of(text):
        for at, char in enumerate(utterance.text):
            if not char.isspace():
                assert text[utterance.starts[at] : utterance.ends[at]] == char
