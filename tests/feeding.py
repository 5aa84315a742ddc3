"""An engine as the service uses it: through a feed, which speaks again what was lost."""

import asyncio
from contextlib import aclosing

import numpy as np

from fishs2.engines.base import SpeechEngine, Utterance
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.feed import UtteranceFeed
from tests.serving import PATIENCE_S


async def hear(engine: SpeechEngine, utterance: Utterance) -> np.ndarray:
    """The whole speech, float32 [n]. Raises EngineError."""
    admission = Admission(max_streams=1, max_queue=1, num_turns=1)
    feed = UtteranceFeed(engine, admission, utterance)
    await feed.start_as_first()
    try:
        async with asyncio.timeout(PATIENCE_S), aclosing(feed.read_whole()) as pieces:
            return np.concatenate([pcm async for pcm in pieces])
    finally:
        await feed.close()
        admission.check_integrity()
