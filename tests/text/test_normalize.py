import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fishs2.text.normalize import has_speech, normalize_text

ANY_CHARACTER = st.characters(exclude_categories=())
AWKWARD = st.sampled_from(
    " \t\n\r\u2028\u2029\u00a0\u3000\u200b\u200c\u200d\u202e\ufeff\u0301e\u0915\u093c\u094d\ud800"
    "\U0001f468[]'’\ue000\ufffe\x00\x92\x85\u180e\u1820\u1100\u1161\u2329\u0338\u2192"
)
AWKWARD_TEXT = st.text(st.one_of(ANY_CHARACTER, AWKWARD), max_size=60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two  spaces\tand\u00a0three\u2009\u3000more", "two spaces and three more"),
        ("  at both ends \n", "at both ends"),
        ("one \n two\r\nthree\rfour\u2028five", "one\ntwo\nthree\nfour\nfive"),
        ("one\n \n\t\n\ntwo\u2029three", "one\n\ntwo\n\nthree"),
        ("don't, don’t, o‘clock, l'été", "don't, don’t, o‘clock, l'été"),
        ("don\x92t say \x93no\x94 \x96 ever\x85", "don’t say “no” – ever…"),
        ("e\u0301te\u0301", "été"),
        ("e\u200b\u0301", "é"),
        (
            "soft\u00adhyphen, zero\u200bwidth, \ufeffmark, wo\u2060rd",
            "softhyphen, zerowidth, mark, word",
        ),
        ("\u202eabc\u202c \u200fשלום\u200e \u2067x\u2069", "abc שלום x"),
        ("a\x00b\x07c\x1b\x7f", "abc"),
        ("icon\ue123here\U00100000", "icon here"),
        ("lone \ud83d half", "lone half"),
        ("non\uffff\ufdd0\U0001fffecharacter", "noncharacter"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क\u094d\u200dष", "क\u094d\u200dष"),
        (
            "👨\u200d👩\u200d👧 and 🏳️\u200d🌈 and ❤️\u200d🔥",
            "👨\u200d👩\u200d👧 and 🏳️\u200d🌈 and ❤️\u200d🔥",
        ),
        ("Auf\u200clage fi\u200dnd", "Auflage find"),
        (
            "[whispering  softly] (happy) <|speaker:0|> ***",
            "[whispering softly] (happy) <|speaker:0|> ***",
        ),
        ("", ""),
    ],
)
def test_text_is_normalized(text: str, expected: str) -> None:
    assert normalize_text(text) == expected


@given(AWKWARD_TEXT)
def test_normalizing_twice_changes_nothing(text: str) -> None:
    once = normalize_text(text)
    assert normalize_text(once) == once


@given(AWKWARD_TEXT)
def test_normalized_text_holds_nothing_an_engine_must_not_see(text: str) -> None:
    normalized = normalize_text(text)
    categories = {unicodedata.category(c) for c in normalized if c != "\n"}
    assert not categories & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert "  " not in normalized
    assert "\n\n\n" not in normalized
    assert unicodedata.is_normalized("NFC", normalized)


@given(st.text(st.characters(categories=("L", "N", "P", "Sm", "Sc")), max_size=60))
def test_letters_digits_and_punctuation_all_stay(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c for c in composed if c not in "\u3164\uffa0")
    assert normalize_text(text).replace(" ", "") == kept


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "7",
        "你",
        "ꙮ",
        "नमस्ते",
        "½",
        "%",
        "&",
        "+",
        "€",
        "= ?",
        "🙂",
        "👍🏽",
        "❤️",
        "🇩🇪",
        "[sigh]",
    ],
)
def test_what_is_read_aloud_is_speech(text: str) -> None:
    assert has_speech(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "...",
        "…",
        "!!!",
        "—",
        "***",
        "* * *",
        "=====",
        "~~~",
        "___",
        "#",
        "─────",
        "★ ☆ ★",
        "“”",
        "。",
        "❧",
        "\u3164",
    ],
)
def test_what_is_silent_is_no_speech(text: str) -> None:
    assert not has_speech(text)
