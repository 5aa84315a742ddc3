"""Lexicons as files of three kinds."""

import pytest

from fishs2.errors import UserError
from fishs2.text.pronunciation.formats import (
    read_csv,
    read_json,
    read_pls,
    write_csv,
    write_json,
    write_pls,
)
from fishs2.text.pronunciation.words import Word

WORDS = [
    Word(word="GIF", say="jif", case="exact"),
    Word(word="Worcester", ipa="ˈwʊstə", say="Wooster, so to say", language="en"),
]
REGEX = Word(regex='v"(\\d)', say="version \\1")

PLS = """<?xml version="1.0" encoding="UTF-8"?>
<lexicon version="1.0" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon"
    alphabet="ipa" xml:lang="en-GB">
  <lexeme><grapheme>Worcester</grapheme><grapheme>Worster</grapheme>
    <phoneme>ˈwʊstə</phoneme><phoneme>other</phoneme></lexeme>
  <lexeme><grapheme>W3C</grapheme><alias>World Wide Web Consortium</alias></lexeme>
</lexicon>"""


def test_what_is_written_is_read() -> None:
    assert read_json(write_json([*WORDS, REGEX])) == [*WORDS, REGEX]
    assert read_csv(write_csv([*WORDS, REGEX])) == [*WORDS, REGEX]
    english = [Word(word="a", say="b", language="en", case="exact")]
    assert read_pls(write_pls(english, language="en")) == english
    assert read_json(b"[]") == []


def test_a_pls_document_is_read() -> None:
    more = {"language": "en-GB", "case": "exact"}

    assert read_pls(PLS.encode()) == [
        Word(word="Worcester", ipa="ˈwʊstə", **more),  # type: ignore[arg-type]
        Word(word="Worster", ipa="ˈwʊstə", **more),  # type: ignore[arg-type]
        Word(word="W3C", say="World Wide Web Consortium", **more),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    "table",
    [
        "GIF,jif\n",
        "word,say\nGIF,jif",
        "GIF\tjif",
        "say;word\r\njif;GIF",
        "\ufeffWord, SAY\nGIF, jif",
    ],
)
def test_tables_of_many_programs_are_read(table: str) -> None:
    assert read_csv(table.encode()) == [Word(word="GIF", say="jif")]


@pytest.mark.parametrize(
    ("read", "content", "reason"),
    [
        (read_json, b"{", "no JSON"),
        (read_json, b"[" * 100_000, "no JSON"),
        (read_json, b"\xff", "no JSON"),
        (read_json, b"{}", 'no list "words"'),
        (read_json, b'{"words": [1]}', "entry 0 is no object"),
        (read_json, b'{"words": [{"word": 1}]}', "entry 0 is no object"),
        (read_json, b'{"words": [{"wrod": "a"}]}', "a field 'wrod'"),
        (read_json, b'{"words": [{"word": "a", "say": "b", "case": "up"}]}', "case is 'up'"),
        (read_csv, b"word,sound\na,b", "a column 'sound'"),
        (read_csv, b"\xff", "UTF-8"),
        (read_pls, b"<lexicon>", "no XML"),
        (read_pls, b"<speak/>", "no <lexicon>"),
        (read_pls, b"<lexicon><lexeme><grapheme>a</grapheme></lexeme></lexicon>", "neither"),
        (read_pls, b'<!DOCTYPE x [<!ENTITY a "b">]><lexicon>&a;</lexicon>', "DTD"),
    ],
)
def test_what_cannot_be_read_says_why(read: object, content: bytes, reason: str) -> None:
    with pytest.raises(UserError) as raised:
        read(content)  # type: ignore[operator]

    assert reason in raised.value.message
    assert raised.value.code == "invalid_lexicon"


def test_pls_has_no_expressions() -> None:
    with pytest.raises(UserError, match="no regular expressions"):
        write_pls([REGEX], language="en")
