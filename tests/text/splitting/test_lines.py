import pytest

from fishs2.text.splitting.lines import split_paragraphs

WRAPPED = (
    "It was the kind of evening on which nobody in the house\n"
    "wanted to speak first, and so the old clock in the hall\n"
    "Martha had wound that morning spoke for all of them.\n"
)
LONG_LINE = "A line that somebody typed without ever breaking it, " * 3


def test_a_blank_line_ends_a_paragraph() -> None:
    assert split_paragraphs("One.\n\nTwo.\n \n\nThree.") == ["One.", "Two.", "Three."]


def test_lines_of_a_wrapped_block_are_joined() -> None:
    assert split_paragraphs(WRAPPED) == [" ".join(WRAPPED.split())]


def test_a_short_line_in_wrapped_prose_ends_a_paragraph() -> None:
    first, second = split_paragraphs(WRAPPED + "The end.\n" + WRAPPED)
    assert first.endswith("of them. The end.")
    assert second.startswith("It was")


@pytest.mark.parametrize(
    "text",
    [
        "Milk\nEggs and cheese\nBread",
        "- a loaf of bread from the shop\n- a bottle of milk from the farm",
        "1. Preheat the oven to two hundred degrees, please\n2. mix",
        "Red is the rose by yonder garden wall\nGreen is the ivy, and the elm is tall",
        "— Kommst du?\n— nein, heute nicht.",
    ],
)
def test_lists_verse_and_dialogue_keep_their_lines(text: str) -> None:
    assert split_paragraphs(text) == [text]


def test_a_line_that_goes_on_in_lower_case_is_joined() -> None:
    assert split_paragraphs("I was walking down the street\nwhen it rained.") == [
        "I was walking down the street when it rained."
    ]


def test_lines_too_long_for_a_page_are_paragraphs() -> None:
    text = f"Chapter One\n{LONG_LINE}\nShort."
    assert split_paragraphs(text) == ["Chapter One", LONG_LINE.strip(), "Short."]


def test_chinese_lines_join_without_a_space() -> None:
    line = "从前有一座很高的山山上有一座很老的庙庙里住着一个老和尚"
    assert split_paragraphs(f"{line}\n{line}\n他") == [line + line + "他"]


def test_only_white_space_gives_no_paragraph() -> None:
    assert split_paragraphs(" \n\n ") == []
