import pytest

from fishs2.text.graphemes import find_grapheme_border, is_grapheme_border


@pytest.mark.parametrize(
    ("text", "borders"),
    [
        ("ab", [1]),
        ("e\u0301x", [2]),
        ("👨\u200d👩\u200d👧a", [5]),
        ("👍🏽👍", [2]),
        ("🇩🇪🇫🇷🇪🇸", [2, 4]),
        ("\u1112\u1161\u11ab\u1100", [3]),
        ("한글", [1]),
        ("क्षमा", [3]),
        ("เด็ก", [3]),
        ("キャンプ", [2, 3]),
        ("\ud83d\ude00a", [2]),
    ],
)
def test_borders_are_where_a_reader_sees_them(text: str, borders: list[int]) -> None:
    assert [p for p in range(1, len(text)) if is_grapheme_border(text, p)] == borders


def test_the_last_border_that_fits_is_found() -> None:
    assert find_grapheme_border("ab e\u0301\u0301\u0301", 5) == 3


def test_a_character_longer_than_the_room_is_cut() -> None:
    assert find_grapheme_border("e" + "\u0301" * 50, 20) == 20
