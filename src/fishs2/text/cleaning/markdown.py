"""Markdown as it is read aloud: without its marks, lists and tables as sentences, code left out.

    ## Prices            Prices
    * *Tea*: 2 €   ->    Tea: 2 €.
    * Cake               Cake.

markdown-it finds the structure; the places of what is read are found again in the source, line by
line. Links are not looked at: `links` takes out their marks before.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from fishs2.text.edits import Edit

_OTHERS_WORK = [
    # `links` and `markup`.
    *("link", "image", "autolink", "reference", "html_block", "html_inline"),
    # Text that was written escaped stays apart, so that its marks can be found.
    "text_join",
    # Whoever indents a text has seldom written a program.
    "code",
]
_STOPPED = re.compile(r"[.!?…:;,。！？；：，、؟।۔][\"'”’»)\]*_]*\Z")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,50}\](?::[ \t]*)?")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
_NUMBER = re.compile(r"\d{1,9}[.)]")


# None of these is a mark to people: of the same length, so that places stay.
_LINE_BREAK = re.compile(r"\r(\n)?")
_TIMES = re.compile(r"(?<=\d)\*(?=\d)")


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(_OTHERS_WORK)


def find_markdown(text: str) -> list[Edit]:
    """Return what makes `text` plain, in order."""
    text = _LINE_BREAK.sub(lambda match: " \n" if match[1] else "\n", text)
    text = _TIMES.sub("×", text)
    reader = _Reader(text)
    reader.read(_parser().parse(text))
    return reader.edits()


class _Reader:
    """Walks the tokens of a document and notes what of it is read, in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        lengths = [len(line) + 1 for line in text.split("\n")]
        self._lines = [0, *accumulate(lengths)]
        self._edits: list[Edit] = []
        self._done = 0
        self._said: list[str] = []
        self._is_empty = True

    def edits(self) -> list[Edit]:
        """What was not kept, as edits; once, after `read`."""
        self._edits.append(Edit(self._done, len(self._text), "".join(self._said).rstrip()))
        return self._edits

    def read(self, tokens: Sequence[Token]) -> None:
        """Read blocks."""
        at = 0
        items: list[Token] = []
        is_first = True
        while at < len(tokens):
            token = tokens[at]
            if token.type == "table_open":
                end = next(i for i in range(at, len(tokens)) if tokens[i].type == "table_close")
                self._read_table(tokens[at:end])
                at = end
            elif token.type in ("bullet_list_open", "ordered_list_open") and not items:
                self._break("\n\n")
            elif token.type == "list_item_open":
                items.append(token)
                self._read_marker(token)
                is_first = True
            elif token.type == "list_item_close":
                items.pop()
                self._stop()
            elif token.type == "inline":
                if not (items and is_first):
                    self._break("\n" if items else "\n\n")
                self._read_block(token, is_item=bool(items) and is_first)
                is_first = False
            elif token.type == "hr":
                self._break("\n\n")
                start, end = self._region(token)
                self._keep(start, start + len(self._text[start:end].rstrip()))
            at += 1

    def _read_block(self, token: Token, *, is_item: bool) -> None:
        start, end = self._region(token)
        task = _TASK.match(token.content) if is_item else None
        self._read_inline(token, max(start, self._done), end, skip=task.end() if task else 0)

    def _read_marker(self, item: Token) -> None:
        """The number of an item is read, a bullet is not."""
        self._stop()
        self._break("\n")
        start, end = self._region(item)
        number = _NUMBER.search(self._text, max(start, self._done), end) if item.info else None
        if number:
            self._keep(*number.span())
            self._said.append(" ")

    def _read_table(self, tokens: Sequence[Token]) -> None:
        """A row is a sentence, in which each cell follows the head of its column."""
        self._break("\n\n")
        rows: list[list[Token]] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(token)
        heads = [_plain(cell) for cell in rows[0]]
        for row in rows[1:] or rows[:1]:
            self._break("\n")
            start, end = self._region(row[0]) if row else (0, 0)
            is_first = True
            for head, cell in zip(heads, row, strict=False):
                if not cell.content.strip():
                    continue
                label = f"{head}: " if head and row is not rows[0] else ""
                self._said.append(label if is_first else f", {label}")
                is_first = False
                self._read_inline(cell, max(start, self._done), end)
            self._stop()

    def _read_inline(self, token: Token, start: int, end: int, *, skip: int = 0) -> None:
        """Keep what is read of a block that lies between two places of the text."""
        places = _find_places(token.content, self._text, start, end)
        at = 0
        for child in token.children or ():
            (first, last), at = _find_read(child, token.content, at)
            for span in _without_footnotes(token.content, max(first, skip), last):
                self._keep_places(places[slice(*span)])

    def _keep_places(self, places: Sequence[int]) -> None:
        """Keep characters, as few pieces as they make."""
        start = 0
        for at in range(1, len(places) + 1):
            if at == len(places) or places[at] != places[at - 1] + 1:
                self._keep(places[start], places[at - 1] + 1)
                start = at

    def _keep(self, start: int, end: int) -> None:
        if self._done < start or self._said:
            self._edits.append(Edit(self._done, start, "".join(self._said)))
        self._said = []
        self._done = end
        self._is_empty = False

    def _break(self, line_break: str) -> None:
        """Begin a line or a paragraph; where both are wanted, a paragraph."""
        if not self._is_empty:
            said = "".join(self._said)
            stop = said.rstrip()
            self._said = [stop, max(line_break, said[len(stop) :], key=len)]

    def _stop(self) -> None:
        """End a sentence that has no end of its own."""
        last = self._text[max(0, self._done - 8) : self._done]
        if not (self._is_empty or self._said or _STOPPED.search(last)):
            self._said.append(".")

    def _region(self, token: Token) -> tuple[int, int]:
        first, last = token.map or (0, 0)
        return self._lines[first], min(self._lines[last], len(self._text))


def _plain(cell: Token) -> str:
    """The words of a cell."""
    return " ".join("".join(child.content for child in cell.children or ()).split())


def _find_places(content: str, text: str, start: int, end: int) -> list[int]:
    """Where each character of a block's content lies in the text, between `start` and `end`."""
    places: list[int] = []
    at = start
    for line in content.split("\n"):
        if places:
            # The line break before it.
            at = text.find("\n", at, end)
            places.append(at)
        found = text.find(line, at, end)
        if found >= 0:
            places += range(found, found + len(line))
            at = found + len(line)
            continue
        for character in line:
            # A cell has lost the marks before its bars, and a tab may have become spaces.
            found = text.find(character, at, end)
            at = at if found < 0 else found + 1
            places.append(min(max(at - 1, start), len(text) - 1))
    return places


def _find_read(child: Token, content: str, at: int) -> tuple[tuple[int, int], int]:
    """Return what of `content` a part of it is read as, and where the next part begins."""
    if child.type in ("softbreak", "hardbreak"):
        at = content.find("\n", at)
        return (at, at + 1), at + 1
    if child.type == "code_inline":
        start = content.index(child.markup, at) + len(child.markup)
        end = content.index(child.markup, start)
        return (start, end), end + len(child.markup)
    if child.type == "text_special":
        start = content.index(child.markup, at)
        end = start + len(child.markup)
        # What stands for a character by its name is read by `entities`.
        return (start + (child.markup[0] == "\\"), end), end
    if child.type == "text":
        start = content.find(child.content, at)
        return (start, start + len(child.content)), start + len(child.content)
    start = content.find(child.markup, at)
    return (at, at), start + len(child.markup)


def _without_footnotes(content: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for mark in _FOOTNOTE.finditer(content, start, end):
        yield start, mark.start()
        start = mark.end()
    yield start, end
