"""The marks of links in Markdown: brackets, addresses and titles around words that are read.

    See [docs](https://a.example/x) now.    ![A cat](cat.png)    [docs][1] or <https://b.example>
        ^    ^^^^^^^^^^^^^^^^^^^^^^         ^^     ^^^^^^^^^^    ^    ^^^^    ^                 ^

Source: CommonMark 0.31, links, images, link reference definitions and autolinks. A bracket is a
link only with its address behind it or defined in the text: `[tags]` are none.
"""

import re
from collections.abc import Iterator

Span = tuple[int, int]

_TOKEN = re.compile(r"\\[\\\[\]<]|!?\[|\]|\n[^\S\n]*\n|<(?=[^\s<>]+>)")
# No quantifier gives back what it has, and parentheses end a destination at the third level, so
# that a text of nothing but brackets takes linear time.
_PARENTHESES = r"\((?:[^\s()\\<>]|\\.|\((?:[^\s()\\<>]|\\.)*+\))*+\)"
_DESTINATION = rf"(?:<[^<>\n]*+>|(?:[^\s()\\<>]|\\.|{_PARENTHESES})*+)"
_TITLE = r"""(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+'|\((?:[^()\\\n]|\\.)*+\))"""
_INLINE = re.compile(rf"\]\(\s*+{_DESTINATION}(?:\s++{_TITLE})?+\s*+\)")
# Language models write spaces into addresses; who reads it sees a link all the same.
_SPACED_INLINE = re.compile(r"\]\([ ]?+https?://[^()<>\n]{0,2000}\)")
_REFERENCE = re.compile(r"\]\[([^\[\]\n]{0,300})\]")
_AUTOLINK = re.compile(r"<(?:[a-zA-Z][a-zA-Z0-9+.-]{1,31}:[^\s<>]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)*)>")
_ADDRESS = (
    r"(?:<[^<>\n]+>|[a-zA-Z][a-zA-Z0-9+.-]*:\S+|[#/]\S*|\.{1,2}/\S*|[\w-]+(?:\.[\w-]+)+(?:/\S*)?)"
)
_DEFINITION = re.compile(
    rf"^ {{0,3}}\[([^\[\]\n]{{1,300}})\]:[ \t]*{_ADDRESS}[ \t]*(?:{_TITLE}[ \t]*)?$\n?",
    re.MULTILINE,
)


def find_link_marks(text: str) -> list[Span]:
    """Return the spans of all marks of links, in order. Takes time linear in the text."""
    if "[" not in text and "<" not in text:
        return []
    definitions = list(_DEFINITION.finditer(text))
    labels = {_label(found[1]) for found in definitions}
    defined = [found.span() for found in definitions]
    marks = sorted([*defined, *_find_marks(text, labels)])
    kept: list[Span] = []
    for start, end in marks:
        if not kept or start >= kept[-1][1]:
            kept.append((start, end))
    return kept


def _find_marks(text: str, labels: set[str]) -> Iterator[Span]:
    """Yield the marks of each link when it closes, so inner ones first."""
    opened: list[Span] = []
    done = 0
    for token in _TOKEN.finditer(text):
        found, at = token.group(), token.start()
        if at < done or found.startswith("\\"):
            continue
        if found.endswith("["):
            opened.append(token.span())
        elif found == "<":
            autolink = _AUTOLINK.match(text, at)
            if autolink:
                yield at, at + 1
                yield autolink.end() - 1, autolink.end()
        elif found != "]":
            opened.clear()
        elif opened:
            opening = opened.pop()
            end = _link_end(text, opening, at, labels)
            if end:
                yield opening
                yield at, end
                done = end


def _link_end(text: str, opening: Span, at: int, labels: set[str]) -> int:
    """Where the marks behind the text of a link end; 0 if the bracket at `at` closes no link."""
    inline = _INLINE.match(text, at) or _SPACED_INLINE.match(text, at)
    if inline:
        return inline.end()
    if not labels:
        return 0
    reference = _REFERENCE.match(text, at)
    if reference and _label(reference[1] or text[opening[1] : at]) in labels:
        return reference.end()
    # The label alone is a link too, but for the definition's own.
    is_definition = text[at + 1 : at + 2] == ":"
    is_alone = at - opening[1] <= 300 and not is_definition
    return at + 1 if is_alone and _label(text[opening[1] : at]) in labels else 0


def _label(label: str) -> str:
    return " ".join(label.split()).casefold()
