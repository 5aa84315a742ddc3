"""What programs leave in a text: HTML, a model's thoughts, escaped characters.

    <p>Fish &amp; chips</p>   <think>The user wants ...</think>   one\\ntwo
    ^^^     ^^^^^        ^^^^  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^      ^^

Source: the HTML standard, elements and named character references.
"""

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from itertools import accumulate

from fishs2.text.edits import Edit

_ENTITY = re.compile("&(?:[a-zA-Z][a-zA-Z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")

_THOUGHTS = re.compile(
    r"<(think|thinking|thought|reasoning)>(?:(?!</?\1>).)*+(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE
)
_REST_OF_THOUGHTS = re.compile(r"\A(?:(?!</think>).)*+</think>", re.DOTALL | re.IGNORECASE)
# "C:\new" is a path; "one.\nTwo" and "one\n\ntwo" are lines that were never unpacked.
_LITERAL_BREAK = re.compile(
    r"(?:\\r)?\\n(?=\\n|\\r|[\s\"'“„«([*#>-]|\Z|(?![a-z])\w)"
    r"|(?<=[.!?…:;,\"'”’»)\]])(?:\\r)?\\n|(?<=\\n)(?:\\r)?\\n"
)

_TAG = re.compile(r"""</?[a-zA-Z](?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+>|<![a-zA-Z][^<>]*+>""")
_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        """
    address article aside blockquote body center dd details dialog dir div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav
    ol option p pre search section summary table tbody td tfoot th thead tr ul
    """,
    )
)
_UNREAD = frozenset(
    re.findall(
        r"\w+",
        """
    head iframe noscript object rp rt script select style svg template title
    """,
    )
)
_INLINE = frozenset(
    re.findall(
        r"\w+",
        """
    a abbr acronym audio b bdi bdo big button canvas cite code data datalist del dfn em embed font
    i img input ins kbd label map mark math meter nobr output param picture progress q ruby s samp
    slot small source span strike strong sub sup textarea time track tt u var video wbr area base
    col colgroup link meta caption
    """,
    )
)


def find_entities(text: str) -> Iterator[Edit]:
    """Yield characters that were written by their names or numbers."""
    if "&" not in text:
        return
    for match in _ENTITY.finditer(text):
        character = unescape(match.group())
        if character != match.group():
            yield Edit(*match.span(), character)


def find_thoughts(text: str) -> Iterator[Edit]:
    """Yield what a language model wrote for itself; also where its beginning was cut off."""
    found = list(_THOUGHTS.finditer(text))
    rest = None if found else _REST_OF_THOUGHTS.match(text)
    for match in [rest] if rest else found:
        yield Edit(*match.span(), "")


def find_literal_breaks(text: str) -> Iterator[Edit]:
    """Yield line breaks that were sent as a backslash and a letter."""
    for match in _LITERAL_BREAK.finditer(text):
        yield Edit(*match.span(), "\n")


def find_html(text: str) -> list[Edit]:
    """Return the tags and comments of HTML in `text`, in order, with what is in none of its lines.

    A name in angle brackets that HTML does not know is text. Takes time linear in the text.
    """
    if "<" not in text:
        return []
    reader = _Reader(_mask_what_never_closes(text))
    reader.feed(reader.text)
    reader.close()
    return reader.edits()


def _mask_what_never_closes(text: str) -> str:
    """Return `text` with another sign, as long, for each "<" that begins no tag or comment.

    The parser looks for the end of each anew, which takes a day in a text of nothing else.
    """
    parts: list[str] = []
    at = 0
    last_comment_end = text.rfind("-->")
    while (start := text.find("<", at)) >= 0:
        if text.startswith("<!--", start) and start + 4 <= last_comment_end:
            end = text.index("-->", start + 4) + 3
        else:
            tag = _TAG.match(text, start)
            end = tag.end() if tag else 0
        parts += [text[at:start], text[start:end] if end else "‹"]
        at = end or start + 1
    return "".join([*parts, text[at:]])


class _Reader(HTMLParser):
    """Notes where tags are. The parser says where each begins, and the next thing where it ends."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=False)
        self.text = text
        self._lines = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        self._marks: list[Edit] = []
        self._unread = ""
        self._depth = 0
        self._unread_from = 0

    def edits(self) -> list[Edit]:
        if self._unread:
            # It was never closed: the tag alone goes.
            self._marks = [each for each in self._marks if each.end <= self._unread_from]
        return self._marks

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, opens=True)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag)

    def handle_endtag(self, tag: str) -> None:
        self._note(tag, closes=True)

    def handle_comment(self, data: str) -> None:
        start = self._at()
        end = self.text.find("-->", start)
        self._mark(start, end + 3 if end >= 0 else start + len(data), "")

    def handle_decl(self, decl: str) -> None:
        start = self._at()
        self._mark(start, self.text.find(">", start) + 1 or start, "")

    def _note(self, tag: str, *, opens: bool = False, closes: bool = False) -> None:
        start = self._at()
        end = self._end_of_tag(start)
        if self._unread:
            if tag == self._unread:
                self._depth += opens - closes
                if not self._depth:
                    self._unread = ""
                    self._mark(self._unread_from, end, "")
            return
        if tag in _UNREAD:
            if opens:
                self._unread, self._depth, self._unread_from = tag, 1, start
            else:
                self._mark(start, end, "")
        elif tag == "br":
            self._mark(start, end, "\n")
        elif tag in _BLOCKS:
            self._mark(start, end, "\n\n")
        elif tag in _INLINE:
            self._mark(start, end, "")

    def _mark(self, start: int, end: int, say: str) -> None:
        if not self._marks or start >= self._marks[-1].end:
            self._marks.append(Edit(start, end, say))

    def _end_of_tag(self, start: int) -> int:
        known = self.get_starttag_text()
        if known and self.text.startswith(known, start):
            return start + len(known)
        return self.text.find(">", start) + 1 or len(self.text)

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column
