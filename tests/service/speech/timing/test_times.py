"""What is heard of a speech: in order, one at a time, few in hand, and nothing left behind."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Utterance
from fishs2.errors import ListeningError
from fishs2.service.speech.script import Line
from fishs2.service.speech.timing.placing import Placed, Span
from fishs2.service.speech.timing.times import Heard, SpeechTimes
from fishs2.text.sourced import Sourced
from tests.serving import until

RATE_HZ = 1000
TEXT = "Say it. " * 20
PART_CHARS = 8


class Ear:
    """Hears each word in a tenth of a second, once its gate is open."""

    def __init__(self, *, fails: bool = False) -> None:
        self.gate = asyncio.Event()
        self.num_begun = self.num_active = self.most_active = 0
        self._fails = fails

    async def hear(self, pcm: Pcm, text: str, spans: Sequence[Span]) -> list[Placed]:
        self.num_begun += 1
        self.num_active += 1
        self.most_active = max(self.most_active, self.num_active)
        try:
            await self.gate.wait()
            if self._fails:
                raise ListeningError("it broke")
            return [Placed(*span, n / 10, (n + 1) / 10) for n, span in enumerate(spans)]
        finally:
            self.num_active -= 1


def times_by(ear: Ear) -> SpeechTimes:
    return SpeechTimes(lambda start, end: TEXT[start:end], is_marked=False, hear=ear.hear)


async def add(times: SpeechTimes, number: int) -> None:
    text = TEXT[:PART_CHARS].strip()
    line = Line(Utterance(text), 0.0, Sourced.of(text), offset=number * PART_CHARS)
    pcm = np.full(RATE_HZ, 0.5, np.float32)
    await times.add(Heard(line, line.text, pcm, RATE_HZ, (), float(number), number + 1.0))


async def add_all(times: SpeechTimes, count: int) -> None:
    for number in range(count):
        await add(times, number)


async def test_utterances_are_heard_in_order_and_one_at_a_time() -> None:
    ear = Ear()
    times = times_by(ear)
    await add_all(times, 5)
    ear.gate.set()
    await times.finish()

    assert ear.most_active == 1
    assert times.kind == "aligned"
    assert [word.text for word in times.words] == ["Say", "it"] * 5
    starts = [word.start_s for word in times.words]
    assert starts == pytest.approx([0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 3.0, 3.1, 4.0, 4.1])
    assert [sentence.text for sentence in times.sentences] == ["Say it."] * 5


async def test_speech_waits_for_a_listener_that_is_far_behind() -> None:
    ear = Ear()
    times = times_by(ear)
    adding = asyncio.create_task(add_all(times, 20))
    await until(lambda: ear.num_begun > 0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not adding.done()

    ear.gate.set()
    await adding
    await times.finish()
    assert len(times.sentences) == 20


async def test_what_cannot_be_heard_is_estimated() -> None:
    ear = Ear(fails=True)
    ear.gate.set()
    times = times_by(ear)
    await add_all(times, 2)
    await times.finish()

    assert times.kind == "estimated"
    assert [word.text for word in times.words] == ["Say", "it"] * 2


async def test_close_ends_what_is_under_way() -> None:
    ear = Ear()
    times = times_by(ear)
    await add_all(times, 3)
    await until(lambda: ear.num_active > 0)
    await times.close()

    assert ear.num_active == 0
    assert ear.num_begun == 1
    assert not times.words
