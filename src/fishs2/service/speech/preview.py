"""What would be spoken: utterances, voices, pauses, and what was changed in the text."""

from pydantic import BaseModel, Field

from fishs2.engines.base import find_sounds
from fishs2.service.speech.whole import WholeScript


class PreviewedUtterance(BaseModel):
    """One utterance as the engine gets it."""

    text: str
    voice: str
    start: int = Field(description="Where it begins in the text that was sent, in code points.")
    end: int
    pause_before: float | None = Field(
        None,
        description="Silence that a direction asks for before it, in seconds, if one does.",
        exclude_if=lambda seconds: seconds is None,
    )
    pause_after: float = Field(description="Silence that follows, in seconds.")


class Replaced(BaseModel):
    """A part of the text that is not spoken as it stands."""

    start: int
    end: int
    say: str


class Preview(BaseModel):
    """All of a text. replaced: in order; its places are those of the text as it was sent."""

    utterances: list[PreviewedUtterance]
    replaced: list[Replaced]


def preview(script: WholeScript) -> Preview:
    """What would be spoken of a script, without speaking it."""
    utterances = []
    for line, (start, end) in zip(script.lines, script.spans(), strict=True):
        text, chosen = script.plan.worded(line), script.plan.cast[line.speaker]
        # A stored voice, by its own name and not by that of who carries it.
        voice = chosen.name if chosen.references and chosen.name else line.utterance.voice
        utterances.append(
            PreviewedUtterance(
                text=_shown(text.text),
                voice=voice,
                start=start,
                end=end,
                pause_before=line.before_s,
                pause_after=line.silence_s,
            )
        )
    return Preview(
        utterances=utterances,
        replaced=[
            Replaced(start=each.start, end=each.end, say=_shown(each.say))
            for each in script.changes()
        ],
    )


def _shown(text: str) -> str:
    """A text with its IPA between slashes, as people write it."""
    for start, end, ipa in reversed(find_sounds(text)):
        text = f"{text[:start]}/{ipa}/{text[end:]}"
    return text
