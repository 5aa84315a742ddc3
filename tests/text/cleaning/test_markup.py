"""What programs leave in a text is found, and nothing that people write."""

import pytest

from fishs2.text.cleaning.markup import find_entities, find_html, find_literal_breaks, find_thoughts
from fishs2.text.edits import apply_edits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fish &amp; chips &#39;n&#x27; peas", "Fish & chips 'n' peas"),
        ("&lt;b&gt; caf&eacute;&nbsp;&euro;5", "<b> café\u00a0€5"),
        ("AT&T; R&D &nosuch; &copy 5 &", "AT&T; R&D &nosuch; &copy 5 &"),
    ],
)
def test_characters_are_read_by_their_names(text: str, expected: str) -> None:
    assert apply_edits(text, find_entities(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>Hm.\nWell.</think>Hello.", "Hello."),
        ("The user wants...</think>\nHello.", "\nHello."),
        ("One <THINKING>never closed", "One "),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("I think so. <thinker>", "I think so. <thinker>"),
    ],
)
def test_thoughts_of_a_model_are_left_out(text: str, expected: str) -> None:
    assert apply_edits(text, find_thoughts(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"One.\nTwo\n\nthree", "One.\nTwo\n\nthree"),
        (r"a:\n- b\r\n- c\n", "a:\n- b\n- c\n"),
        (r"in C:\temp\new or \name", r"in C:\temp\new or \name"),
    ],
)
def test_line_breaks_that_were_never_unpacked_are_ones(text: str, expected: str) -> None:
    assert apply_edits(text, find_literal_breaks(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>One <b>two</b></p><p>three<br/>four</p>", "\n\nOne two\n\n\n\nthree\nfour\n\n"),
        ("a < b and c > d, I <3 you", "a < b and c > d, I <3 you"),
        ("<John> said <i>hi</i>", "<John> said hi"),
        ("<script>if (a<b) x()</script>ok<!-- <b> -->!", "ok!"),
        ("<ruby>漢<rt>かん</rt></ruby>", "漢"),
        ("x <script> never <b>closed</b>", "x <script> never <b>closed</b>"),
        ("<|speaker:0|>Hi", "<|speaker:0|>Hi"),
        ("<a href='x>y' title=\"<\">t</a>", "<a href='x>y' title=\"<\">t"),
        ("<svg><g><path d='M0'/></g></svg>z", "z"),
        ("1 <span\nclass=x>2</span>", "1 2"),
        ("<!DOCTYPE html><title>T</title><em>B</em>", "B"),
        ("<!-- open <b>x</b>", "<!-- open x"),
        ("<", "<"),
    ],
)
def test_tags_are_left_out(text: str, expected: str) -> None:
    assert apply_edits(text, find_html(text)) == expected


@pytest.mark.parametrize(
    "piece",
    ["<", "<p>", "<script>", "<!--", "</p", "<a ", "<a b='", "<!", "<think>", "&", "\\n", "&#"],
)
def test_looking_takes_time_linear_in_the_text(piece: str) -> None:
    # Quadratic time would take hours, and the test has a limit.
    text = (piece * 100_000)[:100_000]
    for find in (find_entities, find_thoughts, find_literal_breaks, find_html):
        list(find(text))
