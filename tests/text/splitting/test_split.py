import re
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fishs2.text.graphemes import is_grapheme_border
from fishs2.text.normalize import has_speech, normalize_text
from fishs2.text.sourced import Sourced
from fishs2.text.splitting import split as splitting
from fishs2.text.splitting.breaks import is_scene_break
from fishs2.text.tags import find_tags

WORDS = st.sampled_from(
    [
        *(
            "Hello",
            "world",
            "Dr.",
            "No.",
            "5.",
            "3.14",
            "e.g.",
            "she",
            "end.",
            "Why?",
            "no!",
            "well…",
        ),
        *(
            '"Yes!"',
            "«Oui",
            "!»",
            "(so)",
            "(softly)",
            "(1)",
            "one,",
            "two;",
            "—",
            "–",
            "***",
            "...",
            "don’t",
        ),
        *(
            "你好。",
            "真的吗？",
            "「はい」",
            "と言った",
            "キャラメル",
            "مرحبا،",
            "نعم؟",
            "नमस्ते।",
            "क्षमा",
            "สวัสดีครับ",
            "한국어.",
        ),
        *(
            "👨\u200d👩\u200d👧",
            "🇩🇪🇫🇷",
            "e\u0301\u0302\u0303",
            "x" * 45,
            "好" * 45,
            "Τι;",
            "🙂",
            "U.S.",
            "\u1112\u1161\u11ab" * 9,
        ),
        *("[whispering]", "[sad]", "[long pause]", "[unclosed", "closed]"),
    ]
)
SEPARATORS = st.sampled_from([" ", " ", " ", " ", "", "\n", "\n\n"])
MIXED = st.lists(st.tuples(WORDS, SEPARATORS), max_size=60).map(
    lambda pairs: normalize_text("".join(word + space for word, space in pairs))
)
UNTAGGED = MIXED.map(lambda text: re.sub(r"[\[\]()]", "", text))
LIMITS = st.integers(min_value=20, max_value=120)

STORY = (
    "The old lighthouse had been dark for eleven years. Nobody in the village spoke of it. Then, "
    "on a Tuesday in March, the lamp was lit again, and Mrs. Calloway dropped her basket in the "
    'middle of the road. "Who did that?" she whispered. No one answered. The gulls went on crying.'
    "\n\n"
    "By evening the whole of Harbour Street knew; by morning, so did the mainland.\n\n"
)

FIRST = "What is said first is heard first, so it should be no longer than it has to. "


class UtteranceText(NamedTuple):
    """An utterance without its places."""

    text: str
    boundary: str


def split_text(text: str, **options: Any) -> list[UtteranceText]:
    return [
        UtteranceText(each.text.text, each.boundary)
        for each in splitting.split_text(Sourced.of(text), **options)
    ]


def split(text: str, max_chars: int) -> list[str]:
    return [utterance.text for utterance in split_text(text, max_chars=max_chars)]


def visible(text: str) -> str:
    return "".join(text.split())


def test_a_story_is_packed_by_sentences_and_paragraphs() -> None:
    assert split_text(normalize_text(STORY), max_chars=180) == [
        UtteranceText(
            "The old lighthouse had been dark for eleven years. Nobody in the village spoke of it.",
            "sentence",
        ),
        UtteranceText(
            "Then, on a Tuesday in March, the lamp was lit again, and Mrs. Calloway dropped her "
            'basket in the middle of the road. "Who did that?" she whispered. No one answered.',
            "sentence",
        ),
        UtteranceText("The gulls went on crying.", "paragraph"),
        UtteranceText(
            "By evening the whole of Harbour Street knew; by morning, so did the mainland.",
            "paragraph",
        ),
    ]


def test_text_without_characters_has_no_utterance() -> None:
    assert split_text("", max_chars=100) == []
    assert split_text(" \n\n ", max_chars=100) == []


def test_very_short_sentences_share_an_utterance() -> None:
    assert split("Yes. No. Oh. Well. Go. Now!", 200) == ["Yes. No. Oh. Well. Go. Now!"]


def test_a_very_short_last_sentence_joins_the_utterance_before() -> None:
    long = "This sentence is of a quite ordinary length for a book. "
    assert split(FIRST + long * 3 + "He nodded.", 300)[1:] == [long * 3 + "He nodded."]


def test_the_first_sentence_is_spoken_alone_unless_it_is_very_short() -> None:
    text = FIRST + "Another one follows that. And one more after it. And so on and on and on."
    short = "Yes. " + text
    assert split(text, 300)[0] == FIRST.strip()
    assert split(short, 300)[0] == "Yes. " + FIRST.strip()


def test_list_lines_keep_their_line_breaks() -> None:
    assert split("Milk\nEggs\nBread", 100) == ["Milk\nEggs\nBread"]


def test_a_long_sentence_is_cut_evenly_at_clauses() -> None:
    clauses = [f"and the {number} travellers went on walking" for number in "abcdefghij"]
    utterances = split_text(", ".join(clauses) + ".", max_chars=150)
    sizes = [len(utterance.text) for utterance in utterances]
    assert [utterance.boundary for utterance in utterances[:-1]] == ["clause"] * (len(sizes) - 1)
    assert max(sizes) - min(sizes) < 50


def test_a_semicolon_is_a_better_border_than_a_comma() -> None:
    text = "The rain, which fell all day, did not stop; the river, which was high, rose further."
    assert split(text, 60)[0] == "The rain, which fell all day, did not stop;"


def test_a_word_without_end_is_cut_between_graphemes() -> None:
    pieces = split("👨\u200d👩\u200d👧" * 200, 32)
    assert {len(piece) for piece in pieces} <= {25, 30}
    assert all(piece == "👨\u200d👩\u200d👧" * (len(piece) // 5) for piece in pieces)


def test_thai_is_cut_at_its_spaces() -> None:
    utterances = split_text("สวัสดีครับผมชื่อสมชาย " * 10, max_chars=60)
    assert {utterance.boundary for utterance in utterances[:-1]} == {"clause"}


def test_the_style_is_repeated_where_a_sentence_is_cut() -> None:
    text = "[whispering] " + "they crept along the wall, " * 6 + "and out. Then it was quiet again."
    pieces = split(text, 80)
    assert len(pieces) > 2
    assert all(piece.startswith("[whispering] ") for piece in pieces[:-1])
    assert pieces[-1].endswith("Then it was quiet again.")


def test_the_style_in_force_is_the_latest() -> None:
    text = "[sad] one two three four, [angry] five six seven eight nine ten, eleven twelve."
    assert split(text, 44) == [
        "[sad] one two three four,",
        "[angry] five six seven eight nine ten,",
        "[angry] eleven twelve.",
    ]


def test_an_event_is_not_repeated() -> None:
    pieces = split("[sighs] " + "it had been a very long day, " * 6, 60)
    assert sum("[sighs]" in piece for piece in pieces) == 1


def test_a_style_is_not_repeated_for_the_next_sentence() -> None:
    text = "[sad] " + "This is one whole sentence, is it not? " * 4
    assert sum("[sad]" in piece for piece in split(text, 80)) == 1


@pytest.mark.parametrize("control", ["(softly, like a mother)", "(happy)", "[low, slow. Calm]"])
def test_a_direction_is_never_cut(control: str) -> None:
    pieces = split(
        f"{control} The night was warm, the window stood wide open, and no one spoke.", 60
    )
    assert all(piece.startswith(f"{control} ") for piece in pieces)
    assert len(pieces) > 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One day.\n\n“”\n\nNext day.", ["One day. “”", "Next day."]),
        ("?!\n\nHello.", ["?! Hello."]),
        ("Well. … — So.", ["Well. … — So."]),
        ("[sad]\n\nHello there.\n\n[calm]", ["[sad] Hello there. [calm]"]),
        ("One.\n\n[sad]\n\n***\n\nTwo.", ["One.", "[sad] Two."]),
        ("(softly)\n\nHello.", ["(softly) Hello."]),
        ("?!", ["?!"]),
    ],
)
def test_what_is_silent_joins_its_neighbour(text: str, expected: list[str]) -> None:
    assert split(text, 100) == expected


def without_breaks(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not is_scene_break(line))


def test_a_break_between_scenes_is_a_pause_and_no_words() -> None:
    text = "One.\n\n* * *\n\nTwo.\n---\nThree\n\n***\n\n###\n\nfour.\n\n⁂"

    assert split_text(text, max_chars=100) == [
        UtteranceText("One.", "scene"),
        UtteranceText("Two.", "scene"),
        UtteranceText("Three", "scene"),
        UtteranceText("four.", "paragraph"),
    ]
    assert split_text("* * *\n\n=====", max_chars=100) == []


def test_sentences_that_meet_without_a_space_are_read_as_two() -> None:
    text = "It was a long and quiet evening by the sea, as ever. He said hi.Then left."
    assert split(text, 100)[-1].endswith("He said hi. Then left.")
    assert split("他说：“好。”然后走了。", 100) == ["他说：“好。”然后走了。"]


def test_brackets_are_text_where_there_are_no_tags() -> None:
    text = "[A note of the editor. It is long enough to be cut.] And then, [John] left the house."
    pieces = [each.text for each in split_text(text, max_chars=40, has_tags=False)]
    assert " ".join(pieces) == text
    assert pieces[0] == "[A note of the editor."


@given(UNTAGGED, LIMITS)
def test_nothing_is_lost_added_or_moved(text: str, max_chars: int) -> None:
    assert visible("".join(split(text, max_chars))) == visible(without_breaks(text))


@given(MIXED, LIMITS)
def test_only_tags_are_added(text: str, max_chars: int) -> None:
    # A tag that fills more than half an utterance is text, and may be cut.
    assume(max_chars >= 30 and "[unclosed" not in text)

    def untagged(piece: str) -> str:
        return visible(re.sub(r"\[[^\[\]]*\]|\([a-z]+\)", "", piece))

    pieces = split(text, max_chars)
    assert "".join(map(untagged, pieces)) == untagged(" ".join(pieces))
    assert untagged(" ".join(pieces)) == untagged(without_breaks(text))


@given(MIXED, LIMITS)
def test_no_utterance_is_too_long_or_empty(text: str, max_chars: int) -> None:
    assert all(0 < len(piece) <= max_chars for piece in split(text, max_chars))


@given(MIXED, LIMITS)
def test_every_tag_stays_whole(text: str, max_chars: int) -> None:
    assume(max_chars >= 40)
    whole = {text[start:end] for start, end in find_tags(text) if end - start <= 20}
    pieces = split(text, max_chars)
    num_whole = sum(piece.count(tag) for piece in pieces for tag in whole)
    assert num_whole >= sum(text.count(tag) for tag in whole)


@given(MIXED, LIMITS)
def test_no_cut_breaks_a_character(text: str, max_chars: int) -> None:
    for before, after in pairwise(split(text, max_chars)):
        assert is_grapheme_border(before[-4:] + after, len(before[-4:]))


@given(MIXED, LIMITS)
@example("Hello Hello\n... Hello", 20)
def test_splitting_an_utterance_again_keeps_it_whole(text: str, max_chars: int) -> None:
    for piece in split(text, max_chars):
        again = " ".join(split(piece, max_chars))
        # A line "..." that ends an utterance is a break between scenes where nothing follows it.
        assert visible(again) == visible(without_breaks(piece))


@pytest.mark.parametrize("max_chars", [60, 100, 200, 400])
def test_an_utterance_of_prose_splits_into_itself(max_chars: int) -> None:
    first, *others = split(normalize_text(STORY * 3), max_chars)
    assert split(first, max_chars) == [first]
    for piece in others:
        assert split(FIRST + "\n\n" + piece, max_chars)[-1] == piece


@given(MIXED, st.integers(min_value=200, max_value=400))
def test_every_utterance_says_something(text: str, max_chars: int) -> None:
    assume(has_speech(re.sub(r"\[[^\[\]]*\]", "", text)))
    assert all(has_speech(piece) for piece in split(text, max_chars))


@given(MIXED, LIMITS)
def test_the_last_utterance_ends_a_paragraph(text: str, max_chars: int) -> None:
    utterances = split_text(text, max_chars=max_chars)
    assert [utterance.boundary for utterance in utterances][-1:] in ([], ["paragraph"])


@pytest.mark.parametrize(
    "unit",
    [
        *(
            STORY,
            "a",
            "a ",
            "a, ",
            "No. ",
            "! ",
            ".",
            "…",
            "、",
            "—",
            "[sad] ",
            "[",
            "(",
            '"',
            ")",
            "\n",
            "***\n\n",
        ),
        *("🇩🇪", "e\u0301", "\u0301", "好", "好。", "สวัสดี ", "[sad]好", "(softly) ", '"Hi!" '),
    ],
)
def test_large_texts_take_linear_time(unit: str) -> None:
    # A quadratic step would run into the time limit of the test run, not merely take longer.
    text = unit * (100_000 // len(unit))
    assert max(map(len, split(text, 300)), default=0) <= 300
