"""Figures of `say-as` in words of a language."""

import pytest

from fishs2.text.directing.ssml_figures import Figures, say_figures
from fishs2.text.sourced import Sourced


def said(written: str, kind: str, language: str) -> list[str]:
    figures = [Figures(0, len(written), kind, 0)]
    return [each.say for each in say_figures(Sourced.of(written), figures, [language])]


@pytest.mark.parametrize(
    ("written", "kind", "language", "say"),
    [
        ("3", "ordinal", "en-US", "third"),
        ("21st", "ordinal", "en", "twenty-first"),
        ("3.", "ordinal", "de", "dritte"),
        ("1999", "cardinal", "en", "one thousand nine hundred and ninety-nine"),
        ("1999", "cardinal", "", "1999"),
        ("20-24", "digits", "en", "two zero two four"),
        ("20-24", "digits", "", "2 0 2 4"),
    ],
)
def test_figures_are_said(written: str, kind: str, language: str, say: str) -> None:
    assert said(written, kind, language) == [say]


@pytest.mark.parametrize(
    ("written", "kind", "language"),
    [
        ("third", "ordinal", "en"),
        ("3", "ordinal", ""),
        ("1" * 16, "cardinal", "en"),
        ("x", "digits", "en"),
    ],
)
def test_what_cannot_be_said_so_stays(written: str, kind: str, language: str) -> None:
    assert said(written, kind, language) == []
