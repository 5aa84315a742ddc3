import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.cleaning.cleaning import Cleaning
from fishs2.text.cleaning.links import find_link_marks
from fishs2.text.edits import Edit, apply_edits
from fishs2.text.sourced import Sourced, cut_source
from fishs2.text.splitting.split import split_text


def read(text: str) -> str:
    return apply_edits(text, [Edit(start, end, "") for start, end in find_link_marks(text)])


def clean(text: str, cleaning: Cleaning | None = None) -> str:
    return (cleaning or Cleaning()).clean(Sourced.of(text)).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See [docs](https://a.example/x) now.", "See docs now."),
        ("See [docs](a.md 'A (good) title'), or [more]( <b c> ).", "See docs, or more."),
        ("![A cat](cat.png) [![logo](l.png)](https://a.example)", "A cat logo"),
        ("[a [b] c](u) [wiki](https://w.example/A_(b)_(c))", "a [b] c wiki"),
        ("[docs](https://a.example/my file.md) (now)", "docs (now)"),
        ("[two\nlines](x) and [](y) none", "two\nlines and  none"),
        ("<https://a.example/b> <mailto:me@a.example> <me@a.example>",
         "https://a.example/b mailto:me@a.example me@a.example"),
        ("[docs][1], [Home][] and [home].\n\n[1]: https://a.example 'T'\n[HOME]: <b c>\n",
         "docs, Home and home.\n\n"),
    ],
)  # fmt: skip
def test_links_keep_their_words(text: str, expected: str) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[laugh] (softly) Hello",
        "[excited][laughing] Hello",
        "[John] went home [sic].",
        "[Tom]: hello there",
        "[Tom]: yes.",
        "an array[0] and f(x), a < b > c",
        r"\[not a link](x)",
        "[no](two words)",
        "[open](https://a.example",
    ],
)
def test_what_is_no_link_stays(text: str) -> None:
    assert read(text) == text


@given(
    st.lists(
        st.sampled_from(
            ["[", "]", "(", ")", "](", "][", "!", "<", ">", "a:", "b ", "\n", "\\", '"']
        )
    ).map("".join)
)
def test_marks_are_in_order_and_never_overlap(text: str) -> None:
    marks = find_link_marks(text)
    places = [place for mark in marks for place in mark]
    assert places == sorted(places)
    assert all(start < end for start, end in marks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[John] went home [sic].", "[John] went home [sic]."),
        ("[whisper in small voice] Come here.", "Come here."),
        ("[laughing] Ha. (happy) So [pause] it is [his voice] I heard.",
         "Ha. So it is [his voice] I heard."),
        ("(in a soft voice) Hello.", "Hello."),
        ("(Really good weather) today.", "(Really good weather) today."),
        ("See [docs](https://a.example/x) now.", "See docs now."),
        ("[pause:1.5s] Well.", "Well."),
        ("[laughing]", ""),
        ("* * *\n\n=====", ""),
    ],
)  # fmt: skip
def test_directions_are_left_out_and_nothing_else(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_an_engine_with_tags_gets_all_of_them() -> None:
    text = "[as a pirate] See [docs](https://a.example/x) now. [sic]"
    assert clean(text, Cleaning(speaks_tags=True)) == "[as a pirate] See docs now. [sic]"
    assert clean("[as a pirate]", Cleaning(speaks_tags=True)) == ""


MARKS = st.lists(
    st.sampled_from(
        ["[", "]", "(", ")", "[a](b)", "[laugh]", "(happy)", " ", "a", "\n", "***", "😀", "<a@b>"]
    )
).map("".join)


@given(MARKS, st.booleans())
def test_what_is_clean_stays(text: str, speaks_tags: bool) -> None:
    cleaning = Cleaning(speaks_tags=speaks_tags, emoji="skip")
    assert clean(clean(text, cleaning), cleaning) == clean(text, cleaning)


@given(st.text(max_size=60), st.booleans())
def test_cleaning_adds_nothing_but_spaces(text: str, speaks_tags: bool) -> None:
    cleaning = Cleaning(speaks_tags=speaks_tags, emoji="skip")
    # NFC, and what a Windows-1252 byte stood for.
    assert len("".join(clean(text, cleaning).split())) <= 3 * len(text)


@pytest.mark.parametrize(
    "piece",
    [
        *("[a](", "[a](x", "[a]: b\n", "[a][b", "[", "]", "<a@", "![", "[a](x '", "\\["),
        *("[whisper] ", "(happy)", "(a)(b)", "* * *\n", "= ", "hi.Then", "a!b", "x.Y'", "1.The"),
        *("😀 ", "\ud800", "“", "a\n", "!?"),
    ],
)
@pytest.mark.parametrize("speaks_tags", [False, True])
def test_cleaning_and_splitting_take_time_linear_in_the_text(piece: str, speaks_tags: bool) -> None:
    # Quadratic time would take hours, and the test has a limit.
    text = (piece * 100_000)[:100_000]
    cleaning = Cleaning(speaks_tags=speaks_tags, emoji="skip")
    pieces = split_text(cleaning.clean(Sourced.of(text)), max_chars=400, has_tags=speaks_tags)
    parts = cut_source(text, [each.text for each in pieces] or [Sourced.of("")])
    assert "".join(parts) == text
