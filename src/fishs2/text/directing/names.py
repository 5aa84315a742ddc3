"""Speakers by name: `[Tom]` or `Tom:` at the start of a line, where a request has a cast.

They become the tags that `text.turns` knows. Without a cast, and elsewhere in a line, they are
text.
"""

import re
from collections.abc import Iterator, Sequence

from fishs2.errors import UserError
from fishs2.text.edits import Edit
from fishs2.text.sourced import Sourced
from fishs2.text.tags import find_directions
from fishs2.text.turns import speaker_tag, speakers_in

MAX_NAME_CHARS = 64

_BRACKETED = rf"\[(?P<bracketed>[^\[\]\n]{{1,{MAX_NAME_CHARS}}})\][ \t]*:?"
_IS_NAME = re.compile(r"\s*(?!\d)\w")


def tag_speakers(text: Sourced, names: Sequence[str]) -> Sourced:
    """The text with a tag for each name of a cast. Raises UserError `unknown_speaker`."""
    unknown = [number for number in speakers_in(text.text) if number >= len(names)]
    if unknown:
        raise UserError(
            f"the text has a turn of speaker {unknown[0]}, but the cast has {len(names)}, who "
            "count from 0",
            code="unknown_speaker",
            param="cast",
        )
    return text.edit(list(_find(text.text, names)))


def tidy_name(name: str) -> str:
    """A name as it is compared: case and spaces count for nothing."""
    return " ".join(name.split()).casefold()


def _find(text: str, names: Sequence[str]) -> Iterator[Edit]:
    numbers = {tidy_name(name): number for number, name in enumerate(names)}
    longest_first = sorted(names, key=len, reverse=True)
    said = "|".join(r"\s+".join(map(re.escape, name.split())) for name in longest_first)
    head = re.compile(
        rf"^[ \t]*(?:{_BRACKETED}|(?:\*\*)?(?P<said>{said})(?:\*\*)?[ \t]*[:：](?:\*\*)?)[ \t]*",
        re.MULTILINE | re.IGNORECASE,
    )
    for match in head.finditer(text):
        name = match["bracketed"] or match["said"]
        number = numbers.get(tidy_name(name))
        if number is not None:
            yield Edit(*match.span(), speaker_tag(number))
        elif _names_somebody(name):
            raise UserError(
                f'the text has a turn of "{name}", who is not in the cast; in it are '
                f"{', '.join(names)}",
                code="unknown_speaker",
                param="cast",
            )


def _names_somebody(words: str) -> bool:
    """Whether what stands in brackets is a name: no direction, and not in lower case, as S2's tags
    are worded.
    """
    is_direction = bool(find_directions(f"[{words}]")) or words.strip().lower().startswith("pause")
    return bool(_IS_NAME.match(words)) and not words.strip()[0].islower() and not is_direction
