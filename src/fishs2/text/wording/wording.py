"""A text in words and plain letters, for an engine that reads only those.

The service writes an utterance out just before such an engine gets it (`Capabilities.spelling`), so
that everything before it, and the client, still sees the text as it was sent.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from fishs2.text.edits import Edit
from fishs2.text.emoji import find_emoji_names
from fishs2.text.sourced import Sourced
from fishs2.text.wording import english, money
from fishs2.text.wording.plain import find_plain_spellings

_Rule = Callable[[str], Iterable[Edit]]

# eSpeak NG says a letter no more than three times running; a blank that is nothing to read ends a
# run without a sound.
_REPEATED_LETTER = re.compile(r"(?<!\w)([^\W\d_])(?:[ -]\1){3,}(?!\w)", re.IGNORECASE)
_UNREAD_WORD = " \u200b "

_SPACES = re.compile(" {2,}| +(?=\n)|(?<=\n) +")
_ENDS = re.compile(r"\A +| +\Z")


def write_out(text: Sourced, language: str) -> Sourced:
    """Return what is said of `text`; "" if that is nothing. Takes time linear in the text.

    text: as `normalize_text` gives it. language: of the voice, as eSpeak NG names it.
    """
    is_english = language.partition("-")[0] == "en"
    prices: _Rule = (
        english.find_prices if is_english else partial(money.find_prices, language=language)
    )
    text = text.edit(find_emoji_names(text.text, language))
    if is_english:
        text = text.edit(english.find_formulas(text.text))
    text = text.edit(find_plain_spellings(text.text)).recompose()
    rules: list[_Rule] = [prices, *([english.find_years] if is_english else []), _find_repeats]
    for find in rules:
        text = text.edit(find(text.text))
    return text.sub(_SPACES, _squeezed).sub(_ENDS, "")


def _find_repeats(text: str) -> Iterator[Edit]:
    for match in _REPEATED_LETTER.finditer(text):
        # Every second character is a letter.
        for at in range(match.start() + 1, match.end(), 2):
            yield Edit(at, at + 1, _UNREAD_WORD)


def _squeezed(spaces: re.Match[str]) -> str:
    at_line_end = spaces.string[spaces.end() : spaces.end() + 1] == "\n"
    at_line_start = spaces.string[spaces.start() - 1 : spaces.start()] == "\n"
    return "" if at_line_end or at_line_start else " "
