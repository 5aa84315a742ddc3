"""What the model reads: text, references and earlier turns as a prompt, int32 [1 + K, T].

Row 0 holds token ids; rows 1..K hold codes where row 0 is a semantic token and 0 elsewhere. Every
piece is tokenized on its own, because a merge across a border would give other ids (spec 5).
Also here: how long text becomes several prompts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fishs2.engines.s2.model.tokenizer import Tokenizer

Prompt = NDArray[np.int32]
Codes = NDArray[np.int32]

MAX_TURNS = 5  # per batch (spec 5.5)
_SPEAKER_TAG = re.compile(r"<\|speaker:\d+\|>")
# A sentence ends after its marks and closing quotes, at white space; CJK marks need no space.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])(?![”’」』])|\n+")
_ASSISTANT_OPEN = "<|im_start|>assistant\n<|voice|>"
_MESSAGE_END = "<|im_end|>\n"


@dataclass(frozen=True, slots=True, eq=False)
class EncodedReference:
    """A voice as the model reads it. codes: int32 [K, T]; transcript: what is said in them."""

    transcript: str
    codes: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A text that was spoken already. codes: int32 [K, T], what it sounded like."""

    text: str
    codes: Codes


def build_system(
    tokenizer: Tokenizer,
    *,
    references: Sequence[EncodedReference] = (),
    num_codebooks: int = 10,
) -> Prompt:
    """What every prompt in the voice of `references` begins with: int32 [1 + K, T]."""
    builder = _Builder(tokenizer, num_codebooks)
    builder.protocol("<|im_start|>system\n")
    if references:
        builder.protocol(
            "convert the provided text to speech reference to the following:\n\nText:\n"
        )
        builder.text("\n".join(_tag_transcripts([each.transcript for each in references])))
        builder.protocol("\n\nSpeech:\n")
        builder.codes(np.concatenate([each.codes for each in references], axis=1))
    else:
        builder.protocol("convert the provided text to speech")
    builder.protocol(_MESSAGE_END)
    return builder.join()


def build_prompt(
    tokenizer: Tokenizer,
    text: str,
    *,
    references: Sequence[EncodedReference] = (),
    history: Sequence[Turn] = (),
    num_codebooks: int = 10,
) -> Prompt:
    """The prompt after which the model speaks `text`, in the voice of `references`.

    history: earlier batches of the same speech, oldest first. Returns int32 [1 + K, T].
    """
    system = build_system(tokenizer, references=references, num_codebooks=num_codebooks)
    turns = build_turns(tokenizer, text, history=history, num_codebooks=num_codebooks)
    return np.concatenate((system, turns), axis=1)


def build_turns(
    tokenizer: Tokenizer, text: str, *, history: Sequence[Turn] = (), num_codebooks: int = 10
) -> Prompt:
    """What follows `build_system`: the earlier turns, and the text that is to be spoken."""
    builder = _Builder(tokenizer, num_codebooks)
    for turn in history:
        builder.user(turn.text)
        builder.protocol(_ASSISTANT_OPEN)
        builder.codes(turn.codes)
        builder.protocol(_MESSAGE_END)
    builder.user(text)
    builder.protocol(_ASSISTANT_OPEN)
    return builder.join()


class _Builder:
    """Collects the pieces of one prompt."""

    def __init__(self, tokenizer: Tokenizer, num_codebooks: int) -> None:
        self._tokenizer = tokenizer
        self._num_codebooks = num_codebooks
        self._pieces: list[Prompt] = []

    def protocol(self, text: str) -> None:
        self._ids(self._tokenizer.encode_protocol(text))

    def text(self, text: str) -> None:
        self._ids(self._tokenizer.encode_text(text))

    def user(self, text: str) -> None:
        self.protocol("<|im_start|>user\n")
        self.text(text)
        self.protocol(_MESSAGE_END)

    def codes(self, codes: Codes) -> None:
        semantic = codes[:1] + np.int32(self._tokenizer.semantic_begin_id)
        self._pieces.append(np.concatenate((semantic, codes)).astype(np.int32))

    def join(self) -> Prompt:
        return np.concatenate(self._pieces, axis=1)

    def _ids(self, ids: NDArray[np.int32]) -> None:
        piece = np.zeros((1 + self._num_codebooks, len(ids)), np.int32)
        piece[0] = ids
        self._pieces.append(piece)


def _tag_transcripts(transcripts: list[str]) -> list[str]:
    """Transcripts with the speaker tag of their place, unless they have one."""
    return [
        text if _SPEAKER_TAG.search(text) else f"<|speaker:{index}|>{text}"
        for index, text in enumerate(transcripts)
    ]


def split_turns(text: str) -> list[str]:
    """Speaker turns, each with its tag, as the official code cuts them.

    Text before the first tag is not in any turn; text without a tag has none.
    """
    borders = [*(match.start() for match in _SPEAKER_TAG.finditer(text)), len(text)]
    return [text[start:stop].strip() for start, stop in pairwise(borders)]


def group_turns(turns: Sequence[str], *, max_bytes: int, max_turns: int = MAX_TURNS) -> list[str]:
    """Turns joined to batches of at most `max_turns`, each of which is spoken in one go.

    max_bytes: of UTF-8 per batch, joining newlines not counted; a longer turn is a batch alone.
    """
    batches: list[list[str]] = []
    num_bytes = 0
    for turn in turns:
        turn_bytes = len(turn.encode())
        if not batches or len(batches[-1]) >= max_turns or num_bytes + turn_bytes > max_bytes:
            batches.append([])
            num_bytes = 0
        batches[-1].append(turn)
        num_bytes += turn_bytes
    return ["\n".join(batch) for batch in batches]


def split_text(text: str, *, max_bytes: int) -> list[str]:
    """Batches of `text`: by speaker turns where it has tags, by sentences where it has none.

    Unlike the official code, text before the first tag is spoken (as a turn of its own) and long
    text without tags is cut. Nothing is lost but white space at the cuts.
    """
    turns = split_turns(text)
    if not turns:
        return split_sentences(text, max_bytes=max_bytes)
    first_tag = _SPEAKER_TAG.search(text)
    lead = text[: first_tag.start()].strip() if first_tag else ""
    return group_turns([lead, *turns] if lead else turns, max_bytes=max_bytes)


def split_sentences(text: str, *, max_bytes: int) -> list[str]:
    """Whole sentences joined up to `max_bytes` of UTF-8; a longer sentence is cut at spaces."""
    sentences: list[str] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        sentences.append(text[start : match.end()])
        start = match.end()
    sentences.append(text[start:])
    pieces = [piece for whole in sentences for piece in _cut(whole, max_bytes=max_bytes)]
    batches: list[str] = []
    for piece in pieces:
        if batches and len((batches[-1] + piece).rstrip().encode()) <= max_bytes:
            batches[-1] += piece
        else:
            batches.append(piece)
    return [batch.strip() for batch in batches if batch.strip()]


def _cut(sentence: str, *, max_bytes: int) -> list[str]:
    """The sentence in pieces of at most `max_bytes`, at the last space before, else anywhere."""
    pieces: list[str] = []
    rest = sentence
    while len(rest.rstrip().encode()) > max_bytes:
        # A character has at most 4 bytes, so at least one always fits 4 and more.
        head = rest.encode()[: max(4, max_bytes)].decode(errors="ignore")
        space = head.rstrip().rfind(" ")
        stop = space + 1 if space > 0 else len(head)
        pieces.append(rest[:stop])
        rest = rest[stop:]
    return [*pieces, rest]
