"""Every field of a request is honoured, named as ignored, or refused, on every engine."""

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import pytest_asyncio

from fishs2.audio.effects import Effects
from fishs2.engines.base import Capabilities, Sampling, SpeechEngine, Utterance
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2cpp.engine import S2cppEngine, S2cppOptions
from fishs2.errors import UserError
from fishs2.runtime import open_voices
from fishs2.service.lexicons import Lexicons
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import SpeechService
from fishs2.service.speech.whole import WholeScript
from fishs2.service.voices.choice import GivenReference, SpeakerVoice
from fishs2.store.lexicons import LexiconStore
from fishs2.text.pronunciation.words import Word
from fishs2.text.splitting.silences import Silences
from tests.engines.s2.golden import MODEL_FILES
from tests.feeding import RULES
from tests.server.recorded import sine_wav
from tests.serving import make_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = " ".join(f"Sentence number {n} \U0001f600 &amp; goes on for a while." for n in range(20))
BASE = SpeechRequest("id", TEXT)
GIVEN = GivenReference(content=sine_wav(), transcript="What is said.")

NOT_HEARD = {
    "request_id": "of the log",
    "dialect": "of the metrics",
    "unasked": "nobody asks for it",
    "verify": "of the verdict, in test_verify",
    "timestamps": "of times, in timing/",
    "captions": "of times, in timing/",
}

CHANGES: dict[str, SpeechRequest] = {
    "text": replace(BASE, text="Something else."),
    "voice": replace(BASE, voice="de"),
    "references": replace(BASE, references=(GIVEN,)),
    "transcript": replace(BASE, transcript="Other words."),
    "speakers": replace(BASE, speakers=(SpeakerVoice(references=(GIVEN,)),) * 2),
    "format": replace(BASE, format="flac"),
    "sample_rate_hz": replace(BASE, sample_rate_hz=8_000),
    "bit_rate": replace(BASE, format="mp3", bit_rate=64_000),
    "language": replace(BASE, language="de"),
    "control": replace(BASE, control="whispering"),
    "emotion": replace(BASE, emotion="sad"),
    "instructions": replace(BASE, instructions="Speak slowly."),
    "max_utterance_chars": replace(BASE, max_utterance_chars=100),
    "short_utterance_chars": replace(BASE, short_utterance_chars=0),
    "is_continuous": replace(BASE, is_continuous=False),
    "emoji": replace(BASE, emoji="skip"),
    "text_cleaning": replace(BASE, text_cleaning="off"),
    "text_type": replace(BASE, text=f"<speak>{TEXT}<break/>More.</speak>", text_type="ssml"),
    "lexicons": replace(BASE, lexicons=("loud",)),
    "pronunciations": replace(BASE, pronunciations=(Word(word="sentence", say="phrase"),)),
    "cast": replace(BASE, text=f"Tom: {TEXT}", cast=(("Tom", SpeakerVoice("de")),)),
    "silences": replace(BASE, silences=Silences(sentence_s=1.0)),
    "latency": replace(BASE, latency="low"),
    "effects": replace(BASE, effects=Effects(speed=2.0)),
    "num_threads": replace(BASE, num_threads=3),
    "verbose": replace(BASE, verbose=True),
    "unheeded": replace(BASE, unheeded=("normalize",)),
}
SAMPLING = {f.name: replace(BASE, sampling=Sampling(**{f.name: 1})) for f in fields(Sampling)}
NAMES = {"transcript": "reference_text", "num_threads": "n_threads", "unheeded": "normalize"}
"""How the clients know what we call otherwise."""

IGNORED = {
    "builtin": {*SAMPLING, "latency", "control", "emotion", "instructions"}
    | {"n_threads", "verbose"},
    "s2": {"repetition_penalty", "language", "n_threads", "verbose"},
    "s2cpp": {"repetition_penalty", "seed", "language", "latency"},
}
"""Beside what no engine can act on."""


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=list(IGNORED))
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SpeechEngine]:
    """An engine that can plan; only the builtin one is started."""
    made: SpeechEngine
    match request.param:
        case "builtin":
            made = BuiltinEngine(num_workers=1)
            await made.start()
        case "s2":
            made = S2Engine(MODEL_FILES, Precision())
        case _:
            made = S2cppEngine(S2cppOptions(Path("m"), Path("t"), Path("r"), backend="cpu"))
    yield made
    if isinstance(made, BuiltinEngine):
        await made.close()


def open_service(engine: SpeechEngine, folder: Path) -> SpeechService:
    admission = Admission(max_streams=1, max_queue=1, num_turns=1)
    voices = open_voices(make_settings(voices_dir=folder / "voices", home=folder))
    return SpeechService(
        engine, admission, voices, RULES, Lexicons(LexiconStore(folder / "lexicons"))
    )


def sound_of(script: WholeScript, engine: Capabilities) -> object:
    """What is heard of a script: all that the engine says that it acts on."""
    spoken = [(heeded(line.utterance, engine), line.pause_s) for line in script.lines]
    return spoken, script.plan.format, script.plan.request.effects


def heeded(utterance: Utterance, engine: Capabilities) -> object:
    sampling = {f.name: getattr(utterance.sampling, f.name) for f in fields(Sampling)}
    asked = {
        **sampling,
        "latency": utterance.latency,
        "n_threads": utterance.num_threads,
        "verbose": utterance.verbose,
    }
    return (
        utterance.text,
        utterance.voice,
        tuple(each.key for each in utterance.references),
        utterance.part is None,
        {name: value for name, value in asked.items() if name in engine.honours},
    )


async def test_every_field_is_honoured_named_or_refused(
    engine: SpeechEngine, tmp_path: Path
) -> None:
    known = {*CHANGES, *NOT_HEARD, "sampling"}
    assert {f.name for f in fields(SpeechRequest)} == known
    service, capabilities = open_service(engine, tmp_path), engine.capabilities
    plain = sound_of(await service.write(BASE), capabilities)
    ignored = set()

    for field, request in {**CHANGES, **SAMPLING}.items():
        try:
            script = await service.write(request)
        except UserError as error:
            assert error.param, field  # noqa: PT017 - refusing is one of three right ways
            continue
        name = NAMES.get(field, field)
        is_heard = sound_of(script, capabilities) != plain
        assert is_heard is not (name in script.plan.ignored), field
        ignored |= set(script.plan.ignored)

    service.close()
    assert ignored == IGNORED[capabilities.name] | {"reference_text", "normalize"}


async def test_nothing_is_named_that_nobody_asked_for(engine: SpeechEngine, tmp_path: Path) -> None:
    service = open_service(engine, tmp_path)

    assert (await service.plan(BASE)).ignored == ()
    service.close()


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        ({"voice": "de", "language": "fr"}, {"language"}),
        ({"voice": "alloy", "language": "fr"}, set()),
        ({"references": (GIVEN,), "language": "fr"}, set()),
        ({"references": (GIVEN,), "voice": "de", "language": "fr"}, {"language"}),
        ({"references": (GIVEN,), "voice": "nobody"}, {"voice"}),
        ({"references": (GIVEN,), "voice": "alloy"}, set()),
        ({"references": (GIVEN,), "transcript": "Other."}, set()),
        ({"references": (GIVEN, GIVEN), "transcript": "Other."}, {"reference_text"}),
    ],
)
async def test_what_the_choice_of_the_voice_overrides_is_named(
    given: dict[str, object], ignored: set[str], tmp_path: Path
) -> None:
    builtin = BuiltinEngine(num_workers=1)
    await builtin.start()
    service = open_service(builtin, tmp_path)
    try:
        plan = await service.plan(replace(BASE, **given))  # type: ignore[arg-type]
    finally:
        service.close()
        await builtin.close()

    assert set(plan.ignored) == ignored
