"""Pauses that a text asks for: `[pause]`, `[pause:1.5s]`, `[pause:800ms]`.

They are exact on every engine, so they are no tags: S2's own `[short pause]`, and all others, stay
in the text.
"""

import re

from fishs2.errors import UserError
from fishs2.text.directing.cues import MARK, Cue, Directed
from fishs2.text.edits import Edit
from fishs2.text.sourced import Sourced

PAUSE_S = 0.6
"""What `[pause]` is: as long as between two paragraphs."""

MAX_PAUSE_S = 10.0
MAX_PAUSES = 1_000
MAX_SILENCE_S = 600.0
"""All pauses of a request together: a text of 12,000 characters is some 15 minutes of speech."""

_PAUSE = re.compile(
    r"\[\s*pause\s*(?:(?P<sign>[:=])(?P<value>[^\[\]\n]{0,300})|(?P<bare>\s\d[^\[\]\n]{0,40}))?\]",
    re.IGNORECASE,
)
_VALUE = re.compile(
    r"\s*(?P<number>\d{1,9}(?:[.,]\d{1,9})?|[.,]\d{1,9})\s*"
    r"(?P<unit>ms|milliseconds?|s|secs?|seconds?|)\s*",
    re.IGNORECASE,
)


def direct_pauses(text: Sourced) -> Directed:
    """The text with a cue for each pause. Raises UserError `invalid_pause`, `pause_too_long`."""
    edits: list[Edit] = []
    cues: dict[tuple[int, int], Cue] = {}
    for match in _PAUSE.finditer(text.text):
        given = match["value"] if match["sign"] else match["bare"]
        seconds = PAUSE_S if given is None else read_pause(given)
        cues[text.span(*match.span())] = Cue(pause_s=seconds)
        edits.append(Edit(*match.span(), MARK))
    return Directed(text.edit(edits), cues)


def read_pause(given: str) -> float:
    """A time such as 1.5s, 800ms or 2, in seconds. Raises as `direct_pauses`."""
    match = _VALUE.fullmatch(given)
    if match is None:
        raise UserError(
            f'a pause in the text is "{given.strip()[:40]}", which is no time; write [pause:1.5s], '
            f"[pause:800ms] or [pause], at most {MAX_PAUSE_S:g} s",
            code="invalid_pause",
            param="input",
        )
    number = float(match["number"].replace(",", "."))
    seconds = number / 1_000 if match["unit"].lower().startswith("m") else number
    if seconds > MAX_PAUSE_S:
        raise UserError(
            f"a pause in the text is {seconds:g} s long; the limit is {MAX_PAUSE_S:g} s: write "
            "several in a row",
            code="pause_too_long",
            param="input",
        )
    return seconds


class SilenceCount:
    """Counts the pauses of one request, so that a short text makes no endless silence."""

    def __init__(self) -> None:
        self._num_pauses = 0
        self._seconds = 0.0

    def add(self, directed: Directed) -> None:
        """Count those of more text. Raises UserError `too_many_pauses`, `pause_too_long`."""
        pauses_s = [cue.pause_s for cue in directed.cues.values() if cue.pause_s is not None]
        self._num_pauses += len(pauses_s)
        self._seconds += sum(pauses_s)
        if self._num_pauses > MAX_PAUSES:
            raise UserError(
                f"the text has {self._num_pauses:,} pauses; the limit is {MAX_PAUSES:,}: send it "
                "in parts",
                code="too_many_pauses",
                param="input",
            )
        if self._seconds > MAX_SILENCE_S:
            raise UserError(
                f"the pauses of the text are {self._seconds:,.0f} s together; the limit is "
                f"{MAX_SILENCE_S:,.0f} s: send it in parts",
                code="pause_too_long",
                param="input",
            )
