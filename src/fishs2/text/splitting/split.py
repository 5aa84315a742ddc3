"""From a text to utterances: what an engine speaks in one go.

    text -> scenes (`breaks`) -> paragraphs (`lines`) -> sentences (`sentences`) -> pieces (`cut`)
         -> utterances (here)

Packing. A scene or a paragraph always ends an utterance. Inside one, up to three sentences share an
utterance while they fit: enough context for the melody of speech, little enough to keep S2 from
drifting. The first utterance has one sentence, so that the first sound does not wait for more to be
read. Sentences go on being added to an utterance that is still very short ("No. No! Oh, no."), and
a very short last one joins the utterance before it, because engines are least steady on a few
syllables. A sentence that had to be cut ends its utterance at each cut.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from fishs2.text.edits import Edit
from fishs2.text.scripts import TAG_MASK, UNSPACED
from fishs2.text.sourced import Places, Sourced
from fishs2.text.splitting.breaks import is_scene_break, split_scenes
from fishs2.text.splitting.cut import Boundary, Passage, cut_evenly, mask_tags
from fishs2.text.splitting.lines import split_paragraphs
from fishs2.text.splitting.sentences import find_sentence_ends
from fishs2.text.tags import find_leading_controls, find_tags, select_styles

_NEEDS_NO_SPACE = re.compile(rf"[{UNSPACED}{TAG_MASK}]")

_MAX_SENTENCES = 3
SHORT_CHARS = 60
"""Below this an utterance is very short: some four seconds of speech."""


@dataclass(frozen=True, slots=True)
class UtteranceText:
    """Text for one utterance, and what ended it; the last one of a text ends a paragraph.

    text: may hold single line breaks, where a list or a poem has them; its places are those in the
    text that was split.
    """

    text: Sourced
    boundary: Boundary


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence or a piece of one; `glue` is the white space in front of it in its paragraph."""

    passage: Passage
    boundary: Boundary
    glue: str


def split_text(
    text: Sourced,
    *,
    max_chars: int,
    short_chars: int = SHORT_CHARS,
    has_tags: bool = True,
    apart: Collection[Boundary] = (),
) -> list[UtteranceText]:
    """Return `text` as utterances of at most `max_chars` characters, in order.

    text: as `normalize_text` gives it. max_chars: at least 20. short_chars: below this an utterance
    takes in the next sentence. has_tags: what is in brackets may be one; else it is text.
    apart: what always ends an utterance, of sentence and line.

    Joined, the utterances hold every character of the text but white space, in order. A `[tag]` or
    `(control)` stays whole and with the text after it, unless it fills more than half of
    `max_chars`; only where a sentence itself is cut, its style tag is repeated in the next
    utterance. An utterance without anything to pronounce occurs only if the whole text has nothing
    or its neighbours have no room. Takes time linear in the text.
    """
    max_tag_chars = max_chars // 2 if has_tags else 0
    found = _find_sentences(text.text, max_tag_chars=max_tag_chars, has_lines="line" in apart)
    sentences = _join_silent(found)
    if not sentences:
        return []
    pieces = [piece for sentence in sentences for piece in _cut_sentence(sentence, max_chars)]
    utterances = _join_silent_pieces(_pack(pieces, max_chars, short_chars, apart), max_chars)
    traced = _trace(text, [each.passage for each in utterances])
    return [
        UtteranceText(text, each.boundary) for text, each in zip(traced, utterances, strict=True)
    ]


def carry_styles(
    pieces: Sequence[UtteranceText], style: str, *, max_chars: int
) -> tuple[list[UtteranceText], str]:
    """Say the style in force again where an utterance begins without one, in each paragraph.

    S2 reads each utterance afresh. pieces: as `split_text` gives them. style: what acts at their
    start; returns them, and what acts at their end.
    """
    carried: list[UtteranceText] = []
    for piece in pieces:
        tags = find_tags(piece.text.text)
        is_open = bool(style) and not (tags and tags[0][0] == 0)
        text = piece.text.edit([Edit(0, 0, f"{style} ")]) if is_open else piece.text
        if len(text.text) <= max_chars:
            carried.append(UtteranceText(text, piece.boundary))
        else:
            # One that was full already is cut once more, and keeps what ends it.
            *cut, last = split_text(text, max_chars=max_chars, short_chars=0)
            carried += [replace(each, boundary="clause") for each in cut]
            carried.append(UtteranceText(last.text, piece.boundary))
        style = _style_at_end(piece.text.text, style, max_chars=max_chars)
        if piece.boundary in ("paragraph", "scene"):
            style = ""
    return carried, style


def _style_at_end(text: str, style: str, *, max_chars: int) -> str:
    tags = [text[start:end] for start, end in find_tags(text)]
    for tag in tags:
        style = select_styles(tag) or style
    return style if len(style) <= max_chars // 3 else ""


def _find_sentences(text: str, *, max_tag_chars: int, has_lines: bool) -> Iterator[_Sentence]:
    scenes = split_scenes(text)
    for index, scene in enumerate(scenes):
        sentences = list(_find_in_scene(scene, max_tag_chars, has_lines=has_lines))
        yield from sentences[:-1]
        if sentences:
            is_last = index + 1 == len(scenes)
            yield sentences[-1] if is_last else replace(sentences[-1], boundary="scene")


def _find_in_scene(text: str, max_tag_chars: int, *, has_lines: bool) -> Iterator[_Sentence]:
    paragraphs = list(_find_paragraphs(text, has_lines=has_lines))
    # A control in a paragraph of its own is one only because text follows in the next.
    opening = "\n".join(paragraph for paragraph, _ in paragraphs[:2])
    controls = find_leading_controls(opening) if max_tag_chars else []
    for paragraph, last in paragraphs:
        tags = sorted({*find_tags(paragraph), *controls}) if max_tag_chars else []
        controls = []
        passage = mask_tags(paragraph, tags, max_tag_chars=max_tag_chars)
        start, ends = 0, find_sentence_ends(passage.mask)
        for end in ends:
            boundary: Boundary = last if end == ends[-1] else "sentence"
            sentence = passage.select(start, end)
            glue = paragraph[start : paragraph.index(sentence.text, start)] if start else ""
            if start and not glue and not _NEEDS_NO_SPACE.match(sentence.text):
                # Nobody reads "hi.Then" as two sentences.
                glue = " "
            yield _Sentence(sentence, boundary, glue)
            start = end


def _find_paragraphs(text: str, *, has_lines: bool) -> Iterator[tuple[str, Boundary]]:
    """Yield the paragraphs, or with `has_lines` the lines that are meant, and what each ends."""
    for paragraph in split_paragraphs(text):
        *lines, last = paragraph.split("\n") if has_lines else [paragraph]
        for line in lines:
            yield line, "line"
        yield last, "paragraph"


def _join_silent(sentences: Iterable[_Sentence]) -> list[_Sentence]:
    """Join each sentence without speech to the one before, or after if it is a tag or the first."""
    groups: list[list[_Sentence]] = []
    waiting: list[_Sentence] = []
    for sentence in sentences:
        if not sentence.passage.is_silent:
            groups.append([*waiting, sentence])
            waiting = []
        elif waiting or not groups or TAG_MASK in sentence.passage.mask:
            waiting.append(sentence)
        else:
            groups[-1].append(sentence)
    if waiting and groups:
        groups[-1].extend(waiting)
    elif waiting:
        groups.append(waiting)
    return [_join(group) for group in groups]


def _cut_sentence(sentence: _Sentence, max_chars: int) -> Iterator[_Sentence]:
    for piece in cut_evenly(sentence.passage, sentence.boundary, max_chars=max_chars):
        yield _Sentence(piece.passage, piece.boundary, sentence.glue)


def _pack(
    sentences: Iterable[_Sentence], max_chars: int, short_chars: int, apart: Collection[Boundary]
) -> list[_Sentence]:
    """Join sentences to utterances as the module describes."""
    if "sentence" in apart:
        return list(sentences)
    groups: list[list[_Sentence]] = []
    for sentence in sentences:
        most = 1 if len(groups) == 1 else _MAX_SENTENCES
        is_open = bool(groups) and _is_open(groups[-1], most, short_chars)
        if is_open and _has_room(groups[-1], [sentence], max_chars):
            groups[-1].append(sentence)
        else:
            groups.append([sentence])
        if sentence.boundary in ("paragraph", "scene") and len(groups) > 1:
            is_short = _num_chars(groups[-1]) < short_chars
            if is_short and _has_room(groups[-2], groups[-1], max_chars):
                groups[-2].extend(groups.pop())
    return [_join(group) for group in groups]


def _is_open(group: list[_Sentence], max_sentences: int, short_chars: int) -> bool:
    return len(group) < max_sentences or _num_chars(group) < short_chars


def _has_room(group: list[_Sentence], more: list[_Sentence], room: int) -> bool:
    is_same_paragraph = group[-1].boundary == "sentence"
    return is_same_paragraph and _num_chars(group) + _num_chars(more) <= room


def _num_chars(group: list[_Sentence]) -> int:
    return sum(len(sentence.glue) + len(sentence.passage.text) for sentence in group)


def _join_silent_pieces(utterances: list[_Sentence], max_chars: int) -> list[_Sentence]:
    """Join what a cut has left without speech to a neighbour that has room."""
    joined: list[_Sentence] = []
    for utterance in utterances:
        is_silent = utterance.passage.is_silent or (joined and joined[-1].passage.is_silent)
        if joined and is_silent and _num_chars([joined[-1], utterance]) < max_chars:
            joined[-1] = _join([joined[-1], utterance])
        else:
            joined.append(utterance)
    return joined


def _join(group: list[_Sentence]) -> _Sentence:
    """Return adjoining sentences as one; a tag at a seam keeps its hold on the text after it."""
    if len(group) == 1:
        return group[0]
    text, mask = [group[0].passage.text], [group[0].passage.mask]
    repeated = [*group[0].passage.repeated]
    num_chars = len(text[0])
    for before, sentence in pairwise(group):
        glue = sentence.glue if before.boundary == "sentence" else " "
        num_chars += len(glue)
        repeated += [(num_chars + a, num_chars + b) for a, b in sentence.passage.repeated]
        num_chars += len(sentence.passage.text)
        text += [glue, sentence.passage.text]
        is_behind_tag = before.passage.mask.endswith(TAG_MASK)
        mask += [TAG_MASK * len(glue) if is_behind_tag else glue, sentence.passage.mask]
    passage = Passage("".join(text), "".join(mask), tuple(repeated))
    return _Sentence(passage, group[-1].boundary, group[0].glue)


def _trace(text: Sourced, passages: Sequence[Passage]) -> list[Sourced]:
    """Give the characters of utterances their places.

    Utterances have every character that is not white space, in order, but for lines that are a
    break between scenes; and tags once more.
    """
    traced: list[Sourced] = []
    kept: list[int] = []
    done = 0
    for passage in passages:
        # Mostly it stands there as it is.
        start = -1 if passage.repeated else text.text.find(passage.text, done)
        if start >= 0 and not text.text[done:start].strip():
            done = start + len(passage.text)
            traced.append(text.select(start, done))
            continue
        kept = kept or _find_kept(text.text)
        first = bisect_left(kept, done)
        origins = _find_origins(passage, kept[first : first + len(passage.text)])
        done = max(done, max(origins, default=0) + 1)
        traced.append(_place(text, passage.text, np.array(origins, np.int32)))
    return traced


def _find_origins(passage: Passage, kept: Sequence[int]) -> list[int]:
    """Where each character of a passage stands; -1 for white space and tags that are repeated."""
    is_own = [not character.isspace() for character in passage.text]
    for start, end in passage.repeated:
        is_own[start:end] = [False] * (end - start)
    following = iter(kept)
    return [next(following) if own else -1 for own in is_own]


def _find_kept(text: str) -> list[int]:
    kept: list[int] = []
    start = 0
    for line in text.split("\n"):
        if not is_scene_break(line):
            kept += [start + at for at, character in enumerate(line) if not character.isspace()]
        start += len(line) + 1
    return kept


def _place(text: Sourced, utterance: str, origins: Places) -> Sourced:
    """An utterance with its places. origins: its offsets in `text`; -1 for what was put between."""
    is_own = origins >= 0
    if not is_own.any():
        nowhere = np.zeros(len(utterance), np.int32)
        return Sourced(utterance, nowhere, nowhere)
    own = np.flatnonzero(is_own)
    index = np.arange(len(utterance))
    after = np.searchsorted(own, index)
    following = own[np.minimum(after, len(own) - 1)]
    before = own[np.maximum(after - 1, 0)]
    # What is between two characters lies between their places; before the first, at its start.
    starts = np.where(index < own[0], text.starts[origins[own[0]]], text.ends[origins[before]])
    ends = np.where(index > own[-1], starts, text.starts[origins[following]])
    ends = np.maximum(starts, ends)
    starts = np.where(is_own, text.starts[origins], starts)
    ends = np.where(is_own, text.ends[origins], ends)
    return Sourced(utterance, starts.astype(np.int32), ends.astype(np.int32))
