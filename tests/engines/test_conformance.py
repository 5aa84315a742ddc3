"""What every SpeechEngine promises, the fake one included: the tests on fakes rest on these."""

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from fishs2.engines.base import Pcm, SpeechEngine, Utterance
from fishs2.engines.builtin import BuiltinEngine
from fishs2.engines.host import HostedEngine
from fishs2.errors import NotFoundError, UserError
from tests.engines.hosted import recipe
from tests.fakes import FakeEngine

TEXT = "One sentence of ordinary length, which is spoken in more than one chunk of audio."


def make_builtin() -> SpeechEngine:
    return BuiltinEngine(num_workers=2)


def make_fake() -> SpeechEngine:
    return FakeEngine(num_turns=2)


def make_hosted() -> SpeechEngine:
    return HostedEngine(recipe())


@pytest.fixture(params=[make_builtin, make_fake, make_hosted])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SpeechEngine]:
    make: Callable[[], SpeechEngine] = request.param
    engine = make()
    await engine.start()
    yield engine
    await engine.close()


async def speak(engine: SpeechEngine, text: str = TEXT) -> Pcm:
    voice = engine.find_voice(None, None)
    chunks = [chunk async for chunk in engine.speak(Utterance(text=text, voice=voice))]
    return np.concatenate([chunk.pcm for chunk in chunks])


async def test_chunks_are_mono_float32_at_the_announced_rate(engine: SpeechEngine) -> None:
    chunks = [chunk async for chunk in engine.speak(Utterance(text=TEXT))]

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
        speech = engine.speak(Utterance(text=TEXT * 5))
        await anext(speech)
        await speech.aclose()

    assert len(await speak(engine)) > 0


async def test_slow_reader_holds_up_nobody(engine: SpeechEngine) -> None:
    unread = [engine.speak(Utterance(text=TEXT)) for _ in range(engine.capabilities.num_turns)]
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
