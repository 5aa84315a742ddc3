from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.tags import (
    MAX_TAG_CHARS,
    find_leading_controls,
    find_tags,
    remove_tags,
    select_styles,
    style_tag,
)

TAGGED = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "(",
            ")",
            "happy",
            "a",
            "Bob said",
            " ",
            "\n",
            ".",
            "[sad]",
            "(sighing)",
            "你好",
            "x" * 200,
        ]
    ),
    max_size=14,
).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[whispering] Come here.", "Come here."),
        ("That is funny [laughing] really.", "That is funny really."),
        ("Well [sigh]. Fine [pause], go [very quietly]!", "Well. Fine, go!"),
        ("Stop.[sigh]Go.", "Stop. Go."),
        ("[a][b] [c] Go [d] [e] on [f]", "Go on"),
        ("One.\n\n[sad]\n\nTwo.", "One.\n\n\n\nTwo."),
        ("你好[笑]世界", "你好世界"),
        ("(happy) Good morning! (break) And (LAUGHING) again.", "Good morning! And again."),
        ("(In a  hurry tone) Run!", "Run!"),
        ("The cat (a tabby) sat.", "The cat (a tabby) sat."),
        ("(softly, like a mother: don't shout) Sleep now.", "Sleep now."),
        ("(angry)(to himself) [sigh] (slowly) No.", "No."),
        ("(mit ruhiger Stimme) Guten Abend.", "Guten Abend."),
        ("(1) Milk and (a) eggs", "(1) Milk and (a) eggs"),
        ("(a) First", "(a) First"),
        ("(iv) Fourth", "(iv) Fourth"),
        ("(Really? Yes.) He came.", "(Really? Yes.) He came."),
        ("(Hello there)", "(Hello there)"),
        ("(2024 report) It rained.", "(2024 report) It rained."),
        ("An [open bracket", "An [open bracket"),
        ("(open and closed] x", "(open and closed] x"),
        ("[two\nlines] x", "[two\nlines] x"),
        ("[" + "x" * 301 + "]", "[" + "x" * 301 + "]"),
        ("[" + "x" * 300 + "] y", "y"),
        ("no tags,  kept as it is ", "no tags,  kept as it is "),
    ],
)
def test_tags_are_removed_and_text_stays(text: str, expected: str) -> None:
    assert remove_tags(text) == expected


@given(TAGGED)
def test_removing_only_removes(text: str) -> None:
    rest = iter("".join(text.split()))
    assert all(character in rest for character in "".join(remove_tags(text).split()))


@given(TAGGED)
def test_spans_are_ordered_and_bracketed(text: str) -> None:
    spans = sorted({*find_tags(text), *find_leading_controls(text)})
    assert all(text[start] + text[end - 1] in {"[]", "()"} for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ("Speak in a warm tone", "[Speak in a warm tone]"),
        (" very\n\nslow  [and] low\t", "[very slow and low]"),
        ("[whispering]", "[whispering]"),
        ("", ""),
        ("[]", ""),
        (" \n ... ", ""),
        ("ruhig\u200b\x00 und langsam", "[ruhig und langsam]"),
    ],
)
def test_instructions_become_one_tag(instructions: str, expected: str) -> None:
    assert style_tag(instructions) == expected


def test_long_instructions_are_cut_at_a_word() -> None:
    tag = style_tag("speak slowly, " * 50)
    assert MAX_TAG_CHARS - 16 < len(tag) <= MAX_TAG_CHARS
    assert tag.endswith(("speak slowly]", "speak]"))


@given(st.text(max_size=700))
def test_a_style_tag_is_exactly_one_tag(instructions: str) -> None:
    tag = style_tag(instructions)
    assert tag == "" or find_tags(tag) == [(0, len(tag))]
    assert len(tag) <= MAX_TAG_CHARS
    assert remove_tags(tag) == ""


def test_events_are_no_style() -> None:
    assert select_styles("[whispering] [sighs][long pause] (sad)") == "[whispering] (sad)"
