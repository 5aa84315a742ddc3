"""Emoji: where they are, and what each is called.

One emoji is one name, however many characters draw it: variation selectors and skin tones say
nothing, a ZWJ sequence or a flag has a name of its own. Source: UTS #51, ED-16 and ED-17; the names
are CLDR's, from the `emoji` package, which has them in the languages of `_LANGUAGES`.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Literal

from emoji import EMOJI_DATA
from emoji.unicode_codes import load_from_json

from fishs2.text.edits import Edit

EmojiReading = Literal["read", "skip"]
"""Whether emoji are read by name or left out."""

_LANGUAGES = {
    "ar": "ar", "cmn": "zh", "de": "de", "en": "en", "es": "es", "fa": "fa", "fr": "fr", "id": "id",
    "it": "it", "ko": "ko", "pt": "pt", "ru": "ru", "tr": "tr", "zh": "zh",
}  # fmt: skip
"""Languages whose names there are, by how voices and clients call them."""

_UNREADABLE = frozenset({"ja"})
"""Languages of which eSpeak NG reads no emoji at all: names in kanji would be spelled."""

_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
# One of these is in every emoji, and in few texts that have none: a quick look saves a slow one.
_SUSPECT = re.compile("[\u00a9\u00ae\u203c-\u3299\U0001f000-\U0001faff]")
_SELECTORS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
_TAIL = "[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]*(?:[\U000e0020-\U000e007e]+\U000e007f)?"
_ENCLOSED_LETTERS = "\U0001f130-\U0001f189"
_ENCLOSED_EMOJI = "🅰🅱🅾🅿"

_DRAWN_AS = {
    "👩\u200d🤝\u200d👨": "👫", "👩\u200d🤝\u200d👩": "👭", "👨\u200d🤝\u200d👨": "👬",
    "🧑\u200d❤\u200d🧑": "💑", "🧑\u200d❤\u200d💋\u200d🧑": "💏", "🫱\u200d🫲": "🤝",
}  # fmt: skip
"""Sequences that exist only with skin tones, and the emoji that they are without."""


@cache
def _pattern() -> re.Pattern[str]:
    """Matches one emoji, however it is composed; takes time linear in a text without end."""
    pictures = [name for name in EMOJI_DATA if len(name) == 1 and name >= "\u2600"]
    base = _char_class([*(set(pictures) - set(_ENCLOSED_EMOJI) - set("〰〽㊗㊙"))])
    signs = _char_class([name[0] for name in EMOJI_DATA if len(name) == 2 and name[1] == "\ufe0f"])
    letters = f"(?<![{_ENCLOSED_LETTERS}])[{_ENCLOSED_EMOJI}](?![{_ENCLOSED_LETTERS}])"
    element = f"(?:{base}|{signs}\ufe0f|{letters}){_TAIL}"
    return re.compile(
        "[\U0001f1e6-\U0001f1ff]{2}|[0-9#*]\ufe0f?\u20e3"
        f"|{element}(?:\u200d(?:{base}|[\u2190-\u2bff]){_TAIL})*"
    )


def find_emoji(text: str) -> Iterator[re.Match[str]]:
    """Yield the emoji of `text`, in order.

    Signs that are text by default, such as © and ↔, are emoji with the selector behind them only.
    """
    return _pattern().finditer(text) if _SUSPECT.search(text) else iter(())


def find_emoji_names(text: str, language: str) -> Iterator[Edit]:
    """Yield each emoji of `text` with its name, set apart from words beside it.

    language: of the voice, as eSpeak NG names it. Without a list of names for it, the name is the
    emoji alone, without what changes it: eSpeak NG knows many.
    """
    end = 0
    for match in find_emoji(text):
        name = _name(match.group(), language)
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        is_beside = before.isalnum() or (before and end == match.start())
        end = match.end()
        front = " " if name and is_beside else ""
        # An emoji that follows sets itself apart.
        yield Edit(match.start(), end, f"{front}{name}{' ' if after.isalnum() else ''}")


def find_emoji_marks(text: str) -> list[tuple[int, int]]:
    """Return the spans of what is left out where emoji are skipped; the digit of a keycap stays."""
    return [
        (match.start() + (match.group()[-1] == "\u20e3"), match.end()) for match in find_emoji(text)
    ]


def _name(emoji: str, language: str) -> str:
    root = language.partition("-")[0]
    bare = _SELECTORS.sub("", emoji) or emoji
    if bare[-1] == "\u20e3":
        return bare[0]
    if root in _UNREADABLE:
        return ""
    if root not in _LANGUAGES:
        return bare if _FLAG.match(bare) else bare[0]
    names = _names(_LANGUAGES[root])
    bare = _DRAWN_AS.get(bare, bare)
    if bare in names:
        return names[bare]
    # No emoji that is known as one: several are drawn.
    return " ".join(names[part] for part in bare.split("\u200d") if part in names)


@cache
def _names(language: str) -> dict[str, str]:
    """CLDR short names by emoji without selectors and skin tones."""
    load_from_json(language)
    names: dict[str, str] = {}
    for emoji, known in EMOJI_DATA.items():
        if language in known and not re.search("[\U0001f3fb-\U0001f3ff]", emoji[1:]):
            # ":A_button_(blood_type):"
            name = re.sub(r"\([^)]*\)|[_:]+", " ", known[language]).strip()
            names.setdefault(_SELECTORS.sub("", emoji) or emoji, name)
    return names


def _char_class(characters: list[str]) -> str:
    """A pattern for one of `characters`, as ranges."""
    codes = sorted({ord(character) for character in characters})
    runs = groupby(enumerate(codes), key=lambda item: item[1] - item[0])
    ranges = []
    for _, run in runs:
        points = [code for _, code in run]
        ranges.append(f"\\U{points[0]:08x}-\\U{points[-1]:08x}")
    return f"[{''.join(ranges)}]"
