"""Changes of a text as places and replacements, so that what is spoken can be traced to its source.

Every rule of `wording`, and every mark that is left out, is found as edits of the text before it;
`apply_edits` makes the new text of them.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Edit(NamedTuple):
    """Say `say` instead of the characters from `start` to `end`."""

    start: int
    end: int
    say: str


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return `text` with its edits made. edits: in order, not overlapping."""
    parts: list[str] = []
    done = 0
    for start, end, say in edits:
        parts += [text[done:start], say]
        done = end
    return "".join([*parts, text[done:]]) if parts else text
