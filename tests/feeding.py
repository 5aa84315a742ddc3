"""An engine as the service uses it: through feeds, which speak again what was lost."""

import asyncio
import tempfile
from contextlib import aclosing
from pathlib import Path

import numpy as np

from fishs2.audio.formats import choose_format
from fishs2.engines.base import Sampling, SpeechEngine, Utterance
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.performance import Performance, Read
from fishs2.service.speech.plan import SpeechPlan, SpeechRules
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.script import Line
from fishs2.service.speech.whole import WholeScript
from fishs2.service.voices.choice import ChosenVoice
from fishs2.text.cleaning.cleaning import Cleaning
from fishs2.text.splitting.silences import Silences
from tests.fakes import FakeEngine
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


PLAN = SpeechPlan(
    request=SpeechRequest("id", "Hi"),
    engine=FakeEngine().capabilities,
    cast=(ChosenVoice("v"),),
    like=Utterance(""),
    format=choose_format("mp3", engine_rate_hz=24_000, sample_rate_hz=None),
    directions="",
    cloning=None,
    ignored=(),
    cleaning=Cleaning(),
)
"""How anything may be spoken."""

RULES = SpeechRules(
    temp_dir=Path(tempfile.gettempdir()),
    max_input_chars=12_000,
    strict_voices=False,
    styles=True,
    emoji="read",
    text_cleaning="minimal",
    silences=Silences(),
    sampling=Sampling(),
)
"""What holds for every request."""


def perform(
    engine: SpeechEngine,
    admission: Admission,
    utterances: list[Utterance],
    read: Read = UtteranceFeed.read,
) -> Performance:
    """The utterances as one speech without pauses, which has not begun."""
    script = WholeScript(PLAN, tuple(Line(each, 0.0) for each in utterances))
    return Performance(engine, admission, script, SpeechReport(PLAN.request), read=read)
