"""A speech of several parts goes on as it would alone, whoever else has spoken meanwhile."""

import numpy as np

from fishs2.engines.base import Part, Sampling, Utterance
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine.core import Limits
from fishs2.engines.s2.engine.engine import S2Engine
from tests.engines.s2.golden import MODEL_FILES


async def listen(engine: S2Engine, speech: str, index: int) -> np.ndarray:
    part = Part(speech, index, is_last=index == 1)
    utterance = Utterance("Hi.", sampling=Sampling(seed=1, max_new_tokens=4), part=part)
    return np.concatenate([chunk.pcm async for chunk in engine.speak(utterance)])


async def test_speech_that_waits_long_for_its_next_part_goes_on_where_it_was() -> None:
    # A reader that is slow, or a queue that is full, lets a speech wait between two parts.
    engine = S2Engine(MODEL_FILES, Precision(), choose_limits=lambda _: Limits(num_slots=1))
    await engine.start()
    try:
        await listen(engine, "alone", 0)
        alone = await listen(engine, "alone", 1)
        await listen(engine, "mine", 0)
        for number in range(4):
            await listen(engine, f"other {number}", 0)
        mine = await listen(engine, "mine", 1)
    finally:
        await engine.close()

    assert np.array_equal(mine, alone)
