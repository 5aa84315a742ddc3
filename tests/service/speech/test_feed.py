"""An utterance spoken ahead: revoked, re-rolled, read as it comes or as a whole."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from fishs2.engines.base import MAX_LOSSES, AudioChunk, Sampling, Utterance
from fishs2.errors import EngineError, EngineLostError, RunawaySpeechError
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.feed import UtteranceFeed
from tests.fakes import FakeEngine, Timing, fake_speech
from tests.serving import until

HELLO = Utterance("Hello there, this is a whole sentence.", sampling=Sampling(seed=7))


def make_admission(num_turns: int = 1) -> Admission:
    return Admission(max_streams=9, max_queue=9, num_turns=num_turns)


def expected() -> np.ndarray:
    return fake_speech(HELLO.text, 24_000)


async def listen(feed: UtteranceFeed, *, whole: bool) -> np.ndarray:
    read = feed.read_whole() if whole else feed.read()
    async with aclosing(read) as pieces:
        return np.concatenate([pcm async for pcm in pieces])


async def test_runaway_that_nobody_heard_is_spoken_again_with_other_seeds() -> None:
    engine, admission = FakeEngine(num_runaways=2), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()

    heard = await listen(feed, whole=True)
    await feed.close()

    assert np.array_equal(heard, expected())
    assert [each.sampling.seed for each in engine.utterances] == [7, 8, 9]
    assert feed.num_rerolls == 2
    admission.check_integrity()


async def test_third_runaway_is_an_error() -> None:
    engine, admission = FakeEngine(num_runaways=3), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()

    with pytest.raises(RunawaySpeechError):
        await listen(feed, whole=True)

    await feed.close()
    assert len(engine.utterances) == 3
    admission.check_integrity()


async def test_runaway_that_was_heard_is_an_error() -> None:
    engine, admission = FakeEngine(num_runaways=1), make_admission()
    engine.gate.clear()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()
    async with aclosing(feed.read()) as pieces:
        await anext(pieces)
        engine.gate.set()
        with pytest.raises(RunawaySpeechError):
            await anext(pieces)
    await feed.close()

    assert len(engine.utterances) == 1


@pytest.mark.parametrize("whole", [False, True])
async def test_speech_that_was_lost_is_spoken_again(whole: bool) -> None:
    engine, admission = FakeEngine(num_losses=MAX_LOSSES), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()

    heard = await listen(feed, whole=whole)
    await feed.close()

    assert np.array_equal(heard, expected())
    assert [each.sampling.seed for each in engine.utterances] == [7] * (MAX_LOSSES + 1)
    assert feed.num_rerolls == MAX_LOSSES
    admission.check_integrity()


async def test_speech_that_is_lost_at_every_try_is_an_error() -> None:
    engine, admission = FakeEngine(num_losses=99), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()

    with pytest.raises(EngineLostError):
        await listen(feed, whole=True)

    await feed.close()
    assert len(engine.utterances) == MAX_LOSSES + 1
    admission.check_integrity()


async def test_speech_that_was_lost_while_it_was_heard_goes_on_where_it_broke_off() -> None:
    engine, admission = FakeEngine(num_losses=2), make_admission()
    engine.gate.clear()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()
    async with aclosing(feed.read()) as pieces:
        heard = [await anext(pieces)]
        engine.gate.set()
        heard += [pcm async for pcm in pieces]
    await feed.close()

    assert np.array_equal(np.concatenate(heard), expected())
    assert len(engine.utterances) == 3


class Moody(FakeEngine):
    """Speaks the same utterance in another way every time. Says shorter: and less of it."""

    def __init__(self, *, shorter: bool) -> None:
        super().__init__(num_losses=1)
        self._shorter = shorter

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        other = f"{len(self.utterances)} {utterance.text}"
        if self._shorter and self.utterances:
            # The same beginning, of less than was heard.
            self.utterances.append(utterance)
            yield AudioChunk(fake_speech(f"0 {utterance.text}", 24_000)[:100], 24_000)
            return
        async for chunk in super().speak(replace(utterance, text=other)):
            yield chunk


@pytest.mark.parametrize("shorter", [False, True])
async def test_speech_that_comes_again_in_another_way_is_an_error_once_it_was_heard(
    shorter: bool,
) -> None:
    engine, admission = Moody(shorter=shorter), make_admission()
    engine.gate.clear()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()
    async with aclosing(feed.read()) as pieces:
        await anext(pieces)
        engine.gate.set()
        with pytest.raises(EngineError, match="does not speak the rest"):
            await anext(pieces)
    await feed.close()

    assert len(engine.utterances) == 2
    admission.check_integrity()


async def test_engine_that_draws_gets_the_same_seed_again() -> None:
    capabilities = replace(FakeEngine().capabilities, honours=frozenset({"seed"}))
    engine, admission = FakeEngine(capabilities=capabilities, num_losses=1), make_admission()
    feeds = [UtteranceFeed(engine, admission, Utterance(HELLO.text)) for _ in range(2)]
    for feed in feeds:
        await feed.start_as_first()
        await listen(feed, whole=True)
        await feed.close()

    lost, again, other = (each.sampling.seed for each in engine.utterances)
    assert lost is not None
    assert lost == again != other


async def test_text_with_something_to_say_and_no_sound_is_spoken_again_with_other_seeds() -> None:
    engine, admission = FakeEngine(num_silent=2), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()

    heard = await listen(feed, whole=False)
    await feed.close()

    assert np.array_equal(heard, expected())
    assert [each.sampling.seed for each in engine.utterances] == [7, 8, 9]


async def test_text_with_something_to_say_and_never_a_sound_is_an_error() -> None:
    engine, admission = FakeEngine(num_silent=3), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()

    with pytest.raises(RunawaySpeechError, match="no sound"):
        await listen(feed, whole=False)

    await feed.close()
    admission.check_integrity()


async def test_text_with_nothing_to_say_may_be_silent() -> None:
    engine, admission = FakeEngine(num_silent=1), make_admission()
    feed = UtteranceFeed(engine, admission, Utterance("[long pause] ... \u2014"))
    await feed.start_as_first()

    assert not (await listen(feed, whole=False)).any()

    await feed.close()


async def test_feed_that_nobody_reads_gives_its_turn_to_a_newcomer_and_comes_back() -> None:
    engine, admission = FakeEngine(), make_admission(num_turns=2)
    engine.gate.clear()
    ahead = UtteranceFeed(engine, admission, HELLO)
    await admission.take_first_turn()
    ahead.start()
    await until(lambda: engine.num_active == 1)

    await admission.take_first_turn()
    assert engine.num_aborted == 1

    engine.gate.set()
    listening = asyncio.create_task(listen(ahead, whole=False))
    admission.give_back_turn(used_s=0.1)
    assert np.array_equal(await listening, expected())
    await ahead.close()
    admission.give_back_turn(used_s=0.1)
    admission.check_integrity()


@pytest.mark.parametrize(
    "make",
    [
        lambda: FakeEngine(num_runaways=1),
        lambda: FakeEngine(num_losses=1),
        lambda: FakeEngine(num_silent=1),
    ],
)
async def test_closing_at_any_moment_gives_every_turn_back(make: Callable[[], FakeEngine]) -> None:
    for num_rounds in range(12):
        engine, admission = make(), make_admission(num_turns=2)
        feeds = [UtteranceFeed(engine, admission, HELLO) for _ in range(3)]
        for feed in feeds:
            feed.start()
        newcomer = asyncio.create_task(admission.take_first_turn())
        for _ in range(num_rounds):
            await asyncio.sleep(0)
        for feed in feeds:
            await feed.close()
        await newcomer
        admission.give_back_turn(used_s=0.1)
        assert engine.num_active == 0
        admission.check_integrity()


@pytest.mark.parametrize("whole", [False, True])
async def test_long_chunks_are_read_in_pieces_where_they_are_read_as_they_come(
    whole: bool,
) -> None:
    engine, admission = FakeEngine(timing=Timing(chunk_s=60.0)), make_admission()
    feed = UtteranceFeed(engine, admission, HELLO)
    await feed.start_as_first()
    async with aclosing(feed.read_whole() if whole else feed.read()) as pieces:
        heard = [pcm async for pcm in pieces]
    await feed.close()

    assert np.array_equal(np.concatenate(heard), expected())
    assert len(heard) == (1 if whole else 3)
