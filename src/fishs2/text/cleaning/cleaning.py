"""What is left out of a text before anybody speaks it, or put in words, as places in the text.

    off        nothing but what no engine should see
    minimal    marks of links, characters written by their names (`&amp;`)
    markdown   also the marks of Markdown and HTML, code, a language model's thoughts
    full       the same; `text.figures` then says figures and signs in words

Directions are left out for an engine that would read them aloud, emoji where the request skips
them. `service.speech.script` cleans.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from fishs2.text.cleaning.links import find_link_marks
from fishs2.text.cleaning.markdown import find_markdown
from fishs2.text.cleaning.markup import find_entities, find_html, find_literal_breaks, find_thoughts
from fishs2.text.edits import Edit
from fishs2.text.emoji import EmojiReading, find_emoji_marks
from fishs2.text.normalize import has_speech, normalize, normalize_text
from fishs2.text.sourced import Sourced
from fishs2.text.splitting.breaks import is_scene_break
from fishs2.text.tags import Span, find_directions, find_removals, remove_tags

TextCleaning = Literal["off", "minimal", "markdown", "full"]
"""How much is taken out of a text that was not written to be spoken."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """How a text is cleaned. speaks_tags: the engine acts on tags; emoji: whether they are read."""

    speaks_tags: bool = False
    emoji: EmojiReading = "read"
    mode: TextCleaning = "minimal"

    def clean(self, text: Sourced) -> Sourced:
        """Return what is spoken of `text`, normalised; "" if it has nothing to pronounce."""
        for find in _RULES[self.mode]:
            text = text.edit(find(text.text))
        text = normalize(text.edit(find_removals(text.text, self._find_left_out(text.text))))
        bare = normalize_text(remove_tags(text.text)) if self.speaks_tags else text.text
        lines = [line for line in bare.split("\n") if not is_scene_break(line)]
        return text if has_speech("\n".join(lines)) else text.select(0, 0)

    def _find_left_out(self, text: str) -> list[Span]:
        directions = [] if self.speaks_tags else find_directions(text)
        emoji = find_emoji_marks(text) if self.emoji == "skip" else []
        return _without_overlaps([*directions, *emoji])


def _find_links(text: str) -> Iterable[Edit]:
    return (Edit(*span, "") for span in find_link_marks(text))


_MARKDOWN: list[Callable[[str], Iterable[Edit]]] = [
    find_thoughts,
    find_literal_breaks,
    _find_links,
    find_html,
    find_markdown,
    find_entities,
]
_RULES: dict[TextCleaning, list[Callable[[str], Iterable[Edit]]]] = {
    "off": [],
    "minimal": [_find_links, find_entities],
    "markdown": _MARKDOWN,
    "full": _MARKDOWN,
}
"""What is found and changed, one after the other."""


def _without_overlaps(spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
