"""Speech that is heard again: how far it is from what was to be said, and what is told of it.

A word error rate says nothing of how something sounds, and Whisper writes some words otherwise than
they were written: a few differences are no fault.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Capabilities, Utterance
from fishs2.errors import BusyError, ListeningError
from fishs2.listening.base import Wish
from fishs2.listening.comparing import Difference, compare, without_directions
from fishs2.listening.languages import find_language
from fishs2.service.listening import Listening

logger = logging.getLogger(__name__)

Outcome = Literal["ok", "respoken", "differs", "unheard"]
"""As written; as written after it was spoken again; not so, whatever was tried; nobody could hear
it."""

_MAX_RATE = 0.34
_MAX_RUN = 5
_FEW_ERRORS = 2
"""More is far: in a short utterance one name that is written otherwise is a third of it.
Source: docs/benchmarks.md, the words of `builtin` as Whisper base hears them."""

Verify = Callable[[Pcm], Awaitable[Difference | None]]
"""Hears an utterance again; None where it could not be heard."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one utterance. num_respoken: how often it was spoken again for it."""

    outcome: Outcome
    difference: Difference | None
    num_respoken: int = 0

    def is_better_than(self, other: "Verdict | None") -> bool:
        """Whether it is nearer to what was written; what was heard is better than what was not."""
        if other is None or other.difference is None:
            return True
        return self.difference is not None and (
            self.difference.num_errors < other.difference.num_errors
        )


def judge(difference: Difference | None, num_respoken: int) -> Verdict:
    """The verdict on an utterance that was spoken again so often."""
    if difference is None:
        return Verdict("unheard", None, num_respoken)
    if is_far(difference):
        return Verdict("differs", difference, num_respoken)
    return Verdict("respoken" if num_respoken else "ok", difference, num_respoken)


def is_far(difference: Difference) -> bool:
    """Whether something else was said than was written."""
    if difference.longest_run > _MAX_RUN:
        return True
    return difference.num_errors > _FEW_ERRORS and difference.rate > _MAX_RATE


class Verifier:
    """Hears what an engine has spoken. For one event loop."""

    def __init__(self, listening: Listening, engine: Capabilities) -> None:
        self._listening = listening
        self._engine = engine

    def check(self) -> None:
        """Raise ListenerMissingError where nothing can hear."""
        self._listening.check()

    def of(self, utterance: Utterance, speakable: str, language: str | None) -> Verify:
        """What hears one utterance. speakable: its text as the engine got it."""
        texts = {without_directions(text) for text in (utterance.text, speakable)}
        wish = Wish(self._language(utterance, language))

        async def verify(pcm: Pcm) -> Difference | None:
            try:
                heard = await self._listening.hear(pcm, self._engine.sample_rate_hz, wish)
            except (ListeningError, BusyError) as error:
                logger.warning("speech could not be verified: %s", error.message)
                return None
            # Numbers are heard in digits or in words.
            return min((compare(text, heard.text) for text in texts), key=lambda d: d.num_errors)

        return verify

    def _language(self, utterance: Utterance, language: str | None) -> str | None:
        """The one that is asked for, or that the engine's voice is for."""
        if language:
            return find_language(language)
        # Its names are languages, such as en-us.
        is_named = self._engine.spelling == "plain" and utterance.voice
        return find_language(utterance.voice or "") if is_named else None


def summarise(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """All verdicts of a speech as one; utterances are counted from 0."""
    known = [each.difference for each in verdicts if each.difference is not None]
    num_words = sum(each.num_words for each in known)
    num_errors = sum(each.num_errors for each in known)
    outcomes = [each.outcome for each in verdicts]
    order: tuple[Outcome, ...] = ("differs", "unheard", "respoken")
    return {
        "outcome": next((each for each in order if each in outcomes), "ok"),
        "word_error_rate": round(num_errors / max(1, num_words), 4),
        "longest_run": max((each.longest_run for each in known), default=0),
        "respoken": sum(each.num_respoken for each in verdicts),
        "utterances": [_tell(each) for each in verdicts],
    }


def verify_header(verdicts: Sequence[Verdict]) -> str:
    """The same in one line; the utterances that differ by their numbers, at most 20 of them."""
    whole = summarise(verdicts)
    line = ", ".join(
        f"{name}={whole[name]}"
        for name in ("outcome", "word_error_rate", "longest_run", "respoken")
    )
    bad = [str(i) for i, each in enumerate(verdicts) if each.outcome in ("differs", "unheard")]
    return f"{line}, utterances={' '.join(bad[:20])}" if bad else line


def _tell(verdict: Verdict) -> dict[str, object]:
    difference = verdict.difference
    return {
        "outcome": verdict.outcome,
        "word_error_rate": None if difference is None else round(difference.rate, 4),
        "longest_run": None if difference is None else difference.longest_run,
        "respoken": verdict.num_respoken,
    }
