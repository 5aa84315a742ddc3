"""Character classes that several modules of `text` share; bodies for `[...]` in a pattern.

No rules here. `graphemes`, `lines`, `sentences`, `cut` and `tags` read them.
"""

UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u0f00-\u0fff"  # Tibetan
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3000-\u30ff"  # CJK punctuation, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uff00-\uff9f"  # full-width forms, half-width kana
    "\U00020000-\U0003ffff"  # rarer Han
)
"""Scripts whose words are not separated by spaces: two lines of them join without one."""

PHRASE_SPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese, Khmer: a space ends a phrase there, as a comma does elsewhere."""

WIDE = "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60"
"""Characters that take two columns of a line (UAX #11, W and F of the basic plane)."""

GREEK = "\u0370-\u03ff\u1f00-\u1fff"

OPENERS = "\"'“”„‚‘’«»‹›(\\[{「『（【〈《¿¡"
"""What may stand before the first letter of a sentence; quotes go both ways by language."""

CLOSERS = (
    r"(?:[)\]}”’」』】）］｝〉》〕〗〙〛＂]"
    r"|[\"'“‘«‹»›](?!\w)"  # these open in one language and close in another: before a letter, open
    r"|[ ][»›](?=[\s,.;:]|$)"  # French sets a space inside its quotes
    r")*"
)
"""A whole pattern: the quotes and brackets that still belong to the sentence that just ended."""

TAG_MASK = "\ue000"
"""Stands for each character of a tag in a mask. Private use: `normalize_text` leaves none."""
