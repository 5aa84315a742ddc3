"""Text that arrives in pieces leaves in whole sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.splitting.incoming import IncomingText
from fishs2.text.tags import MAX_TAG_CHARS
from tests.counting import count_calls


def given_on(pieces: list[str], max_chars: int = 200) -> list[str]:
    """What is given on after each piece; "" where nothing is."""
    text = IncomingText(max_chars=max_chars)
    taken = []
    for piece in pieces:
        text.add(piece)
        taken.append(text.take())
    return taken


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["Hello wor", "ld. How are"], ["", "Hello world. "]),
        (["This is a sentence."], ["This is a sentence."]),
        (["Hello."], ["Hello."]),
        (["One. Two! Three? Fo", "ur."], ["One. Two! Three? ", "Four."]),
        # Tokens of a language model: a mark alone decides nothing until something follows it.
        (["It", " is", " 3", ".", "5", " feet", ".", " Yes"], [*[""] * 7, "It is 3.5 feet. "]),
        (["Go", "!", '"', " she", " said", "."], [""] * 6),
        (["Mr. ", "Smith came. "], ["", "Mr. Smith came. "]),
        (["See Dr. Who in the U.S.", " today. "], ["", "See Dr. Who in the U.S. today. "]),
        (["It costs 3.", "5 dollars. "], ["", "It costs 3.5 dollars. "]),
        (["A title\n\n", "and text"], ["A title\n\n", ""]),
        (["wrapped at\nthe margin. Yes"], ["wrapped at\nthe margin. "]),
        (["你好。今天"], ["你好。"]),
        # A tag belongs to what follows it, and is not cut where it has only begun.
        (["Fine. [whis", "pering. softly] Come. "], ["Fine. ", "[whispering. softly] Come. "]),
        (["Fine. <|spea", "ker:1|>Good. "], ["Fine. ", "<|speaker:1|>Good. "]),
        (["", " ", "\n"], ["", "", ""]),
    ],
)
def test_sentences_are_given_on_when_they_are_complete(
    pieces: list[str], expected: list[str]
) -> None:
    assert given_on(pieces) == expected


def test_text_without_an_end_is_given_on_between_words() -> None:
    text = IncomingText(max_chars=20)
    text.add("word " * 9)

    assert text.take() == "word " * 8
    text.flush()
    assert text.take() == "word "


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a word [in a low voice] and more"], "a word |[in a low voice] |and more"),
        (["[in a low and hoarse voice] and more"], "[in a low and hoarse voice]| and more"),
        (["[in a low and", " hoarse voice] and more"], "[in a low and hoarse voice]| and more"),
        (["a word and [in a low ", "voice] more"], "a word and |[in a low voice] |more"),
        (["xxxxxxxxxxxx[pause:1", ".25s]yyyyyyyyyyy"], "xxxxxxxxxxxx|[pause:1.25s]yyyyyyy|yyyy"),
    ],
)
def test_a_text_without_an_end_is_never_cut_inside_a_tag(pieces: list[str], expected: str) -> None:
    text = IncomingText(max_chars=20)
    taken = []
    for piece in pieces:
        text.add(piece)
        while text.is_ready:
            taken.append(text.take(1))
    text.flush()

    assert "|".join([*taken, text.take()]) == expected


def test_a_bracket_that_is_never_closed_holds_up_no_more_than_a_tag_may_be() -> None:
    text = IncomingText(max_chars=20)
    for _ in range(100):
        text.add("[ word ")

    assert text.num_chars - len(text.take()) < MAX_TAG_CHARS + 2


def test_a_word_without_end_is_cut() -> None:
    text = IncomingText(max_chars=20)
    text.add("x" * 45)

    assert text.take() == "x" * 40
    assert text.num_chars == 5


@given(st.lists(st.text(alphabet="aB .!?\n[]<|3„。", max_size=12), max_size=30), st.integers(5, 40))
def test_nothing_is_lost_changed_or_kept_without_bound(pieces: list[str], max_chars: int) -> None:
    text = IncomingText(max_chars=max_chars)
    taken = ""
    for piece in pieces:
        text.add(piece)
        taken += text.take()
        assert text.num_chars < max(max_chars, MAX_TAG_CHARS + 2)
    text.flush()

    assert taken + text.take() == "".join(pieces)
    assert text.num_chars == 0
    assert not text.is_ready


@pytest.mark.parametrize(
    ("waiting", "piece"),
    [("Dr. " * 249, ""), ("Dr. " * 249, " "), ("x" + "[" * 900, ""), ("a. " * 300 + "Dr", ".")],
)
def test_a_small_piece_costs_little_however_much_waits(waiting: str, piece: str) -> None:
    text = IncomingText(max_chars=1_000)
    text.add(waiting)

    def add_pieces() -> None:
        for _ in range(100):
            text.add(piece)

    num_calls = count_calls(add_pieces)

    # A look over what waits is one search; to judge all of it anew takes a call for every mark.
    assert num_calls < 100 * 150


def test_a_long_text_is_taken_in_portions_of_whole_sentences() -> None:
    text = IncomingText(max_chars=200)
    for _ in range(9):
        text.add("This is a sentence. ")

    assert text.take(max_chars=50) == "This is a sentence. " * 3
    assert text.num_chars == 120
    assert text.take() == "This is a sentence. " * 6


def test_a_mark_at_the_end_of_a_part_of_a_piece_decides_nothing() -> None:
    text = IncomingText(max_chars=200)
    text.add("It costs 3.", goes_on=True)
    text.add("50 in the U.", goes_on=True)
    text.add("S. today.")

    assert text.take() == "It costs 3.50 in the U.S. today."


@given(st.text(alphabet="aB .!?Dr[]()<3„。と\n", max_size=60))
def test_letter_by_letter_is_judged_as_at_once(words: str) -> None:
    """What has been judged once need not be judged again."""
    text, again = IncomingText(max_chars=200), IncomingText(max_chars=200)
    for letter in words:
        text.add(letter)
        again._settled = 0  # noqa: SLF001 - as if nothing had been judged, which nobody else wants
        again.add(letter)

    assert text.take() == again.take()
