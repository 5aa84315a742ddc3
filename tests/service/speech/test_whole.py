"""A text that is all there: refused as a whole, and what makes the sound of two the same."""

from dataclasses import fields, replace

import pytest

from fishs2.audio.effects import Effects
from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.engines.base import Part, Reference, Sampling, Utterance
from fishs2.errors import UserError
from fishs2.service.speech.plan import SpeechPlan
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.script import Line
from fishs2.service.speech.whole import WholeScript, write_whole
from tests.feeding import PLAN

REFERENCE = Reference(pcm=None, sample_rate_hz=8_000, transcript="t", key="r")  # type: ignore[arg-type]
SCRIPT = WholeScript(PLAN, (Line(Utterance("Hi", "v", (REFERENCE,), Sampling()), 0.0),))


REQUEST_FIELDS = {
    "timestamps",
    "captions",
    "speakers",
    "bit_rate",
    "short_utterance_chars",
    "is_continuous",  # in the open API, the only one that keeps audio, always true
    "latency",
    "emoji",
    "text_cleaning",
    "text_type",  # what is written of the document is in the utterances
    "verify",  # kept audio has no verdict, and no dialect that keeps any takes it
    "lexicons",  # what they say is the text of the utterances
    "pronunciations",
    "silences",  # what the lines have as silence
    "cast",  # what the utterances have as voice and references
    "unasked",
    "unheeded",
    "request_id",
    "text",
    "voice",
    "references",
    "transcript",
    "format",
    "sample_rate_hz",
    "language",
    "dialect",
    "control",
    "emotion",
    "instructions",
    "max_utterance_chars",
    "effects",
    "sampling",
    "num_threads",
    "verbose",
}


def key(script: WholeScript, engine: str = "e") -> str:
    return script.content_key(engine=engine)


def with_utterance(**changes: object) -> WholeScript:
    utterance = replace(SCRIPT.lines[0].utterance, **changes)  # type: ignore[arg-type]
    return WholeScript(PLAN, (Line(utterance, 0.0),))


def with_plan(**changes: object) -> WholeScript:
    return WholeScript(replace(PLAN, **changes), SCRIPT.lines)  # type: ignore[arg-type]


def test_whatever_shapes_the_sound_is_in_the_key() -> None:
    other_reference = replace(REFERENCE, key="other")
    different = [
        with_utterance(text="Ho"),
        with_utterance(voice="w"),
        with_utterance(references=()),
        with_utterance(references=(other_reference,)),
        *(with_utterance(sampling=Sampling(**{f.name: 1})) for f in fields(Sampling)),
        WholeScript(PLAN, (replace(SCRIPT.lines[0], pause_s=0.5),)),
        WholeScript(PLAN, SCRIPT.lines * 2),
        with_plan(format=choose_format("wav", engine_rate_hz=24_000, sample_rate_hz=None)),
        with_plan(format=choose_format("mp3", engine_rate_hz=24_000, sample_rate_hz=22_050)),
        *(
            with_plan(request=replace(PLAN.request, effects=effects))
            for effects in (Effects(speed=2), Effects(volume_db=1), Effects(loudness_lufs=-20))
        ),
    ]

    keys = [key(each) for each in different] + [key(SCRIPT), key(SCRIPT, "other engine")]
    assert len(set(keys)) == len(keys)


def test_who_asks_and_how_to_work_is_not() -> None:
    same = [
        with_plan(request=replace(PLAN.request, request_id="other")),
        with_utterance(num_threads=3, verbose=True),
        with_utterance(part=Part("p", 0), latency="low"),
        with_utterance(has_common_limit=True),
        with_plan(ignored=("x",)),
    ]

    assert {key(each) for each in same} == {key(SCRIPT)}


def test_nobody_adds_a_field_without_thinking_of_the_key() -> None:
    assert {f.name for f in fields(Utterance)} == {
        "text",
        "voice",
        "references",
        "sampling",
        "part",
        "has_common_limit",
        "latency",
        "num_threads",
        "verbose",
    }
    assert {f.name for f in fields(SpeechPlan)} == {
        "request",
        "engine",  # what names it is in the key
        "format",
        "cloning",
        "ignored",
        "cleaning",  # what the utterances have as text
        "readings",  # the same
        "directions",  # the same
        "times",  # of no sound
        "silences",  # what the lines have as silence
        "document",  # what the lines have as text, manner and silence
        "cast",  # what the utterances have as voice and references
        "like",  # the rest of the utterances
    }
    # Of the request, what has no part in the utterances or the format, and is in the key: effects.
    assert {f.name for f in fields(SpeechRequest)} == REQUEST_FIELDS
    # Of these every field is in the key.
    assert {f.name for f in fields(Effects)} == {"speed", "volume_db", "loudness_lufs"}
    assert {f.name for f in fields(AudioFormat)} == {"name", "sample_rate_hz", "bit_rate"}


@pytest.mark.parametrize(("text", "code"), [("x" * 101, "input_too_long"), ("...", "empty_input")])
def test_text_that_cannot_be_spoken_is_refused(text: str, code: str) -> None:
    plan = replace(PLAN, request=replace(PLAN.request, text=text))

    with pytest.raises(UserError) as refused:
        write_whole(plan, max_chars=100)

    assert refused.value.code == code


async def test_lines_are_parts_of_one_speech_without_a_pause_at_the_end() -> None:
    text = "One sentence. Another one.\n\n" * 20
    script = write_whole(replace(PLAN, request=replace(PLAN.request, text=text)), max_chars=10_000)

    lines = [await script.line(index) for index in range(script.num_utterances + 1)]

    *spoken, end = lines
    assert end is None
    parts = [line.utterance.part for line in spoken if line is not None]
    assert len(parts) == script.num_utterances > 1
    assert len({part.speech for part in parts if part}) == 1
    assert [part.index for part in parts if part] == list(range(len(parts)))
    assert [part.is_last for part in parts if part] == [False] * (len(parts) - 1) + [True]
    pauses_s = [line.pause_s for line in spoken if line is not None]
    assert min(pauses_s[:-1]) > 0 == pauses_s[-1]
    assert "".join(script.sources) == text
