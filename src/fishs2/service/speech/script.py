"""From text and voices to utterances: who says what, in which order, with which pauses.

`plan` writes any text with this. Where a text has several speakers it is cut at their turns: an
engine that clones gets the references of all of them and the turns with their tags, any other
speaks each turn in its voice.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from unicodedata import east_asian_width

from fishs2.engines.base import Capabilities, Part, Reference, Utterance
from fishs2.errors import UserError
from fishs2.service.voices.choice import ChosenVoice
from fishs2.text.cleaning.cleaning import Cleaning
from fishs2.text.edits import Edit
from fishs2.text.normalize import has_words
from fishs2.text.pronunciation.reading import AS_WRITTEN, Reading
from fishs2.text.sourced import NOTHING, Sourced, join
from fishs2.text.splitting.cut import Boundary
from fishs2.text.splitting.split import SHORT_CHARS, UtteranceText, split_text
from fishs2.text.turns import Turn, find_turns, speaker_tag, without_speaker_tags
from fishs2.text.wording.wording import write_out

PAUSE_S = {"scene": 1.2, "paragraph": 0.6, "sentence": 0.3, "clause": 0.12, "word": 0.0}
"""Silence between two utterances, in seconds, by what ended the first: common reading pauses."""

MIN_CHUNK_CHARS = 20
"""The shortest utterances that a text can be cut into."""

_MAX_TURNS = 5
"""Turns that are spoken in one go. Source: S2's official code, which cuts dialogues so."""


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance, and the silence after it, in seconds, if another one follows.

    text: that of the utterance, with its places in the text that was sent.
    """

    utterance: Utterance
    pause_s: float
    text: Sourced = NOTHING


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a text becomes utterances.

    max_chars: their longest; short_chars: below this they take in the next sentence.
    cleaning: what is left out before; readings: how each of the cast says the words that are left,
    and none says otherwise than is written.
    """

    max_chars: int
    short_chars: int = SHORT_CHARS
    cleaning: Cleaning = field(default_factory=Cleaning)
    readings: tuple[Reading, ...] = ()

    def read(self, text: Sourced, speaker: int) -> Sourced:
        """What this speaker says of a text."""
        reading = self.readings[speaker] if self.readings else AS_WRITTEN
        return reading.read(self.cleaning.clean(text))


def fit_chars(text: str, max_chars: int) -> int:
    """`max_chars` letters, for how `text` is written: a wide character takes as long as three."""
    num_wide = 0 if text.isascii() else sum(east_asian_width(char) in "WF" for char in text)
    share = num_wide / max(1, len(text))
    return max(MIN_CHUNK_CHARS, int(max_chars / (1 + 2 * share)))


def write_script(
    text: Sourced,
    cast: Sequence[ChosenVoice],
    *,
    like: Utterance,
    engine: Capabilities,
    cutting: Cutting,
) -> list[Line]:
    """Return what is to be spoken of `text`; nothing if it has nothing to pronounce.

    cast: the voice of each speaker; where there is one, tags of speakers in the text mean nothing.
    like: everything about the utterances but text, voice and references. Raises UserError
    `unknown_speaker`.
    """
    if len(cast) == 1:
        pieces = _split(without_speaker_tags(text), cutting, 0)
        return [_line(piece, cast[0], cast[0].references, like) for piece in pieces]
    turns = find_turns(text)
    _check_speakers(turns, len(cast))
    if engine.cloning != "full":
        return [
            _line(piece, cast[turn.speaker], cast[turn.speaker].references, like)
            for turn in turns
            for piece in _split(turn.text, cutting, turn.speaker)
        ]
    references = _all_references(cast)
    return [_line(piece, cast[0], references, like) for piece in _join_turns(turns, cutting)]


def worded(utterance: Utterance, engine: Capabilities) -> Utterance:
    """The utterance with its text as the engine can read it; blank if there is nothing to say."""
    return replace(utterance, text=word(Sourced.of(utterance.text), utterance.voice, engine).text)


def word(text: Sourced, voice: str, engine: Capabilities) -> Sourced:
    """The text of an utterance in this voice as the engine can read it."""
    return text if engine.spelling == "free" else write_out(text, voice.partition("+")[0])


def number_parts(lines: Sequence[Line], *, is_continuous: bool) -> tuple[Line, ...]:
    """Return the lines of a whole text, as parts of one speech if it is to be one."""
    *before, end = lines
    # Nothing follows that a pause could lead to.
    lines = (*before, replace(end, pause_s=0.0))
    if not before or not is_continuous:
        return lines
    speech, last = uuid.uuid4().hex, len(before)
    return tuple(
        replace(line, utterance=replace(line.utterance, part=Part(speech, index, index == last)))
        for index, line in enumerate(lines)
    )


def is_sayable(utterance: Utterance, engine: Capabilities) -> bool:
    """Tell whether the engine has something to say of the utterance: emoji may have no name."""
    return has_words(utterance.text) or bool(worded(utterance, engine).text)


def _line(
    piece: UtteranceText,
    voice: ChosenVoice,
    references: tuple[Reference, ...],
    like: Utterance,
) -> Line:
    utterance = replace(like, text=piece.text.text, voice=voice.voice, references=references)
    return Line(utterance, PAUSE_S[piece.boundary], piece.text)


def _split(text: Sourced, cutting: Cutting, speaker: int) -> list[UtteranceText]:
    return split_text(
        cutting.read(text, speaker),
        max_chars=cutting.max_chars,
        short_chars=cutting.short_chars,
        has_tags=cutting.cleaning.speaks_tags,
    )


def _join_turns(turns: Sequence[Turn], cutting: Cutting) -> Iterator[UtteranceText]:
    """Yield the turns with their tags: several in one utterance, or one in several."""
    joined, num_turns = Sourced.of(""), 0
    boundary: Boundary = "sentence"
    for turn in turns:
        tag = speaker_tag(turn.speaker)
        room = replace(cutting, max_chars=max(MIN_CHUNK_CHARS, cutting.max_chars - len(tag)))
        for index, piece in enumerate(_split(turn.text, room, turn.speaker)):
            text = piece.text.edit([Edit(0, 0, tag)])
            num_chars = len(joined.text) + 1 + len(text.text)
            is_full = num_chars > cutting.max_chars or num_turns == _MAX_TURNS
            if joined.text and (index > 0 or is_full):
                yield UtteranceText(joined, boundary)
                joined, num_turns = Sourced.of(""), 0
            if joined.text:
                end = len(joined.text)
                joined = join([joined.edit([Edit(end, end, "\n")]), text])
            else:
                joined = text
            num_turns, boundary = num_turns + 1, piece.boundary
    if joined.text:
        yield UtteranceText(joined, boundary)


def _check_speakers(turns: Sequence[Turn], num_speakers: int) -> None:
    for turn in turns:
        if turn.speaker >= num_speakers:
            raise UserError(
                f"the text has a turn of speaker {turn.speaker}, but the request names "
                f"{num_speakers} voices, which count from 0",
                code="unknown_speaker",
                param="reference_id",
            )


def _all_references(cast: Sequence[ChosenVoice]) -> tuple[Reference, ...]:
    for speaker, voice in enumerate(cast):
        if not voice.references:
            raise UserError(
                f"speaker {speaker} has no recording: for several speakers each needs a stored "
                "voice, or references",
                code="voice_not_cloned",
                param="reference_id",
            )
    return tuple(voice.references[0] for voice in cast)
