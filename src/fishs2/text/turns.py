"""Who speaks which part of a text: `<|speaker:i|>` before each turn.

The tags are Fish Audio's, for texts that several voices read. They are never spoken:
`service.speech.script` turns them into voices, or takes them out.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

_TAG = re.compile(r"<\|speaker:(\d{1,9})\|>")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says in one go. speaker: counts from 0."""

    speaker: int
    text: str


def find_turns(text: str) -> list[Turn]:
    """Return the turns of `text`, in order; text before the first tag is the first speaker's."""
    tags = list(_TAG.finditer(text))
    borders = [*(tag.start() for tag in tags), len(text)]
    turns = [Turn(0, text[: borders[0]])] if borders[0] or not tags else []
    for tag, (_, end) in zip(tags, pairwise(borders), strict=True):
        turns.append(Turn(int(tag[1]), text[tag.end() : end]))
    return turns


def find_speaker_tags(text: str) -> list[tuple[int, int]]:
    """Return the spans of all tags, in order."""
    return [tag.span() for tag in _TAG.finditer(text)]


def speaker_tag(speaker: int) -> str:
    """What stands before a turn of this speaker."""
    return f"<|speaker:{speaker}|>"


def remove_speaker_tags(text: str) -> str:
    """Return `text` as one voice reads it: no words grow together where a tag was."""
    return _TAG.sub(" ", text)
