"""Style directions inside the text: finding, removing and making them.

S2 reads free-form `[tags]`, its predecessor S1 a fixed list of `(tags)`, and the original wrapper
takes any `(control)` in front of the text: `find_tags` and `find_leading_controls` are for an
engine that acts on them. Any other must lose no words: for it `find_directions` finds only what is
worded as S2's documented tags are; "[John] went home [sic]." is text.
Strings such as `<|speaker:0|>` are the engine's protocol, not a matter of this module.
"""

import re
from collections.abc import Iterator, Sequence

from fishs2.text.edits import Edit, apply_edits
from fishs2.text.graphemes import find_grapheme_border
from fishs2.text.normalize import has_speech, normalize_text
from fishs2.text.scripts import UNSPACED

Span = tuple[int, int]
"""Start and end offset of a tag in a text."""

MAX_TAG_CHARS = 300
"""Longest `[tag]`; anything longer in brackets is text that an author put there."""

MAX_CONTROL_CHARS = 512
"""Longest `(control)` in front of the text; the limit of the original wrapper."""

# The documented emotions, tones and effects of Fish Audio S1, and near forms that users write.
_S1_TAGS = frozenset(
    re.split(
        r",\s+",
        """happy, sad, angry,
    excited, calm, nervous, confident, surprised, satisfied, delighted, scared,
    worried, upset, frustrated, depressed, empathetic, embarrassed, disgusted, moved, proud,
    relaxed, grateful, curious, sarcastic, disdainful, unhappy, anxious, hysterical, indifferent,
    uncertain, doubtful, confused, disappointed, regretful, guilty, ashamed, jealous, envious,
    hopeful, optimistic, pessimistic, nostalgic, lonely, bored, contemptuous, sympathetic,
    compassionate, determined, resigned, impatient, scornful, comforting, sincere, sneering,
    hesitating, yielding, painful, awkward, amused, joyful, serious, astonished, panicked,
    interested, dissatisfied, conciliative, gloating, fearful,
    in a hurry tone, in a hurry, shouting, screaming, whispering, soft tone,
    laughing, chuckling, sobbing, crying, crying loudly, sighing, panting, groaning, gasping,
    yawning, snoring, coughing, crowd laughing, background laughter, audience laughing,
    break, long-break, long break, pause, breath, laugh, cough, lip-smacking, sigh""",
    )
)

# Something that happens once. Said again after a cut it would happen twice.
_EVENT = re.compile(
    r"\b(?:pause|break|breath|breathes|inhales?|exhales?|laughs?|laughter|chuckles?|giggles?|sighs?"
    r"|gasps?|coughs?|sniffs?|sobs?|groans?|yawns?|clear(?:s|ing)? (?:his |her |the )?throat"
    r"|tsk|applause|beat|silence)\b",
    re.IGNORECASE,
)

# Words that S2's documentation words its tags with, and the forms of them that users write: what a
# voice does, which begins or ends a tag, and how it sounds, which ends one.
_ACTS = frozenset(
    [
        "pause",
        "break",
        "breath",
        "breathes",
        "breathing",
        "inhale",
        "inhales",
        "inhaling",
        "exhale",
        "exhales",
        "exhaling",
        "silence",
        "beat",
        "laugh",
        "laughs",
        "laughing",
        "laughter",
        "chuckle",
        "chuckles",
        "chuckling",
        "giggle",
        "giggles",
        "giggling",
        "sigh",
        "sighs",
        "sighing",
        "gasp",
        "gasps",
        "gasping",
        "pant",
        "pants",
        "panting",
        "sob",
        "sobs",
        "sobbing",
        "cry",
        "cries",
        "crying",
        "cough",
        "coughs",
        "coughing",
        "sniff",
        "sniffs",
        "sniffing",
        "yawn",
        "yawns",
        "yawning",
        "groan",
        "groans",
        "groaning",
        "moan",
        "moans",
        "moaning",
        "clearing",
        "clears",
        "tsk",
        "applause",
        "singing",
        "sings",
        "humming",
        "hums",
        "screaming",
        "screams",
        "scream",
        "shouting",
        "shouts",
        "shout",
        "yelling",
        "yells",
        "whisper",
        "whispers",
        "whispering",
        "whispered",
        "murmuring",
        "mumbling",
        "speaking",
        "speaks",
        "talking",
        "interrupting",
        "echo",
        "emphasis",
    ]
)
_MANNERS = _ACTS | frozenset(
    [
        "voice",
        "tone",
        "accent",
        "volume",
        "pitch",
        "throat",
        "up",
        "down",
        "loud",
        "loudly",
        "quiet",
        "quietly",
        "soft",
        "softly",
        "slow",
        "slowly",
        "fast",
        "quickly",
        "emphasized",
        "excited",
        "excitedly",
        "angry",
        "angrily",
        "sad",
        "sadly",
        "happy",
        "happily",
        "surprised",
        "delight",
        "delighted",
        "shocked",
        "nervous",
        "nervously",
        "calm",
        "calmly",
        "serious",
        "seriously",
        "cheerful",
        "cheerfully",
        "scared",
        "sarcastic",
        "sarcastically",
        "gentle",
        "gently",
        "warm",
        "warmly",
        "dramatic",
        "dramatically",
    ]
)
# The first words of a remark rather than of a direction: "[his voice]", "[He laughed]".
_REMARKING = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "his",
        "her",
        "their",
        "its",
        "my",
        "your",
        "our",
        "he",
        "she",
        "it",
        "they",
        "we",
        "you",
        "i",
        "and",
        "but",
        "or",
        "of",
        "to",
    ]
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")

_TAG_OR_PARENTHESIS = re.compile(
    rf"\[[^\[\]\n]{{1,{MAX_TAG_CHARS}}}\]|\([^()\[\]\n]{{1,40}}\)",
)
_LEADING = re.compile(
    rf"\s*(?:\[[^\[\]\n]{{1,{MAX_TAG_CHARS}}}\]"
    rf"|\((?P<control>[^()\[\]\n]{{1,{MAX_CONTROL_CHARS}}})\))\s*"
)
_DIRECTION = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff ,'’:-]){2,}")
_ROMAN_NUMBER = re.compile(r"x{0,3}(?:ix|iv|v?i{0,3})", re.IGNORECASE)
_STICKS_TO_TEXT_BEFORE = re.compile(r"[\n,.;:!?…)\]}”’»、。，！？؟،।]")
_ENDS_UNSPACED = re.compile(rf"[{UNSPACED}]\Z")
_STARTS_UNSPACED = re.compile(rf"[{UNSPACED}]")


def find_tags(text: str) -> list[Span]:
    """Return the spans of all `[tags]` and all `(tags)` of S1, in order; they never overlap.

    A bracket without its partner, brackets around more than `MAX_TAG_CHARS` or around a line break
    are text.
    """
    return [match.span() for match in _TAG_OR_PARENTHESIS.finditer(text) if _is_tag(match.group())]


def find_leading_controls(text: str) -> list[Span]:
    """Return the spans of the `(controls)` that `text` starts with, if text to speak follows them.

    `[tags]` may stand between them; they are not in the result.
    A control reads like a direction: words of more than one letter, commas, hyphens, apostrophes
    and colons. "(1)", "(a)", "(iv)" and "(Really?)" are text, and so is a parenthesis that is all
    there is.
    """
    spans: list[Span] = []
    end = 0
    while match := _LEADING.match(text, end):
        control = match["control"]
        if control is not None:
            if not (_is_direction(control) or _is_tag(f"({control})")):
                break
            spans.append((match.start("control") - 1, match.end("control") + 1))
        end = match.end()
    return spans if has_speech(text[end:]) else []


def find_directions(text: str) -> list[Span]:
    """Return the spans of what is certainly a direction, in order.

    That is a tag of S1; and `[words]`, or `(words)` in front of the text, of which the first says
    what a voice does or the last how it sounds, unless they begin as a remark does.
    """
    spans = {
        match.span()
        for match in _TAG_OR_PARENTHESIS.finditer(text)
        if _is_direction_of_s2(match.group()) or _is_s1_tag(match.group())
    }
    controls = find_leading_controls(text)
    return sorted(
        spans | {span for span in controls if _is_direction_of_s2(text[slice(*span)], "(")}
    )


def remove_tags(text: str) -> str:
    """Return `text` without all that an engine might take for a direction."""
    return remove_spans(text, sorted({*find_tags(text), *find_leading_controls(text)}))


def style_tag(instructions: str) -> str:
    """Return `instructions` as one S2 tag, "" if they say nothing.

    At most `MAX_TAG_CHARS` with its brackets, cut at a word. Brackets inside become spaces, so that
    the whole is exactly one tag.
    """
    words = re.sub(r"[\s\[\]]+", " ", normalize_text(instructions)).strip()
    room = MAX_TAG_CHARS - len("[]")
    if len(words) > room:
        at_word = words.rfind(" ", 0, room + 1)
        words = words[: at_word if at_word > 0 else find_grapheme_border(words, room)]
        words = words.rstrip(" ,;:-–—")
    return f"[{words}]" if has_speech(words) else ""


def select_styles(tags: str) -> str:
    """Return those of adjoining `tags` that set a style, without one-off events such as a sigh.

    tags: tags and spaces only, as in "[whispering] [sigh]".
    """
    return " ".join(
        tag for tag in re.findall(r"\[[^\]]*\]|\([^)]*\)", tags) if not _EVENT.search(tag)
    )


def _is_tag(bracketed: str) -> bool:
    return bracketed.startswith("[") or _is_s1_tag(bracketed)


def _is_s1_tag(bracketed: str) -> bool:
    return " ".join(bracketed[1:-1].split()).casefold() in _S1_TAGS


def _is_direction_of_s2(bracketed: str, opener: str = "[") -> bool:
    if not bracketed.startswith(opener):
        return False
    words = [word.casefold() for word in _WORD.findall(bracketed)]
    if not words or words[0] in _REMARKING:
        return False
    return words[0] in _ACTS or words[-1] in _MANNERS


def _is_direction(content: str) -> bool:
    content = content.strip()
    return bool(_DIRECTION.fullmatch(content)) and not _ROMAN_NUMBER.fullmatch(content)


def remove_spans(text: str, spans: Sequence[Span]) -> str:
    """Return `text` without `spans`; the space that one leaves behind is closed up."""
    return apply_edits(text, find_removals(text, spans))


def find_removals(text: str, spans: Sequence[Span]) -> Iterator[Edit]:
    """Yield what `remove_spans` changes."""
    if not spans:
        return
    starts = [0, *(end for _, end in spans)]
    ends = [*(start for start, _ in spans), len(text)]
    done = 0
    before = ""
    for start, end in zip(starts, ends, strict=True):
        part = text[start:end].strip(" ")
        if not part:
            continue
        start += len(text[start:end]) - len(text[start:end].lstrip(" "))
        yield Edit(done, start, " " if before and _needs_space(before, part) else "")
        done, before = start + len(part), part
    yield Edit(done, len(text), "")


def _needs_space(before: str, after: str) -> bool:
    if before.endswith("\n") or _STICKS_TO_TEXT_BEFORE.match(after):
        return False
    return not (_ENDS_UNSPACED.search(before) and _STARTS_UNSPACED.match(after))
