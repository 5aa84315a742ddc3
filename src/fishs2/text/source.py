"""Which part of a text an utterance came from.

Utterances are not the text as it was sent: spaces are joined, tags removed or repeated, accents
composed, addresses of links left out. Letters and digits that are read survive all of it, so they
are what is counted.
"""

from collections.abc import Sequence

from fishs2.text.cleaning import Cleaning
from fishs2.text.turns import find_speaker_tags


def split_source(text: str, utterances: Sequence[str], cleaning: Cleaning) -> list[str]:
    """Cut `text` into one part per utterance; joined, they are `text`, to the character.

    utterances: what was made of the text by `cleaning`, in order; at least one. Borders fall
    between words. Takes time linear in the text.
    """
    unread = dict([*cleaning.find_unread(text, is_start=True), *find_speaker_tags(text)])
    is_read = _mark_read(text, cleaning, is_start=True)
    parts: list[str] = []
    start = at = 0
    for index, utterance in enumerate(utterances[:-1]):
        num_left = sum(_mark_read(utterance, cleaning, is_start=index == 0))
        while at < len(text) and num_left > 0:
            num_left -= is_read[at]
            at += 1
        # What closes the sentence, and the space behind it; a tag opens the next.
        while at < len(text) and not (is_read[at] or text[at].isspace()):
            if at in unread and not _closes(text[unread[at] : unread[at] + 1]):
                break
            at = unread.get(at, at + 1)
        while at < len(text) and text[at].isspace():
            at += 1
        parts.append(text[start:at])
        start = at
    return [*parts, text[start:]]


def _closes(following: str) -> bool:
    """Whether what follows a tag shows that it still belongs to the sentence before."""
    return bool(following) and not (
        following.isalnum() or following.isspace() or following in "[(<"
    )


def _mark_read(text: str, cleaning: Cleaning, *, is_start: bool) -> list[bool]:
    """For each character whether it is a letter or digit that is read aloud.

    is_start: the text begins here, where a `(control)` may stand.
    """
    is_read = [character.isalnum() for character in text]
    for start, end in [*cleaning.find_unread(text, is_start=is_start), *find_speaker_tags(text)]:
        is_read[start:end] = [False] * (end - start)
    return is_read
