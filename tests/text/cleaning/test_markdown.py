"""Markdown is read without its marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.cleaning.markdown import find_markdown
from fishs2.text.edits import apply_edits


def read(text: str) -> str:
    return apply_edits(text, find_markdown(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A *head*\n\nText.", "A head\n\nText."),
        ("Head\n====\nText", "Head\n\nText"),
        ("## Closed ##\nText", "Closed\n\nText"),
        ("**bold**, *em*, ***both***, ~~gone~~", "bold, em, both, gone"),
        ("snake_case and 2*3*4 and 5 * 6", "snake_case and 2*3*4 and 5 * 6"),
        (r"\*not\* em \# &amp; `a*b*c`", "*not* em # &amp; a*b*c"),
        ("* Tea\n* Cake!\n* **Jam**", "Tea.\nCake!\nJam."),
        ("1. Tea\n2. Cake", "1. Tea.\n2. Cake."),
        ("Buy:\n\n- tea\n  - green\n  - black\n- cake", "Buy:\n\ntea.\ngreen.\nblack.\ncake."),
        ("- One\n\n  More of one\n- Two", "One\nMore of one.\nTwo."),
        ("- [x] Done\n- [ ] Open", "Done.\nOpen."),
        ("> A quote\n> goes on\n\nText", "A quote\ngoes on\n\nText"),
        ("|Name|Age|\n|---|---|\n|Ann|30|\n|Bob||", "Name: Ann, Age: 30.\nName: Bob."),
        ("|a|b|\n|-|-|\n|x \\| y|**z**|", "a: x | y, b: z."),
        ("Run:\n\n```sh\nrm -rf /\n```\n\nDone.", "Run:\n\nDone."),
        ("One.\n\n---\n\nTwo.", "One.\n\n---\n\nTwo."),
        ("Proved[^1].\n\n[^1]: By Ann.", "Proved.\n\nBy Ann."),
        ("    Indented prose.\n\n\tAnd more.", "Indented prose.\n\nAnd more."),
        ("one  \ntwo\nthree", "one\ntwo\nthree"),
        ("a\r\n\r\nb\rc", "a\n\nb\rc"),
        ("[as a pirate] See [docs](x).", "[as a pirate] See [docs](x)."),
        ("2026. A good year", "2026. A good year."),
        ("plain text, nothing else", "plain text, nothing else"),
        ("", ""),
        ("#", ""),
    ],
)
def test_marks_are_left_out(text: str, expected: str) -> None:
    assert read(text) == expected


@given(st.text(alphabet="ab12 \n\t*_#>|-`~.[]()\\&;+=:\r\x00", max_size=80))
def test_edits_are_in_order_and_letters_stay(text: str) -> None:
    edits = find_markdown(text)

    done = 0
    for start, end, _ in edits:
        assert done <= start <= end <= len(text)
        done = end


@pytest.mark.parametrize(
    "piece", ["*", "_a*", "[ ]", "> ", "- ", "|a", "`", "# ", "1. ", "  * ", "~~"]
)
def test_reading_takes_time_linear_in_the_text(piece: str) -> None:
    # Quadratic time would take hours, and the test has a limit.
    read((piece * 50_000)[:50_000])
