"""Cues: places in a text where something happens that is no speech.

    "Wait.[pause:1s] Go."   ->   "Wait.\N{SYMBOL FOR RECORD SEPARATOR} Go."   and a cue of 1 s at
                                 the place of the mark

A text is cleaned and normalised with its marks in it, so that the rules see it whole; then it is
cut at them. A mark that somebody wrote is text: it stands at the place of no cue.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from fishs2.text.sourced import Sourced
from fishs2.text.splitting.cut import Boundary

MARK = "\N{SYMBOL FOR RECORD SEPARATOR}"
"""Stands where a cue is. No rule of cleaning changes it."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a part of a text is spoken beside the rest: how many times as fast, how much louder."""

    speed: float = 1.0
    volume_db: float = 0.0


PLAIN = Manner()
"""As everything else."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What happens at one place. pause_s: silence, in seconds, in place of the usual one; None is
    no wish. boundary: what ends here; None is seen from the text. manner: of all that follows.
    """

    pause_s: float | None = None
    boundary: Boundary | None = None
    manner: Manner | None = None


Cues = Mapping[tuple[int, int], Cue]
"""By where they stand in the source, from start to end."""


@dataclass(frozen=True, slots=True, eq=False)
class Directed:
    """A text with marks, and what they mean."""

    text: Sourced
    cues: Cues = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Text from one cue to the next. manner: how it is spoken.

    cue: what ends it; None is the end of the text.
    """

    text: Sourced
    manner: Manner
    cue: Cue | None


def find_stretches(text: Sourced, cues: Cues, manner: Manner = PLAIN) -> Iterator[Stretch]:
    """Yield the stretches of a text with marks, in order; at least one, and blank ones too.

    manner: at its start.
    """
    start = 0
    at = text.text.find(MARK) if cues else -1
    while at >= 0:
        cue = cues.get((int(text.starts[at]), int(text.ends[at])))
        if cue is not None:
            yield Stretch(text.select(start, at), manner, cue)
            start, manner = at + 1, cue.manner or manner
        at = text.text.find(MARK, at + 1)
    yield Stretch(text.select(start, len(text.text)), manner, None)


def select_marks(text: Sourced) -> Sourced:
    """The marks of a text alone."""
    at = [index for index, character in enumerate(text.text) if character == MARK]
    return Sourced(MARK * len(at), text.starts[at], text.ends[at])
