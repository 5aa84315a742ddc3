"""What is left out of a text before anybody speaks it, as places in the text that was sent.

Marks of links are left out for every engine, directions for one that would read them aloud, emoji
where the request skips them. `service.speech.script` cleans, `source` finds the way back.
"""

from dataclasses import dataclass

from fishs2.text.breaks import is_scene_break
from fishs2.text.edits import Edit, apply_edits
from fishs2.text.emoji import EmojiReading, find_emoji_marks
from fishs2.text.links import find_link_marks
from fishs2.text.normalize import has_speech, normalize_text
from fishs2.text.tags import (
    Span,
    find_directions,
    find_leading_controls,
    find_tags,
    remove_spans,
    remove_tags,
)


@dataclass(frozen=True, slots=True)
class Cleaning:
    """How a text is cleaned. speaks_tags: the engine acts on tags; emoji: whether they are read."""

    speaks_tags: bool = False
    emoji: EmojiReading = "read"

    def clean(self, text: str) -> str:
        """Return what is spoken of `text`, normalised; "" if it has nothing to pronounce."""
        unlinked = apply_edits(text, [Edit(*span, "") for span in find_link_marks(text)])
        cleaned = normalize_text(remove_spans(unlinked, self._find_left_out(unlinked)))
        bare = normalize_text(remove_tags(cleaned)) if self.speaks_tags else cleaned
        lines = [line for line in bare.split("\n") if not is_scene_break(line)]
        return cleaned if has_speech("\n".join(lines)) else ""

    def find_unread(self, text: str, *, is_start: bool) -> list[Span]:
        """Return the spans of marks and directions: they are in no utterance, or not as words.

        text: as sent, or an utterance of it. is_start: it begins here, where a `(control)` may be.
        """
        marks = find_link_marks(text)
        # Of the same length, so that places stay, and without brackets that look like tags.
        unlinked = apply_edits(text, [Edit(a, b, " " * (b - a)) for a, b in marks])
        left_out = self._find_left_out(unlinked)
        if self.speaks_tags:
            left_out += find_tags(unlinked)
            left_out += find_leading_controls(unlinked) if is_start else []
        return [*marks, *left_out]

    def _find_left_out(self, text: str) -> list[Span]:
        directions = [] if self.speaks_tags else find_directions(text)
        emoji = find_emoji_marks(text) if self.emoji == "skip" else []
        return _without_overlaps([*directions, *emoji])


def _without_overlaps(spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
