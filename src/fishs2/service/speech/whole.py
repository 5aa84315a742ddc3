"""A text that is all there as a script: every utterance is written before the first is spoken."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from typing import Any

from fishs2 import __version__
from fishs2.errors import UserError
from fishs2.service.speech.plan import SpeechPlan, check_chars
from fishs2.service.speech.script import Line, number_parts
from fishs2.text.directing.pauses import SilenceCount
from fishs2.text.edits import Edit
from fishs2.text.sourced import cut_source, find_changes
from fishs2.text.turns import speaker_tag


@dataclass(frozen=True, slots=True)
class WholeScript:
    """What is spoken of a request: nothing in it is left to refuse. At least one line."""

    plan: SpeechPlan
    lines: tuple[Line, ...]

    @property
    def num_chars(self) -> int:
        """Characters of the text, as it was sent."""
        return len(self.plan.request.text)

    @property
    def num_utterances(self) -> int:
        """All of them."""
        return len(self.lines)

    @property
    def is_idle(self) -> bool:
        """It waits for no text, so it keeps its place among the requests to its end."""
        return False

    @property
    def sources(self) -> Sequence[str]:
        """The text of each utterance, as it was sent; joined, the whole text."""
        return cut_source(self.plan.request.text, [line.text for line in self.lines])

    def source(self, start: int, end: int) -> str:
        """A part of the text, as it was sent."""
        return self.plan.request.text[start:end]

    def spans(self) -> list[tuple[int, int]]:
        """Where each utterance begins and ends in the text, as it was sent."""
        ends = list(accumulate(len(source) for source in self.sources))
        return list(pairwise([0, *ends]))

    def changes(self) -> list[Edit]:
        """What is not spoken as it was sent, in order."""
        words = [self.plan.worded(line) for line in self.lines]
        return find_changes(self.plan.request.text, words)

    @property
    def tail_s(self) -> float:
        """Silence after the last line, beside what that asks for."""
        return 0.0

    @property
    def has_louder_parts(self) -> bool:
        """Whether a part of it is to be louder than the rest."""
        return any(line.manner.volume_db > 0 for line in self.lines)

    async def line(self, index: int) -> Line | None:
        """The line of this number, from 0; None after the last."""
        return self.lines[index] if index < len(self.lines) else None

    def content_key(self, *, engine: str) -> str:
        """A digest of everything that shapes the sound.

        engine: names engine, backend and model, as their sounds differ. What only says who asks, or
        how the engine is to work, is left out.
        """
        utterances = [
            {
                "text": line.utterance.text,
                "voice": line.utterance.voice,
                "references": [each.key for each in line.utterance.references],
                "sampling": _values(line.utterance.sampling),
            }
            for line in self.lines
        ]
        everything = {
            "version": __version__,
            "engine": engine,
            "utterances": utterances,
            "silences": [
                (line.before_s, line.silence_s, line.is_exact or line.rest_s is not None)
                for line in self.lines
            ],
            "manners": [_values(line.manner) for line in self.lines],
            "format": _values(self.plan.format),
            "effects": _values(self.plan.request.effects),
        }
        canonical = json.dumps(everything, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def write_whole(plan: SpeechPlan, *, max_chars: int) -> WholeScript:
    """The script of all of a plan's text. Raises UserError `input_too_long`, `empty_input`."""
    text = plan.request.text
    check_chars(text, max_chars=max_chars)
    directed = plan.direct(text)
    SilenceCount().add(directed)
    before = (speaker_tag(plan.narrator) if plan.narrator else "") + plan.directions
    lines = plan.write(directed, before=before) if plan.can_speak(directed) else []
    if not lines:
        raise nothing_to_speak()
    return WholeScript(plan, number_parts(lines, is_continuous=plan.request.is_continuous))


def nothing_to_speak() -> UserError:
    """The text has no letter and no digit that the engine knows."""
    return UserError(
        "the text has nothing that can be spoken: send at least one letter or digit",
        code="empty_input",
        param="input",
    )


def _values(record: Any) -> dict[str, object]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
