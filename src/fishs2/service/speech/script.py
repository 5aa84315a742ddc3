"""From text and voices to utterances: who says what, in which order, with which pauses.

`plan` writes any text with this. Where a text has several speakers it is cut at their turns: an
engine that clones gets the references of all of them and the turns with their tags, any other
speaks each turn in its voice.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from unicodedata import east_asian_width

from fishs2.engines.base import Capabilities, Part, Reference, Utterance
from fishs2.errors import UserError
from fishs2.service.voices.choice import ChosenVoice
from fishs2.text.directing.cues import PLAIN, Directed, Manner
from fishs2.text.directing.telling import MIN_CHUNK_CHARS, Cutting, Told, tell, tell_together
from fishs2.text.normalize import has_speech, has_words
from fishs2.text.sourced import NOTHING, Sourced
from fishs2.text.splitting.silences import Silences
from fishs2.text.tags import remove_tags
from fishs2.text.turns import Turn, find_turns, without_speaker_tags
from fishs2.text.wording.wording import write_out


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance, and the silence after it, in seconds, if another one follows.

    text: that of the utterance, with its places in the text that was sent. is_exact: the pause is
    as long at any speed; otherwise it is a part of the speech. rest_s: silence that was asked for
    after it, always exact, in place of `pause_s` and whatever follows; before_s: the same before
    it. manner: how it is spoken beside others. offset: where the text that its places count in
    begins in all that was sent. speaker: whose turn it is, of the cast.
    """

    utterance: Utterance
    pause_s: float
    text: Sourced = NOTHING
    is_exact: bool = False
    rest_s: float | None = None
    before_s: float | None = None
    manner: Manner = PLAIN
    offset: int = 0
    speaker: int = 0

    @property
    def silence_s(self) -> float:
        """The silence after it, of either kind."""
        return self.pause_s if self.rest_s is None else self.rest_s


def fit_chars(text: str, max_chars: int) -> int:
    """`max_chars` letters, for how `text` is written: a wide character takes as long as three."""
    num_wide = 0 if text.isascii() else sum(east_asian_width(char) in "WF" for char in text)
    share = num_wide / max(1, len(text))
    return max(MIN_CHUNK_CHARS, int(max_chars / (1 + 2 * share)))


def write_script(
    directed: Directed,
    cast: Sequence[ChosenVoice],
    *,
    like: Utterance,
    engine: Capabilities,
    cutting: Cutting,
    needs_all: bool = True,
) -> list[Line]:
    """Return what is to be spoken of a text; nothing if it has nothing to pronounce.

    cast: the voice of each speaker, a narrator's last; where there is one, tags of speakers in the
    text mean nothing.
    like: everything about the utterances but text, voice and references. needs_all: an engine that
    clones several speakers needs a recording of each; otherwise they take turns where one has none.
    Raises UserError `unknown_speaker`, `voice_not_cloned`.
    """
    if len(cast) == 1:
        turns = [Turn(0, without_speaker_tags(directed.text))]
    else:
        turns = find_turns(directed.text)
        _check_speakers(turns, len(cast))
    if not needs_all and not any(_speaks(turn, len(cast) - 1) for turn in turns):
        cast = cast[:-1]
    are_native = len(cast) > 1 and engine.cloning == "full"
    if are_native and (needs_all or all(voice.references for voice in cast)):
        references = _all_references(cast)
        voices: Sequence[ChosenVoice] = [ChosenVoice(cast[0].voice, references)] * len(cast)
        told = tell_together(turns, directed.cues, cutting)
    else:
        voices, told = cast, tell(turns, directed.cues, cutting)
    return list(_write_lines(told, voices, like, engine, cutting.silences))


def _write_lines(
    told: Iterable[Told | float],
    voices: Sequence[ChosenVoice],
    like: Utterance,
    engine: Capabilities,
    silences: Silences,
) -> Iterator[Line]:
    line: Line | None = None
    rest_s: float | None = None
    for each in told:
        if isinstance(each, float):
            rest_s = (rest_s or 0.0) + each
            continue
        voice = voices[each.speaker]
        utterance = replace(
            like, text=each.text.text, voice=voice.voice, references=voice.references
        )
        if not is_sayable(utterance, engine):
            continue
        usual = silences.after(each.boundary)
        written = Line(
            utterance,
            usual.seconds,
            each.text,
            is_exact=usual.is_exact,
            before_s=rest_s if line is None else None,
            manner=each.manner,
            speaker=each.speaker,
        )
        if line is not None:
            yield replace(line, rest_s=rest_s)
        line, rest_s = written, None
    if line is not None:
        yield replace(line, rest_s=rest_s)


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


def _speaks(turn: Turn, speaker: int) -> bool:
    return turn.speaker == speaker and has_speech(remove_tags(turn.text.text))


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
