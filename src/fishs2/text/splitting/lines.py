"""Line breaks: which end a paragraph, which are meant, and which only come from a page's width.

    Book, e-mail (hard-wrapped)        List, poem, address            One line per paragraph
    It was a dark and stormy night,    Milk                           A long paragraph ... end.
    and the rain fell in torrents      Eggs and cheese                Another long one ... end.
    joined with a space                kept as "\\n"                   each is a paragraph

`split` calls this; it knows nothing of sentences beyond their last character.
"""

import re

from fishs2.text.scripts import UNSPACED, WIDE

# Widths in columns. Plain text is wrapped at 60 to 80, some mailers at 100; verse is rarely as wide
# as 50, and no one breaks lines by hand beyond 120.
_MIN_WRAP_COLUMNS = 50
_MAX_WRAP_COLUMNS = 120
_MIN_CONTINUED_COLUMNS = 25
"""A line this long that goes on in lower case without a stop is wrapped, whatever its width."""

_PARAGRAPH_BREAK = re.compile(r"\n[^\S\n]*\n\s*")
_LIST_ITEM = re.compile(r"(?:[-–—―*•‣◦▪●]|\w{1,3}[.)])\s|[—―]")
_STOPPED = re.compile(r"[^\w\s,][\"'”’»)\]]{0,4}$")
_FIRST_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_UNSPACED = re.compile(rf"[{UNSPACED}]")
_WIDE = re.compile(rf"[{WIDE}]")


def split_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of `text`, stripped, each with only the line breaks that are meant.

    A blank line ends a paragraph. Inside a block, a line is wrapped (and joined) when the first
    word of the next one would not have fitted into the block's width, or when the next one goes on
    in lower case; a list item never is. If what remains has lines too wide for a list or verse,
    each of them is a paragraph. Loses nothing but white space.
    """
    paragraphs: list[str] = []
    for block in _PARAGRAPH_BREAK.split(text):
        lines = _join_wrapped([line.strip() for line in block.split("\n") if line.strip()])
        if any(_num_columns(line) > _MAX_WRAP_COLUMNS for line in lines):
            paragraphs.extend(lines)
        elif lines:
            paragraphs.append("\n".join(lines))
    return paragraphs


def _join_wrapped(lines: list[str]) -> list[str]:
    if len(lines) < 2:
        return lines
    columns = [_num_columns(line) for line in lines]
    width = max(columns)
    joined: list[list[str]] = [[lines[0]]]
    for index in range(1, len(lines)):
        before, line = lines[index - 1], lines[index]
        if _is_wrapped(before, line, columns=columns[index - 1], width=width):
            glue = "" if _UNSPACED.match(before[-1]) and _UNSPACED.match(line) else " "
            joined[-1].append(glue + line)
        else:
            joined.append([line])
    return ["".join(parts) for parts in joined]


def _is_wrapped(before: str, line: str, *, columns: int, width: int) -> bool:
    """Tell whether the break between two lines is an accident of the block's `width`."""
    if _LIST_ITEM.match(line):
        return False
    if line[0].islower() and columns >= _MIN_CONTINUED_COLUMNS and not _STOPPED.search(before):
        return True
    word = _FIRST_WORD.match(line)
    assert word is not None, "lines are stripped and not empty"
    is_wrap_width = _MIN_WRAP_COLUMNS <= width <= _MAX_WRAP_COLUMNS
    return is_wrap_width and columns + 1 + _num_columns(word.group()) > width


def _num_columns(line: str) -> int:
    return len(line) + len(_WIDE.findall(line))
