"""Lexicons as files: our JSON, CSV tables, and PLS, the W3C's Pronunciation Lexicon.

    {"words": [{"word": "GIF", "say": "jif"}]}          word,regex,say,ipa,language,case
                                                        GIF,,jif,,,

PLS has words in one language; of several pronunciations the first counts. Source: PLS 1.0.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any
from xml.etree import ElementTree

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from fishs2.errors import UserError
from fishs2.text.pronunciation.words import Word, check_words

_FIELDS = tuple(each.name for each in fields(Word))
_PLS = "http://www.w3.org/2005/01/pronunciation-lexicon"
_XML_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def read_json(content: bytes) -> list[Word]:
    """The words of a file of ours. Raises UserError `invalid_lexicon`."""
    try:
        read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"it is no JSON: {error}") from None
    entries = read.get("words") if isinstance(read, dict) else read
    if not isinstance(entries, list):
        raise _unreadable('it has no list "words"')
    return _checked([_word(index, entry) for index, entry in enumerate(entries)])


def write_json(words: Sequence[Word]) -> bytes:
    """The words as `read_json` reads them, a line each."""
    lines = ",\n".join("  " + json.dumps(_given(word), ensure_ascii=False) for word in words)
    return f'{{"words": [\n{lines}\n]}}\n'.encode()


def read_csv(content: bytes) -> list[Word]:
    """The words of a table with a head; without one, its columns are word and say.

    Raises UserError `invalid_lexicon`.
    """
    text = _decode(content)
    dialect: Any = "excel-tab" if "\t" in text.partition("\n")[0] else "excel"
    first, _, _ = text.partition("\n")
    if dialect == "excel" and ";" in first and "," not in first:

        class _Semicolons(csv.excel):
            delimiter = ";"

        dialect = _Semicolons
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if any(row)]
    except csv.Error as error:
        raise _unreadable(str(error)) from None
    head = [name.strip().lower() for name in rows[0]] if rows else []
    if not {"word", "regex"} & set(head):
        head = ["word", "say"]
    else:
        rows = rows[1:]
    unknown = [name for name in head if name not in _FIELDS]
    if unknown:
        raise _unreadable(f"it has a column {unknown[0][:40]!r}; known are {', '.join(_FIELDS)}")
    entries = [
        {name: cell.strip() for name, cell in zip(head, row, strict=False) if cell.strip()}
        for row in rows
    ]
    for entry in entries:
        if not {"say", "ipa"} & entry.keys():
            # A cell of a table can be empty, and not absent.
            entry["say"] = ""
    return _checked([_word(index, entry) for index, entry in enumerate(entries)])


def write_csv(words: Sequence[Word]) -> bytes:
    """The words as `read_csv` reads them."""
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, _FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_given(word) for word in words)
    return table.getvalue().encode()


def read_pls(content: bytes) -> list[Word]:
    """The words of a PLS document: `alias` is say, `phoneme` in IPA is ipa.

    Raises UserError `invalid_lexicon`.
    """
    try:
        root = fromstring(content, forbid_dtd=True)
    except ElementTree.ParseError as error:
        raise _unreadable(f"it is no XML: {error}") from None
    except (DefusedXmlException, ValueError):
        raise _unreadable("it has a DTD or entities, which are not read") from None
    if root.tag.removeprefix(f"{{{_PLS}}}") != "lexicon":
        raise _unreadable("its root is no <lexicon>")
    language, alphabet = root.get(_XML_LANGUAGE), root.get("alphabet", "ipa")
    words: list[Word] = []
    for lexeme in _children(root, "lexeme"):
        phonemes = [
            phoneme.text
            for phoneme in _children(lexeme, "phoneme")
            if phoneme.text and phoneme.get("alphabet", alphabet) == "ipa"
        ]
        aliases = [alias.text for alias in _children(lexeme, "alias") if alias.text]
        if not phonemes and not aliases:
            raise _unreadable("a <lexeme> has neither an <alias> nor a <phoneme> in IPA")
        words += [
            Word(
                word=(grapheme.text or "").strip(),
                say=aliases[0].strip() if aliases else None,
                ipa=phonemes[0].strip() if phonemes else None,
                language=language,
                # What PLS finds is written as it says. Source: PLS 1.0, section 4.5.
                case="exact",
            )
            for grapheme in _children(lexeme, "grapheme")
        ]
    return _checked(words)


def write_pls(words: Sequence[Word], *, language: str) -> bytes:
    """The words as `read_pls` reads them; it has no expressions and one language.

    Raises UserError `invalid_lexicon` for what it cannot have.
    """
    ElementTree.register_namespace("", _PLS)
    root = ElementTree.Element(
        f"{{{_PLS}}}lexicon", {"version": "1.0", "alphabet": "ipa", _XML_LANGUAGE: language}
    )
    for word in words:
        if word.word is None:
            raise _unreadable("PLS has no regular expressions; export it as csv")
        lexeme = ElementTree.SubElement(root, f"{{{_PLS}}}lexeme")
        for tag, text in (("grapheme", word.word), ("phoneme", word.ipa), ("alias", word.say)):
            if text is not None:
                ElementTree.SubElement(lexeme, f"{{{_PLS}}}{tag}").text = text
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _children(element: Any, name: str) -> list[Any]:
    return [each for each in element if each.tag in (name, f"{{{_PLS}}}{name}")]


def _word(index: int, entry: object) -> Word:
    if not isinstance(entry, dict) or not all(
        value is None or isinstance(value, str) for value in entry.values()
    ):
        raise _unreadable(f"entry {index} is no object of texts")
    unknown = [name for name in entry if name not in _FIELDS]
    if unknown:
        raise _unreadable(f"entry {index} has a field {str(unknown[0])[:40]!r}; known are "
                          f"{', '.join(_FIELDS)}")  # fmt: skip
    given = {name: value for name, value in entry.items() if value is not None}
    if given.get("case", "any") not in ("any", "exact"):
        raise _unreadable(f"entry {index}: case is {given['case'][:40]!r}; use any or exact")
    return Word(**given)


def _given(word: Word) -> dict[str, str]:
    return {
        name: value
        for name, value in asdict(word).items()
        if value is not None and (name, value) != ("case", "any")
    }


def _checked(words: list[Word]) -> list[Word]:
    check_words(words, param="words")
    return words


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable("it is not in UTF-8") from None


def _unreadable(reason: str) -> UserError:
    return UserError(f"the lexicon cannot be read: {reason}", code="invalid_lexicon", param="words")
