"""Times as files of captions: SubRip, WebVTT, or JSON.

A caption has two lines of 42 columns at most and stays for seven seconds at most, as broadcasters
have it (source: BBC subtitle guidelines, EBU-TT); a wide character takes two columns. It never ends
before its last word, and stays for a second where the next one leaves room.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import east_asian_width

from fishs2.service.speech.timing.times import Timed
from fishs2.service.speech.timing.units import CaptionFormat

_COLUMNS = 42
_LINES = 2
_LONGEST_S = 7.0
_SHORTEST_S = 1.0

CAPTION_TYPES: dict[CaptionFormat, str] = {
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
}


@dataclass(frozen=True, slots=True)
class Caption:
    """What is shown from one time to another, in seconds."""

    text: str
    start_s: float
    end_s: float


def make_captions(sentences: Sequence[Timed], words: Sequence[Timed]) -> list[Caption]:
    """Captions of a speech, in order; none has parts of two sentences."""
    captions: list[Caption] = []
    at = 0
    for sentence in sentences:
        inside: list[Timed] = []
        while at < len(words) and words[at].char_start < sentence.char_end:
            if words[at].char_start >= sentence.char_start:
                inside.append(words[at])
            at += 1
        captions += _cut(sentence, inside)
    return list(_stretch(captions))


def write_captions(captions: Sequence[Caption], kind: CaptionFormat) -> str:
    """The text of a file."""
    if kind == "json":
        cues = [
            {"start": round(each.start_s, 3), "end": round(each.end_s, 3), "text": each.text}
            for each in captions
        ]
        return json.dumps({"captions": cues}, ensure_ascii=False)
    if kind == "vtt":
        blocks = [
            f"{_clock(each.start_s, '.')} --> {_clock(each.end_s, '.')}\n{_escaped(each.text)}\n"
            for each in captions
        ]
        return "\n".join(["WEBVTT\n", *blocks])
    return "\n".join(
        f"{number}\n{_clock(each.start_s, ',')} --> {_clock(each.end_s, ',')}\n"
        f"{each.text.replace('-->', '→')}\n"
        for number, each in enumerate(captions, start=1)
    )


def _cut(sentence: Timed, words: Sequence[Timed]) -> Iterator[Caption]:
    """A sentence in as many captions as it takes, cut between words."""
    if not words:
        yield Caption(_wrapped(sentence.text), sentence.start_s, sentence.end_s)
        return
    start = 0
    while start < len(words):
        end = start + 1
        while end < len(words) and _fits(sentence, words, start, end + 1):
            end += 1
        text = _text(sentence, words, start, end)
        yield Caption(_wrapped(text), words[start].start_s, words[end - 1].end_s)
        start = end


def _fits(sentence: Timed, words: Sequence[Timed], start: int, end: int) -> bool:
    lasts_s = words[end - 1].end_s - words[start].start_s
    text = _text(sentence, words, start, end)
    return lasts_s <= _LONGEST_S and len(_wrapped(text).split("\n")) <= _LINES


def _text(sentence: Timed, words: Sequence[Timed], start: int, end: int) -> str:
    """What the caller wrote from one word to before another, marks included."""
    first = 0 if start == 0 else words[start].char_start - sentence.char_start
    last = len(sentence.text) if end == len(words) else words[end].char_start - sentence.char_start
    return " ".join(sentence.text[first:last].split())


def _wrapped(text: str) -> str:
    """In lines of so many columns; a word that is longer is cut."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if _columns(joined) <= _COLUMNS:
            line = joined
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word)
        lines += full
    return "\n".join([*lines, line])


def _pieces(word: str) -> list[str]:
    pieces, piece = [], ""
    for char in word:
        if piece and _columns(piece + char) > _COLUMNS:
            pieces.append(piece)
            piece = ""
        piece += char
    return [*pieces, piece]


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def _stretch(captions: Sequence[Caption]) -> Iterator[Caption]:
    for caption, after in zip(captions, [*captions[1:], None], strict=False):
        end_s = max(caption.end_s, caption.start_s + _SHORTEST_S)
        if after is not None:
            end_s = max(caption.end_s, min(end_s, after.start_s))
        yield replace(caption, end_s=end_s)


def _clock(seconds: float, comma: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{comma}{ms % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
