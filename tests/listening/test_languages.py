"""The languages that can be heard."""

import pytest

from fishs2.listening.languages import LANGUAGES, find_language


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("English", "english"[:2]),
        (" DE-AT ", "de"),
        ("pt_BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("nb", "no"),
        ("haitian creole", "ht"),
        ("yue", "yue"),
        ("tlh", None),
        ("", None),
    ],
)
def test_tags_and_names_lead_to_a_code(given: str, code: str | None) -> None:
    assert find_language(given) == code


def test_there_are_the_hundred_that_whisper_knows() -> None:
    assert len(LANGUAGES) == 100
    assert all(name == name.strip().lower() for name in LANGUAGES.values())
