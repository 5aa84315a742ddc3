"""Who says what, and where silence is asked for: a text with cues and turns, in utterances.

Turns and cues cut a text; each stretch between them is split into utterances. An engine that
clones several speakers at once gets several turns in one utterance, with their tags.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from fishs2.text.cleaning.cleaning import Cleaning
from fishs2.text.directing.cues import PLAIN, Cues, Manner, Stretch, find_stretches, select_marks
from fishs2.text.edits import Edit
from fishs2.text.normalize import has_speech
from fishs2.text.pronunciation.reading import AS_WRITTEN, Reading
from fishs2.text.sourced import NOTHING, Sourced, join
from fishs2.text.splitting.cut import Boundary
from fishs2.text.splitting.silences import Silences, boundary_of
from fishs2.text.splitting.split import SHORT_CHARS, UtteranceText, carry_styles, split_text
from fishs2.text.tags import remove_tags
from fishs2.text.turns import Turn, speaker_tag

MIN_CHUNK_CHARS = 20
"""The shortest utterances that a text can be cut into."""

_MAX_TURNS = 5
"""Turns that are spoken in one go. Source: S2's official code, which cuts dialogues so."""


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a text becomes utterances.

    max_chars: their longest; short_chars: below this they take in the next sentence.
    cleaning: what is left out before; readings: how each of the cast says the words that are left,
    and none says otherwise than is written. silences: what is wished between utterances.
    are_sentences_apart: each is an utterance.
    """

    max_chars: int
    short_chars: int = SHORT_CHARS
    cleaning: Cleaning = field(default_factory=Cleaning)
    readings: tuple[Reading, ...] = ()
    silences: Silences = field(default_factory=Silences)
    are_sentences_apart: bool = False

    def read(self, text: Sourced, speaker: int) -> Sourced:
        """What this speaker says of a text."""
        reading = self.readings[speaker] if self.readings else AS_WRITTEN
        return reading.read(self.cleaning.clean(text))

    def split(self, text: Sourced) -> list[UtteranceText]:
        """The utterances of a text that is clean."""
        return split_text(
            text,
            max_chars=self.max_chars,
            short_chars=self.short_chars,
            has_tags=self.cleaning.speaks_tags,
            apart=self.silences.apart | ({"sentence"} if self.are_sentences_apart else set()),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """One utterance. boundary: what ends it. opens: it goes on with nothing that began before."""

    text: Sourced
    boundary: Boundary
    speaker: int
    manner: Manner
    opens: bool


def tell(turns: Sequence[Turn], cues: Cues, cutting: Cutting) -> Iterator[Told | float]:
    """Yield the utterances of all turns, and between them the silence that is asked for, in s."""
    manner, waiting = PLAIN, NOTHING
    for turn in turns:
        clean = cutting.read(turn.text, turn.speaker)
        # A turn without speech may hold pauses, and begin a manner.
        text = clean if clean.text or not cues else select_marks(turn.text)
        style = ""
        for stretch in find_stretches(text, cues, manner):
            manner = stretch.manner
            words = join([waiting, stretch.text])
            waiting = NOTHING
            if not has_speech(remove_tags(words.text)):
                # Directions alone hold for what is said behind the pause.
                waiting = words
            else:
                pieces = cutting.split(words)
                style = yield from _tell_stretch(pieces, stretch, turn.speaker, cutting, style)
            if stretch.cue is not None and stretch.cue.pause_s is not None:
                yield stretch.cue.pause_s


def _tell_stretch(
    pieces: list[UtteranceText], stretch: Stretch, speaker: int, cutting: Cutting, style: str
) -> Generator[Told, None, str]:
    """Returns the style in force at its end."""
    if stretch.cue is not None and pieces:
        boundary = stretch.cue.boundary or boundary_of(stretch.text.text)
        pieces[-1] = replace(pieces[-1], boundary=boundary)
    if cutting.cleaning.speaks_tags:
        pieces, style = carry_styles(pieces, style, max_chars=cutting.max_chars)
    for index, piece in enumerate(pieces):
        yield Told(piece.text, piece.boundary, speaker, stretch.manner, opens=index == 0)
    return style


def tell_together(turns: Sequence[Turn], cues: Cues, cutting: Cutting) -> Iterator[Told | float]:
    """The same with speakers' tags: several turns in one utterance, or one in several."""
    tag_chars = len(speaker_tag(max((turn.speaker for turn in turns), default=0)))
    room = replace(cutting, max_chars=max(MIN_CHUNK_CHARS, cutting.max_chars - tag_chars))
    joined: Told | None = None
    num_turns = 0
    for each in tell(turns, cues, room):
        if isinstance(each, float):
            if joined is not None:
                yield joined
            joined = None
            yield each
            continue
        tagged = replace(each, text=each.text.edit([Edit(0, 0, speaker_tag(each.speaker))]))
        if joined is None:
            joined, num_turns = tagged, 1
            continue
        num_chars = len(joined.text.text) + 1 + len(tagged.text.text)
        fits = num_chars <= cutting.max_chars and num_turns < _MAX_TURNS
        if each.opens and fits and each.manner == joined.manner:
            end = len(joined.text.text)
            text = join([joined.text.edit([Edit(end, end, "\n")]), tagged.text])
            joined, num_turns = replace(joined, text=text, boundary=each.boundary), num_turns + 1
        else:
            yield joined
            joined, num_turns = tagged, 1
    if joined is not None:
        yield joined
