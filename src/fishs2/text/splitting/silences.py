"""The usual silence between two utterances, by what ended the first."""

from dataclasses import dataclass
from typing import NamedTuple

from fishs2.text.splitting.cut import Boundary

_USUAL_S: dict[Boundary, float] = {
    "scene": 1.2,
    "paragraph": 0.6,
    "line": 0.3,
    "sentence": 0.3,
    "clause": 0.12,
    "word": 0.0,
}
"""In seconds: common reading pauses."""


class Silence(NamedTuple):
    """is_exact: it stays so long at any speed; otherwise it is a part of the speech."""

    seconds: float
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Silences:
    """What somebody wishes instead, in seconds; None is the usual.

    A wish separates what would be spoken in one go otherwise: sentences, or lines that are meant
    as such.
    """

    sentence_s: float | None = None
    line_s: float | None = None
    paragraph_s: float | None = None

    @property
    def apart(self) -> frozenset[Boundary]:
        """What ends an utterance for the sake of the silence behind it."""
        wishes: dict[Boundary, float | None] = {"sentence": self.sentence_s, "line": self.line_s}
        return frozenset(boundary for boundary, wish_s in wishes.items() if wish_s is not None)

    def after(self, boundary: Boundary) -> Silence:
        """The silence behind what `boundary` ends."""
        wish_s = {"sentence": self.sentence_s, "line": self.line_s, "paragraph": self.paragraph_s}
        # A break between scenes is as much longer as it usually is.
        factor = _USUAL_S["scene"] / _USUAL_S["paragraph"] if boundary == "scene" else 1.0
        wished_s = wish_s.get("paragraph" if boundary == "scene" else boundary)
        if wished_s is None:
            return Silence(_USUAL_S[boundary], is_exact=False)
        return Silence(factor * wished_s, is_exact=True)

    def or_else(self, other: "Silences") -> "Silences":
        """These, and those of `other` where there is no wish."""
        return Silences(
            other.sentence_s if self.sentence_s is None else self.sentence_s,
            other.line_s if self.line_s is None else self.line_s,
            other.paragraph_s if self.paragraph_s is None else self.paragraph_s,
        )


def boundary_of(text: str) -> Boundary:
    """What ends where `text` ends, wherever it goes on."""
    words = text.rstrip()
    if text.count("\n", len(words)) > 1:
        return "paragraph"
    return "word" if words[-1:].isalnum() else "sentence"
