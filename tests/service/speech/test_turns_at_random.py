"""Many speeches of many parts, cancelled and revoked at random: nobody waits for ever."""

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import numpy as np
import pytest

from fishs2.engines.base import AudioChunk, Part, Utterance
from fishs2.errors import RunawaySpeechError
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.feed import UtteranceFeed
from tests.fakes import FakeEngine
from tests.feeding import perform

_MAX_ROUNDS = 20_000
"""Of the event loop; what ends at all ends in some hundred."""


class PartsEngine(FakeEngine):
    """Parts sound one after the other, as in s2; how long each takes is random."""

    def __init__(self, chance: random.Random, *, num_turns: int, runaway_share: float) -> None:
        super().__init__(num_turns=num_turns)
        self._chance = chance
        self._num_turns = num_turns
        self._runaway_share = runaway_share
        self.next_parts: dict[str, int] = {}

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        part = utterance.part
        assert part is not None
        self.next_parts.setdefault(part.speech, part.index)
        with self._counted():
            assert self.num_active <= self._num_turns, "more utterances than turns"
            await self._pass_time()
            while self.next_parts[part.speech] < part.index:  # noqa: ASYNC110 - rounds are counted
                await asyncio.sleep(0)
            for index in range(3):
                await self._pass_time()
                if self._chance.random() < self._runaway_share and not index:
                    raise RunawaySpeechError("by chance")
                yield AudioChunk(_samples(part.index, index), 24_000)
            self.next_parts[part.speech] = part.index + 1

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.num_active += 1
        try:
            yield
        finally:
            self.num_active -= 1

    async def _pass_time(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)


def _samples(part: int, chunk: int) -> np.ndarray:
    return np.full(2, 10 * part + chunk, np.float32)


async def hear(
    engine: PartsEngine, admission: Admission, chance: random.Random, name: str, num_parts: int
) -> np.ndarray:
    for _ in range(chance.randrange(30)):
        await asyncio.sleep(0)
    parts = [
        Utterance("A", part=Part(name, index, index == num_parts - 1)) for index in range(num_parts)
    ]
    read = chance.choice((UtteranceFeed.read, UtteranceFeed.read_whole))
    heard = []
    async with aclosing(perform(engine, admission, parts, read).pieces()) as pieces:
        async for pcm in pieces:
            assert isinstance(pcm, np.ndarray)
            heard.append(pcm)
            for _ in range(chance.choice((0, 0, 3, 20))):
                await asyncio.sleep(0)
    return np.concatenate(heard)


async def play(seed: int) -> None:
    chance = random.Random(seed)
    num_turns = chance.choice((1, 1, 2, 2, 3))
    share = chance.choice((0.0, 0.0, 0.2))
    engine = PartsEngine(chance, num_turns=num_turns, runaway_share=share)
    admission = Admission(max_streams=99, max_queue=99, num_turns=num_turns)
    listening = {}
    for index in range(chance.randrange(2, 8)):
        num_parts = chance.randrange(1, 6)
        task = asyncio.create_task(hear(engine, admission, chance, str(index), num_parts))
        listening[task] = num_parts
    doomed = {task for task in listening if chance.random() < 0.3}
    for _ in range(_MAX_ROUNDS):
        if all(task.done() for task in listening):
            break
        if chance.random() < 0.03:
            for task in doomed:
                if chance.random() < 0.5:
                    task.cancel()
        await asyncio.sleep(0)
    else:
        pytest.fail(f"with seed {seed} somebody waits for ever")
    for task, num_parts in listening.items():
        if task.cancelled() or isinstance(task.exception(), RunawaySpeechError):
            continue
        chunks = [_samples(part, chunk) for part in range(num_parts) for chunk in range(3)]
        assert np.array_equal(task.result(), np.concatenate(chunks)), f"seed {seed}"
    for _ in range(50):  # who was cancelled twice left its feeds to end by themselves
        await asyncio.sleep(0)
    assert engine.num_active == 0, f"seed {seed}"
    admission.check_integrity()


async def test_every_speech_ends_whole_and_every_turn_comes_back() -> None:
    for seed in (*range(300), 1442):
        await play(seed)
