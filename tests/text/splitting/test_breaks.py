import pytest

from fishs2.text.splitting.breaks import is_scene_break, split_scenes


@pytest.mark.parametrize(
    "line",
    [
        *("* * *", "***", "*", "---", "- - -", "###", "#", "~~~", "⁂", "* * * * *", "— — —"),
        *("=====", "____", "•••", "◆", "❦", "-=-=-", "~*~", "…", "...", "= = =", "+++", "※"),
        *(" * ", "|---|:--:|", "——"),
        *("[* * *]", "(***)", r"[\*\*\*]", "<hr>", "<HR />", "⚜ ⚜ ⚜", "♥♥♥"),
    ],
)  # fmt: skip
def test_a_line_that_is_drawn_is_a_break(line: str) -> None:
    assert is_scene_break(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "a",
        "* a",
        "1.",
        "+",
        "=",
        "$",
        "?!",
        "???",
        ":-)",
        "(...)",
        "“”",
        "😀",
        "❤️❤️❤️",
        "- 1 -",
        "%",
        "♥",
        "(*)",
        "(-)",
        "[]",
    ],
)
def test_a_line_that_says_something_is_none(line: str) -> None:
    assert not is_scene_break(line)


def test_scenes_are_what_lies_between_breaks() -> None:
    assert split_scenes("***\none\ntwo\n\n---\n***\n\nthree\n#") == ["one\ntwo\n", "\nthree"]
    assert split_scenes("a ***\n*** b") == ["a ***\n*** b"]
    assert split_scenes("***") == [""]
