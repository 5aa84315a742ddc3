"""SSML: a document becomes a text with cues and turns, and what it asks for in vain.

    <speak>Wait.<break time="1s"/> Go.</speak>   ->   "Wait.\N{SYMBOL FOR RECORD SEPARATOR} Go."

Places are those of the document, in code points. DTDs and entities of a document's own are refused
before anything of them is read. Source: SSML 1.1; the elements that act are in `_Reader`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from xml.parsers import expat

import numpy as np

from fishs2.errors import UserError
from fishs2.text.directing.cues import PLAIN, Manner
from fishs2.text.directing.ssml_document import Document, SsmlVoice
from fishs2.text.directing.ssml_figures import Figures
from fishs2.text.directing.ssml_text import NARRATOR, Piece, SsmlText
from fishs2.text.directing.ssml_values import WrongValueError, read_break, read_manner

TextType = Literal["text", "ssml"]
"""What a text is: without the word, SSML is text."""

MAX_DEPTH = 50
MAX_ELEMENTS = 5_000
MAX_VOICES = 16
"""What is not the voice of the request: by name, by language, or both."""

_MAX_IGNORED = 20
_MAX_NAME_CHARS = 40

_TAG_AT = re.compile(r"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*+>")
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9:._-]*")
_SPELLED = frozenset({"characters", "spell-out", "verbatim"})
_FIGURES = {"digits": "digits", "ordinal": "ordinal", "cardinal": "cardinal", "number": "cardinal"}
_UNSPOKEN = frozenset({"desc", "meta", "metadata", "lexicon"})
"""What is in these is said of the document, and is no part of its text."""

_MEANS_NOTHING = frozenset({"medium", "default", "0%", "+0%", "+0Hz", "+0st"})


def read_ssml(source: str, *, speaks_tags: bool, picks_languages: bool) -> Document:
    """Read a document. speaks_tags: the engine acts on `[emphasis]`; picks_languages: it has a
    voice for each language.

    Raises UserError `invalid_ssml`, which names line and column, and `pause_too_long`.
    """
    reader = _Reader(source, speaks_tags=speaks_tags, picks_languages=picks_languages)
    return reader.read()


@dataclass(slots=True)
class _Open:
    """An element that is open, and what holds in it."""

    name: str
    start: int
    manner: Manner
    voice: SsmlVoice
    attributes: dict[str, str] = field(default_factory=dict)
    content: Piece | None = None
    """Where its text goes, if it is not spoken as it stands."""


class _Reader:
    def __init__(self, source: str, *, speaks_tags: bool, picks_languages: bool) -> None:
        self._source = source
        self._speaks_tags = speaks_tags
        self._picks_languages = picks_languages
        encoded = source.encode("utf-8", "surrogatepass")
        self._encoded = encoded
        heads = (np.frombuffer(encoded, np.uint8) & 0xC0) != 0x80
        # The code point that each byte is a part of, and the end.
        self._places = np.append(np.cumsum(heads) - 1, len(source))
        self._voices: list[SsmlVoice] = []
        self._ignored: dict[str, None] = {}
        self._figures: list[Figures] = []
        self._open: list[_Open] = []
        self._num_elements = 0
        self._is_verbatim = False
        self._language = ""
        self._text = SsmlText()
        # A declared encoding is that of a file, and this is text.
        parser = self._parser = expat.ParserCreate("utf-8")
        parser.buffer_text = False
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._say
        parser.StartCdataSectionHandler = lambda: self._be_verbatim(True)
        parser.EndCdataSectionHandler = lambda: self._be_verbatim(False)

    def read(self) -> Document:
        """See `read_ssml`."""
        try:
            self._parser.Parse(self._encoded, True)
        except expat.ExpatError as error:
            raise self._broken(error) from None
        return Document(
            self._text.sourced(),
            self._text.cues,
            tuple(self._text.turns),
            tuple(self._voices),
            self._language,
            tuple(self._ignored),
            tuple(self._figures),
        )

    def _broken(self, error: expat.ExpatError) -> UserError:
        what = expat.errors.messages.get(error.code, "it is not well formed")
        hint = ""
        if what == "undefined entity":
            hint = "; XML knows &amp; &lt; &gt; &quot; &apos; and numbers such as &#160;"
        elif what == "not well-formed (invalid token)":
            hint = "; in text, & is written &amp; and < is written &lt;"
        elif what in ("mismatched tag", "no element found", "unclosed token") and self._open:
            hint = f"; <{self._open[-1].name[:_MAX_NAME_CHARS]}> is still open"
        elif not self._num_elements:
            hint = "; a document is <speak>…</speak>"
        at = int(self._places[min(max(0, self._parser.ErrorByteIndex), len(self._places) - 1)])
        return self._wrong(f"{what}{hint}", at)

    def _wrong(self, what: str, at: int | None = None, *, code: str = "invalid_ssml") -> UserError:
        at = self._at() if at is None else at
        line = self._source.count("\n", 0, at) + 1
        column = at - (self._source.rfind("\n", 0, at) + 1) + 1
        return UserError(
            f"the SSML cannot be spoken, line {line}, column {column}: {what}",
            code=code,
            param="input",
        )

    def _at(self) -> int:
        """Where what is being read begins in the document."""
        return int(self._places[max(0, self._parser.CurrentByteIndex)])

    def _tag_end(self, start: int) -> int:
        match = _TAG_AT.match(self._source, start)
        return match.end() if match else start

    def _refuse_doctype(self, *_: object) -> None:
        raise self._wrong("it has a DOCTYPE, and DTDs and entities are not read: leave it out")

    def _be_verbatim(self, is_verbatim: bool) -> None:
        self._is_verbatim = is_verbatim

    def _ignore(self, element: str, attribute: str = "") -> None:
        name = f"{element}.{attribute}" if attribute else element
        if len(self._ignored) >= _MAX_IGNORED:
            name = "..."
        elif len(name) > _MAX_NAME_CHARS or not _PLAIN_NAME.fullmatch(name):
            name = "other"
        self._ignored[f"ssml:{name}"] = None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        start = self._at()
        self._num_elements += 1
        if not self._open and name != "speak":
            raise self._wrong(f"it begins with <{name[:40]}>; a document is <speak>…</speak>")
        if len(self._open) >= MAX_DEPTH:
            raise self._wrong(f"its elements are nested deeper than {MAX_DEPTH}")
        if self._num_elements > MAX_ELEMENTS:
            raise self._wrong(f"it has more than {MAX_ELEMENTS:,} elements; send it in parts")
        manner, voice, content = PLAIN, SsmlVoice(), None
        if self._open:
            outer = self._open[-1]
            manner, voice, content = outer.manner, outer.voice, outer.content
        each = _Open(name, start, manner, voice, attributes, content)
        begin = _ELEMENTS.get(name)
        if begin is not None:
            try:
                begin(self, each)
            except WrongValueError as error:
                raise self._wrong(f"<{name}> {error}") from None
            except UserError as error:
                raise self._wrong(f"<{name}> {error.message}", code=error.code) from None
        elif name in _UNSPOKEN:
            each.content = Piece()
        else:
            self._ignore(name)
        self._open.append(each)
        self._hold(each)

    def _end(self, _: str) -> None:
        start = self._at()
        each = self._open.pop()
        outer = self._open[-1] if self._open else each
        if each.content is not None and each.content is not outer.content:
            self._say_instead(each, start)
        if each.name in ("p", "s", "paragraph", "sentence"):
            self._text.end_part("paragraph" if each.name[0] == "p" else "sentence")
        self._hold(outer)

    def _hold(self, element: _Open) -> None:
        """What follows is spoken as it is in this element."""
        self._text.turn(element.manner, self._number_of(element))

    def _number_of(self, element: _Open) -> int:
        return self._voices.index(element.voice) if element.voice.is_given else NARRATOR

    def _say(self, text: str) -> None:
        start = self._at()
        content = self._open[-1].content
        piece = Piece()
        if self._source[start] == "&" and not self._is_verbatim:
            piece.add_at(text, start, self._source.index(";", start) + 1)
        else:
            starts = list(range(start, start + len(text)))
            ends = [each + 1 for each in starts]
            if self._source.startswith("\r\n", start):
                ends = [each + 1 for each in ends]
            piece.add(text, starts, ends)
        if content is None:
            self._text.say(piece)
        else:
            content.add(text, piece.starts, piece.ends)

    def _say_instead(self, each: _Open, end: int) -> None:
        """Speak what stands in place of the text of an element, or what is made of it."""
        content = each.content
        assert content is not None
        if each.name in _UNSPOKEN:
            return
        # A nested one is a part of what is around it.
        outside = self._open[-1].content if self._open else None
        first = content.starts[0] if content.starts else each.start
        last = content.ends[-1] if content.ends else max(end, self._tag_end(each.start))
        if each.name == "sub":
            said = Piece()
            said.add_at(each.attributes["alias"], first, last)
        else:
            said = _spell(content) if _kind(each) in _SPELLED else content
        if outside is not None:
            outside.add("".join(said.text), said.starts, said.ends)
            return
        self._text.say(said)
        kind = _FIGURES.get(_kind(each))
        if each.name == "say-as" and kind is not None:
            num_chars = self._text.num_chars
            start = num_chars - len(said.text)
            self._figures.append(Figures(start, num_chars, kind, self._number_of(each)))

    def _take_speak(self, each: _Open) -> None:
        if self._open:
            raise self._wrong("it has a <speak> inside another")
        self._language = each.attributes.get("xml:lang", "").strip()

    def _take_part(self, each: _Open) -> None:
        self._text.end_part("paragraph" if each.name[0] == "p" else "sentence")
        self._take_language(each, each.attributes.get("xml:lang"))

    def _take_break(self, each: _Open) -> None:
        seconds = read_break(
            time=each.attributes.get("time"), strength=each.attributes.get("strength")
        )
        if each.content is None:
            self._text.rest(seconds, each.start, self._tag_end(each.start))
        else:
            self._ignore("break")

    def _take_prosody(self, each: _Open) -> None:
        given = each.attributes
        for name in sorted(given.keys() - {"rate", "volume"}):
            if given[name].strip() not in _MEANS_NOTHING:
                self._ignore("prosody", name)
        each.manner = read_manner(each.manner, rate=given.get("rate"), volume=given.get("volume"))

    def _take_sub(self, each: _Open) -> None:
        if "alias" not in each.attributes:
            raise WrongValueError('has no alias: write <sub alias="what is said">')
        each.content = Piece()

    def _take_say_as(self, each: _Open) -> None:
        if "interpret-as" not in each.attributes:
            raise WrongValueError('has no interpret-as, as in interpret-as="characters"')
        kind = _kind(each)
        if kind in _SPELLED or kind in _FIGURES:
            each.content = Piece()
        else:
            self._ignore("say-as")

    def _take_voice(self, each: _Open) -> None:
        given = each.attributes
        for name in sorted(given.keys() & {"gender", "age", "variant", "languages", "required"}):
            self._ignore("voice", name)
        name = given.get("name", "").strip()
        if name:
            self._speak_as(each, SsmlVoice(name))
        self._take_language(each, given.get("xml:lang"))

    def _take_lang(self, each: _Open) -> None:
        if not each.attributes.get("xml:lang", "").strip():
            raise WrongValueError('has no xml:lang, as in xml:lang="de"')
        self._take_language(each, each.attributes["xml:lang"])

    def _take_language(self, each: _Open, language: str | None) -> None:
        language = (language or "").strip()
        if not language:
            return
        if not self._picks_languages:
            self._ignore(each.name, "" if each.name == "lang" else "xml:lang")
        else:
            self._speak_as(each, SsmlVoice(each.voice.name, language))

    def _take_emphasis(self, each: _Open) -> None:
        level = each.attributes.get("level", "moderate").strip()
        if level == "none":
            return
        if level == "reduced" or not self._speaks_tags or each.content is not None:
            self._ignore("emphasis")
            return
        tag = Piece()
        tag.add_at("[emphasis] ", each.start, self._tag_end(each.start))
        self._text.say(tag)

    def _speak_as(self, each: _Open, voice: SsmlVoice) -> None:
        each.voice = voice
        if voice in self._voices:
            return
        if len(self._voices) >= MAX_VOICES:
            raise WrongValueError(f"is one voice too many; the limit is {MAX_VOICES}")
        self._voices.append(voice)


_ELEMENTS: dict[str, Callable[[_Reader, _Open], None]] = {
    "speak": _Reader._take_speak,
    "p": _Reader._take_part,
    "paragraph": _Reader._take_part,
    "s": _Reader._take_part,
    "sentence": _Reader._take_part,
    "break": _Reader._take_break,
    "prosody": _Reader._take_prosody,
    "sub": _Reader._take_sub,
    "say-as": _Reader._take_say_as,
    "voice": _Reader._take_voice,
    "lang": _Reader._take_lang,
    "emphasis": _Reader._take_emphasis,
}


def _kind(element: _Open) -> str:
    return element.attributes.get("interpret-as", "").strip().lower()


def _spell(content: Piece) -> Piece:
    """One letter or digit after the other."""
    said = Piece()
    for character, start, end in zip(content.text, content.starts, content.ends, strict=True):
        if character.isspace():
            continue
        if said.text:
            said.add_at(" ", start, start)
        upper = character.upper()
        said.add_at(upper if len(upper) == 1 else character, start, end)
    return said
