"""Texts to measure with: ordinary English sentences, made from a seed, no two of them alike.

Repeated texts flatter: servers that keep what they computed for a prompt then measure their memory.
"""

import random

_ADJECTIVES = (
    "amber ancient bitter bright broken calm careful clever cold crooked dusty early eager empty "
    "faded famous gentle golden grey heavy hidden hollow humble idle late lonely loud lucky mild "
    "modest narrow noisy old pale patient plain polite proud quiet rapid rough rusty secret sharp "
    "shy silent silver simple slow small steep stern strange sturdy sudden tall tired tiny warm "
    "weary wide wild young"
)
_NOUNS = (
    "anchor apple baker bridge bucket candle carpenter castle cellar clock cloud coat compass "
    "corner cottage cousin doctor engine farmer feather ferry field fiddle fisherman forest garden "
    "gate harbour hammer hill island journey kettle kitchen ladder lantern letter lighthouse "
    "market meadow mill mirror morning mountain neighbour orchard painter pocket potter river "
    "road sailor saddle school shadow shepherd stable station storm teacher tower traveller "
    "valley village violin wagon window winter"
)
_VERBS = (
    "answered admired built carried chased circled counted crossed described discovered examined "
    "feared followed forgot found gathered greeted guarded hid joined kept left lifted liked "
    "measured mended met missed needed noticed opened painted passed praised pulled pushed raised "
    "reached remembered repaired saved shared sketched sold studied trusted understood visited "
    "watched welcomed"
)
_ADVERBS = (
    "again almost badly boldly briefly calmly daily early easily fairly firmly gladly hardly "
    "kindly lately loudly mostly neatly never often once openly politely proudly quickly quietly "
    "rarely sadly safely seldom slowly softly soon suddenly today together twice warmly weekly"
)
_LINKS = "across after along behind beneath beside beyond near past towards under without"
MIN_CHARS = 25
"""Shorter ones soon repeat."""


class TextMaker:
    """Makes texts; the same seed makes the same ones in the same order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._adjectives, self._nouns = _ADJECTIVES.split(), _NOUNS.split()
        self._verbs, self._adverbs = _VERBS.split(), _ADVERBS.split()
        self._links = _LINKS.split()
        self._made: set[str] = set()

    def make(self, num_chars: int) -> str:
        """A text that was not made before, of at most `num_chars` characters and at most 16 less.

        num_chars: at least MIN_CHARS.
        """
        if num_chars < MIN_CHARS:
            raise ValueError(f"a text has at least {MIN_CHARS} characters")
        while (text := self._write(num_chars)) in self._made:
            pass
        self._made.add(text)
        return text

    def _write(self, num_chars: int) -> str:
        text = self._sentence()
        while len(text) < num_chars:
            text += f" {self._sentence()}"
        if len(text) > num_chars:
            # Ends at a word, with a full stop: a text that breaks off sounds like no text at all.
            text = text[:num_chars].rpartition(" ")[0].rstrip(".,") + "."
        return text

    def _sentence(self) -> str:
        pick = self._random.choice
        adjectives, nouns = self._adjectives, self._nouns
        return (
            f"The {pick(adjectives)} {pick(nouns)} {pick(self._adverbs)} {pick(self._verbs)} the "
            f"{pick(adjectives)} {pick(nouns)} {pick(self._links)} the {pick(nouns)}."
        )
