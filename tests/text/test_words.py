"""Words of many scripts, and about how long they last."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.words import count_syllables, find_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, my friend!", ["Hello", "my", "friend"]),
        ("isn't well-known: “it’s”", ["isn't", "well-known", "it’s"]),
        ("3.14 or 1,000 at 8:30.", ["3.14", "or", "1,000", "at", "8:30"]),
        ("L'homme d’aujourd'hui", ["L'homme", "d’aujourd'hui"]),
        ("你好，世界", ["你", "好", "世", "界"]),
        ("がっこう", ["が", "っ", "こ", "う"]),
        ("Der Zug fährt", ["Der", "Zug", "fährt"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया"]),
        ("สวัสดี ชาวโลก", ["สวัสดี", "ชาวโลก"]),
        ("안녕 세상", ["안녕", "세상"]),
        ("Привет, мир", ["Привет", "мир"]),
        ("", []),
        ("... — !", []),
    ],
)
def test_words_are_what_a_reader_points_at(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in find_words(text)] == words


@given(st.text())
def test_words_are_in_order_and_every_letter_is_in_one(text: str) -> None:
    spans = list(find_words(text))
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    inside = {place for start, end in spans for place in range(start, end)}
    assert all(place in inside for place, char in enumerate(text) if char.isalnum())


@pytest.mark.parametrize(("word", "number"), [("a", 1), ("banana", 3), ("25", 3), ("שלום", 2)])
def test_syllables_are_counted(word: str, number: int) -> None:
    assert count_syllables(word) == number
