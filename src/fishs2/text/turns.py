"""Who speaks which part of a text: `<|speaker:i|>` before each turn.

The tags are Fish Audio's, for texts that several voices read. They are never spoken:
`service.speech.script` turns them into voices, or takes them out.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from fishs2.text.sourced import Sourced

_TAG = re.compile(r"<\|speaker:(\d{1,9})\|>")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says in one go. speaker: counts from 0."""

    speaker: int
    text: Sourced


def find_turns(text: Sourced) -> list[Turn]:
    """Return the turns of `text`, in order; text before the first tag is the first speaker's."""
    tags = list(_TAG.finditer(text.text))
    borders = [*(tag.start() for tag in tags), len(text.text)]
    turns = [Turn(0, text.select(0, borders[0]))] if borders[0] or not tags else []
    for tag, (_, end) in zip(tags, pairwise(borders), strict=True):
        turns.append(Turn(int(tag[1]), text.select(tag.end(), end)))
    return turns


def find_speaker_tags(text: str) -> list[int]:
    """Return where each tag of a speaker begins, in order."""
    return [tag.start() for tag in _TAG.finditer(text)]


def speaker_tag(speaker: int) -> str:
    """What stands before a turn of this speaker."""
    return f"<|speaker:{speaker}|>"


def speakers_in(text: str) -> list[int]:
    """Whose turns a text has, in order."""
    return [int(number) for number in _TAG.findall(text)]


def last_speaker(text: str, first: int) -> int:
    """Who speaks at the end of `text`, which `first` begins."""
    tags = _TAG.findall(text)
    return int(tags[-1]) if tags else first


def remove_speaker_tags(text: str) -> str:
    """Return `text` as one voice reads it: no words grow together where a tag was."""
    return _TAG.sub(" ", text)


def without_speaker_tags(text: Sourced) -> Sourced:
    """Return `text` as `remove_speaker_tags` has it."""
    return text.sub(_TAG, " ")
