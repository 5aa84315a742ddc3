"""What every SpeechEngine promises, the fake one included: the tests on fakes rest on these."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from fishs2.engines.base import Pcm, Sampling, SpeechEngine, Utterance
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine.core import Limits
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.errors import NotFoundError, UserError
from tests.engines.hosted.recipes import recipe
from tests.engines.s2.golden import MODEL_FILES
from tests.fakes import FakeEngine
from tests.native.building import COMPILER, NO_COMPILER, build_library
from tests.native.conftest import set_up

TEXT = "One sentence of ordinary length, which is spoken in more than one chunk of audio."


def make_builtin() -> SpeechEngine:
    return BuiltinEngine(num_workers=2)


def make_fake() -> SpeechEngine:
    return FakeEngine(num_turns=2)


def make_hosted() -> SpeechEngine:
    return HostedEngine(recipe())


def make_s2() -> SpeechEngine:
    # Random weights say nothing that ends or that its guard would take for speech.
    limits = Limits(num_slots=2, max_positions=1024)
    return S2Engine(MODEL_FILES, Precision(), choose_limits=lambda _: limits, is_guarded=False)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip(NO_COMPILER)
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(
    params=[make_builtin, make_fake, make_hosted, make_s2, "s2cpp"],
    ids=lambda made: getattr(made, "__name__", made),
)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SpeechEngine]:
    if request.param == "s2cpp":
        engine: SpeechEngine = set_up(request.getfixturevalue("library"), tmp_path).engine
    else:
        engine = request.param()
    await engine.start()
    yield engine
    await engine.close()


def say(text: str = TEXT, voice: str = "") -> Utterance:
    """An utterance that engines which sample draw alike each time, and end."""
    return Utterance(text, voice=voice, sampling=Sampling(seed=7, max_new_tokens=12))


async def speak(engine: SpeechEngine, text: str = TEXT) -> Pcm:
    voice = engine.find_voice(None, None)
    chunks = [chunk async for chunk in engine.speak(say(text, voice))]
    return np.concatenate([chunk.pcm for chunk in chunks])


async def test_chunks_are_mono_float32_at_the_announced_rate(engine: SpeechEngine) -> None:
    chunks = [chunk async for chunk in engine.speak(say())]

    assert len(chunks) > 1
    for chunk in chunks:
        assert chunk.sample_rate_hz == engine.capabilities.sample_rate_hz
        assert chunk.pcm.dtype == np.float32
        assert chunk.pcm.ndim == 1
        assert len(chunk.pcm) > 0
        assert np.abs(chunk.pcm).max() <= 1.0


async def test_same_utterance_gives_the_same_samples(engine: SpeechEngine) -> None:
    first = await speak(engine)
    await speak(engine, "Something else in between.")

    assert np.array_equal(first, await speak(engine))


async def test_neighbours_do_not_change_the_samples(engine: SpeechEngine) -> None:
    alone = await speak(engine)
    together = await asyncio.gather(*(speak(engine, text) for text in (TEXT, "Another.", TEXT)))

    assert np.array_equal(together[0], alone)
    assert np.array_equal(together[2], alone)


async def test_closed_generator_leaves_room_for_the_next(engine: SpeechEngine) -> None:
    for _ in range(2 * engine.capabilities.num_turns):
        speech = engine.speak(say(TEXT * 5))
        await anext(speech)
        await speech.aclose()

    assert len(await speak(engine)) > 0


async def test_slow_reader_holds_up_nobody(engine: SpeechEngine) -> None:
    unread = [engine.speak(say()) for _ in range(engine.capabilities.num_turns)]
    for speech in unread:
        await anext(speech)

    assert len(await speak(engine)) > 0
    for speech in unread:
        await speech.aclose()


async def test_voices_are_found_in_any_case_and_never_guessed(engine: SpeechEngine) -> None:
    default = engine.capabilities.voices[0]

    assert engine.find_voice(None, None) == default
    assert engine.find_voice(default.upper(), None) == default
    with pytest.raises(NotFoundError) as missing:
        engine.find_voice("nobody", None)
    assert missing.value.code == "voice_not_found"


@pytest.mark.parametrize("engine", [make_builtin, make_fake], indirect=True)
async def test_languages_that_an_engine_does_not_speak_are_refused(engine: SpeechEngine) -> None:
    with pytest.raises(UserError) as unknown:
        engine.find_voice(None, "tlh")
    assert unknown.value.code == "unsupported_language"


async def test_every_language_that_an_engine_names_has_a_voice(engine: SpeechEngine) -> None:
    capabilities = engine.capabilities

    voices = {engine.find_voice(None, language) for language in capabilities.languages}
    assert voices <= set(capabilities.voices)
    assert bool(capabilities.languages) is (capabilities.name != "fake")
