"""The one loop of speech: two utterances at the engine, in order, and nothing left behind."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from fishs2.audio.effects import Effects
from fishs2.engines.base import Part, Sampling, Utterance
from fishs2.errors import BusyError, UserError
from fishs2.service.speech.admission import Admission
from fishs2.service.speech.audio_path import AudioPaths
from fishs2.service.speech.feed import UtteranceFeed
from fishs2.service.speech.performance import Performance
from fishs2.service.speech.report import SpeechReport
from fishs2.service.speech.script import Line
from fishs2.service.speech.whole import WholeScript
from tests.fakes import FakeEngine, Timing, fake_speech
from tests.feeding import PLAN, perform
from tests.serving import until

HELLO = Utterance("Hello there, this is a whole sentence.", sampling=Sampling(seed=7))


def make_admission(num_turns: int = 1, max_streams: int = 9) -> Admission:
    return Admission(max_streams=max_streams, max_queue=9, num_turns=num_turns)


async def hear(performance: Performance) -> list[np.ndarray]:
    async with aclosing(performance.pieces()) as pieces:
        return [piece async for piece in pieces if isinstance(piece, np.ndarray)]


async def test_next_utterance_does_not_delay_the_first_sound() -> None:
    engine, admission = FakeEngine(timing=Timing(first_audio_s=0.02)), make_admission(num_turns=2)
    async with aclosing(perform(engine, admission, [HELLO, HELLO]).pieces()) as pieces:
        first = asyncio.ensure_future(anext(pieces))
        await until(lambda: engine.num_active > 0)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(engine.utterances) == 1
        await first
        await until(lambda: len(engine.utterances) == 2)


async def test_cancelled_twice_it_leaves_no_utterance_behind() -> None:
    engine, admission = FakeEngine(), make_admission(num_turns=2)
    engine.gate.clear()
    performance = perform(engine, admission, [HELLO, HELLO])

    hearing = asyncio.create_task(hear(performance))
    await until(lambda: engine.num_active == 2)
    hearing.cancel()
    await asyncio.sleep(0)
    hearing.cancel()
    await asyncio.wait([hearing])
    await until(lambda: engine.num_active == 0)

    assert engine.num_aborted == 2
    admission.check_integrity()
    assert admission.num_streams == 0


async def test_slow_reader_holds_two_utterances_and_no_more() -> None:
    engine, admission = FakeEngine(), make_admission(num_turns=4)
    texts = [Utterance(f"Sentence number {number}.") for number in range(5)]
    async with aclosing(perform(engine, admission, texts).pieces()) as pieces:
        await anext(pieces)
        await until(lambda: engine.num_finished == 2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(engine.utterances) == 2


async def test_with_plenty_of_sound_unread_the_next_utterance_waits() -> None:
    engine, admission = FakeEngine(num_turns=4), make_admission(num_turns=4)
    long = Utterance("It goes on and on. " * 10)  # 12 s
    async with aclosing(perform(engine, admission, [long, HELLO]).pieces()) as pieces:
        await anext(pieces)
        await until(lambda: engine.num_finished == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(engine.utterances) == 1

        while len(engine.utterances) == 1:
            await anext(pieces)
            await asyncio.sleep(0)
        # Not only at its end.
        assert isinstance(await anext(pieces), np.ndarray)
        await until(lambda: engine.num_finished == 2)


async def test_what_is_read_as_a_whole_keeps_two_turns_busy_however_much_there_is() -> None:
    engine, admission = FakeEngine(num_turns=4), make_admission(num_turns=4)
    long = Utterance("It goes on and on. " * 10)
    whole = perform(engine, admission, [long, long, HELLO], read=UtteranceFeed.read_whole)
    async with aclosing(whole.pieces()) as pieces:
        await anext(pieces)
        await until(lambda: engine.num_finished == 2)


async def test_a_place_rests_while_its_listener_takes_nothing() -> None:
    engine, admission = FakeEngine(), make_admission(max_streams=1)
    paths = AudioPaths(24_000, temp_dir=Path())
    path = paths.stream(PLAN.format, Effects())
    async with aclosing(perform(engine, admission, [HELLO]).encoded(path)) as pieces:
        await anext(pieces)
        assert admission.num_streams == 1
        await until(lambda: admission.num_resting == 1)
        await hear(perform(engine, admission, [HELLO]))
        async for _ in pieces:
            assert admission.num_resting == 0
    paths.close()

    assert (admission.num_streams, admission.num_resting) == (0, 0)
    admission.check_integrity()


async def test_utterances_without_sound_are_passed_over() -> None:
    engine, admission = FakeEngine(silent_texts=("...",)), make_admission(num_turns=2)
    silent, heard = Utterance("..."), [HELLO, Utterance("And another one.")]
    performance = perform(engine, admission, [silent, heard[0], silent, heard[1]])

    sound = np.concatenate(await hear(performance))

    expected = np.concatenate([fake_speech(each.text, 24_000) for each in heard])
    assert np.array_equal(sound[np.abs(sound) > 0], expected[np.abs(expected) > 0])


class WaitingScript:
    """A script whose later lines come when they are told to, as those of live speech."""

    def __init__(self, *lines: Line) -> None:
        self.may_come = asyncio.Event()
        self._whole = WholeScript(PLAN, lines)
        self.plan = PLAN
        self.num_chars = self._whole.num_chars
        self.num_utterances = len(lines)
        self.sources = self._whole.sources
        self.tail_s = 0.0
        self.has_louder_parts = False

    @property
    def is_idle(self) -> bool:
        return not self.may_come.is_set()

    def source(self, start: int, end: int) -> str:
        return self._whole.source(start, end)

    async def line(self, index: int) -> Line | None:
        if index:
            await self.may_come.wait()
        return await self._whole.line(index)


async def test_script_that_waits_for_text_takes_no_place_meanwhile() -> None:
    engine, admission = FakeEngine(), make_admission(max_streams=1)
    script = WaitingScript(Line(HELLO, 0.0), Line(HELLO, 0.0))
    report = SpeechReport(PLAN.request, is_live=True)
    waiting = Performance(engine, admission, script, report, read=UtteranceFeed.read)

    hearing = asyncio.create_task(hear(waiting))
    await until(lambda: report.num_spoken == 1 and admission.num_streams == 0)
    await hear(perform(engine, admission, [HELLO]))
    script.may_come.set()
    await hearing

    assert report.num_spoken == 2
    assert admission.num_streams == 0
    admission.check_integrity()


async def test_without_a_place_nothing_begins() -> None:
    engine, admission = FakeEngine(), make_admission(max_streams=0)

    with pytest.raises(BusyError):
        await hear(perform(engine, admission, [HELLO, HELLO]))

    assert engine.utterances == []
    admission.check_integrity()


class FailingScript(WholeScript):
    """A script whose second line is refused."""

    __slots__ = ()

    async def line(self, index: int) -> Line | None:
        if index:
            raise UserError("no", code="unknown_speaker")
        return await super().line(index)


@pytest.mark.parametrize(("is_live", "num_paid"), [(True, len(HELLO.text)), (False, 0)])
async def test_what_was_heard_of_live_speech_is_paid_when_later_text_is_refused(
    is_live: bool, num_paid: int
) -> None:
    engine, admission = FakeEngine(), make_admission()
    script = FailingScript(PLAN, (Line(HELLO, 0.0),))
    report = SpeechReport(PLAN.request, is_live=is_live, num_chars=1_000)
    performance = Performance(engine, admission, script, report, read=UtteranceFeed.read)

    with pytest.raises(UserError):
        await hear(performance)

    assert report.cost().num_chars == num_paid
    admission.check_integrity()


async def test_engine_forgets_a_speech_that_ends_early() -> None:
    engine, admission = ForgettingEngine(), make_admission()
    parts = [Utterance(HELLO.text, part=Part("speech", index)) for index in range(3)]

    async with aclosing(perform(engine, admission, parts).pieces()) as pieces:
        await anext(pieces)

    assert engine.forgotten == ["speech"]
    admission.check_integrity()


class ForgettingEngine(FakeEngine):
    """Keeps which speeches it was told to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def end_speech(self, speech: str) -> None:
        self.forgotten.append(speech)
