"""Cached audio: what makes two requests the same, and one synthesis for all who ask at once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from fishs2.audio.effects import Effects
from fishs2.audio.formats import AudioFormat, choose_format
from fishs2.engines.base import Part, Reference, Sampling, Utterance
from fishs2.errors import EngineError, EngineUnavailableError, QuotaError
from fishs2.service.clips import Clips, Keep, content_key
from fishs2.service.speech.performance import SpeechPlan, SpeechRequest
from fishs2.store.clips import Clip, ClipStore
from tests.serving import PATIENCE_S


@pytest.fixture
async def clips(tmp_path: Path) -> AsyncIterator[Clips]:
    made = Clips(ClipStore(tmp_path, life_s=1e9, max_bytes=10**9))
    yield made
    await made.close()


REFERENCE = Reference(pcm=None, sample_rate_hz=8_000, transcript="t", key="r")  # type: ignore[arg-type]
PLAN = SpeechPlan(
    request=SpeechRequest("id", "Hi", effects=Effects()),
    utterances=(Utterance("Hi", "v", (REFERENCE,), Sampling()),),
    pauses_s=(0.0,),
    format=choose_format("mp3", engine_rate_hz=24_000, sample_rate_hz=None),
    cloning=None,
    ignored=(),
)


REQUEST_FIELDS = {
    "speakers",
    "bit_rate",
    "short_utterance_chars",
    "is_continuous",  # in the open API, the only one that keeps audio, always true
    "latency",
    "latency_default",
    "emoji",
    "sampling_defaults",
    "unheeded",
    "request_id",
    "text",
    "voice",
    "references",
    "transcript",
    "format",
    "sample_rate_hz",
    "language",
    "dialect",
    "control",
    "emotion",
    "instructions",
    "max_utterance_chars",
    "effects",
    "sampling",
    "num_threads",
    "verbose",
}


def key(plan: SpeechPlan, engine: str = "e") -> str:
    return content_key(plan, engine=engine)


def with_utterance(**changes: object) -> SpeechPlan:
    return replace(PLAN, utterances=(replace(PLAN.utterances[0], **changes),))  # type: ignore[arg-type]


def test_whatever_shapes_the_sound_is_in_the_key() -> None:
    other_reference = replace(REFERENCE, key="other")
    different = [
        with_utterance(text="Ho"),
        with_utterance(voice="w"),
        with_utterance(references=()),
        with_utterance(references=(other_reference,)),
        *(with_utterance(sampling=Sampling(**{f.name: 1})) for f in fields(Sampling)),
        replace(PLAN, pauses_s=(0.5,)),
        replace(PLAN, utterances=PLAN.utterances * 2),
        replace(PLAN, format=choose_format("wav", engine_rate_hz=24_000, sample_rate_hz=None)),
        replace(PLAN, format=choose_format("mp3", engine_rate_hz=24_000, sample_rate_hz=22_050)),
        *(
            replace(PLAN, request=replace(PLAN.request, effects=effects))
            for effects in (Effects(speed=2), Effects(volume_db=1), Effects(loudness_lufs=-20))
        ),
    ]

    keys = [key(plan) for plan in different] + [key(PLAN), key(PLAN, "other engine")]
    assert len(set(keys)) == len(keys)


def test_who_asks_and_how_to_work_is_not() -> None:
    same = [
        replace(PLAN, request=replace(PLAN.request, request_id="other")),
        with_utterance(num_threads=3, verbose=True),
        with_utterance(part=Part("p", 0), latency="low"),
        with_utterance(has_common_limit=True),
        replace(PLAN, ignored=("x",)),
    ]

    assert {key(plan) for plan in same} == {key(PLAN)}


def test_nobody_adds_a_field_without_thinking_of_the_key() -> None:
    assert {f.name for f in fields(Utterance)} == {
        "text",
        "voice",
        "references",
        "sampling",
        "part",
        "has_common_limit",
        "latency",
        "num_threads",
        "verbose",
    }
    assert {f.name for f in fields(SpeechPlan)} == {
        "request",
        "utterances",
        "pauses_s",
        "format",
        "cloning",
        "ignored",
        "cleaning",  # what the utterances have as text
        "cast",  # what the utterances have as voice and references
    }
    # Of the request, what has no part in the utterances or the format, and is in the key: effects.
    assert {f.name for f in fields(SpeechRequest)} == REQUEST_FIELDS
    # Of these every field is in the key.
    assert {f.name for f in fields(Effects)} == {"speed", "volume_db", "loudness_lufs"}
    assert {f.name for f in fields(AudioFormat)} == {"name", "sample_rate_hz", "bit_rate"}


class Maker:
    """Makes a clip once it may, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.num_calls = 0
        self.was_cancelled = False
        self.may_finish = asyncio.Event()
        self._error = error

    async def __call__(self, keep: Keep) -> Clip:
        self.num_calls += 1
        try:
            await self.may_finish.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self._error is not None:
            raise self._error
        return await keep(b"sound")


async def turns(number: int = 20) -> None:
    for _ in range(number):
        await asyncio.sleep(0.001)


async def test_many_at_once_share_one_synthesis(clips: Clips) -> None:
    make = Maker()
    asking = [asyncio.create_task(clips.get_or_make("k", "mp3", make)) for _ in range(50)]
    await turns()
    make.may_finish.set()

    names = {clip.name for clip in await asyncio.gather(*asking)}
    again = await clips.get_or_make("k", "mp3", make)

    assert names == {again.name}
    assert make.num_calls == 1


async def test_it_goes_on_as_long_as_anybody_waits(clips: Clips) -> None:
    make = Maker()
    first, second = (asyncio.create_task(clips.get_or_make("k", "mp3", make)) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    make.may_finish.set()

    assert (await second).size_bytes == 5
    assert not make.was_cancelled


async def test_it_ends_when_nobody_waits_any_more(clips: Clips) -> None:
    make = Maker()
    asking = asyncio.create_task(clips.get_or_make("k", "mp3", make))
    await turns()

    asking.cancel()
    await asyncio.wait([asking])

    assert make.was_cancelled


async def test_error_reaches_all_and_is_not_kept(clips: Clips) -> None:
    make = Maker(EngineError("no"))
    asking = [asyncio.create_task(clips.get_or_make("k", "mp3", make)) for _ in range(3)]
    await turns()
    make.may_finish.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(answer, EngineError) for answer in answers)
    good = Maker()
    good.may_finish.set()
    assert (await clips.get_or_make("k", "mp3", good)).size_bytes == 5


class HeldStore(ClipStore):
    """Its next lookup that finds nothing waits, once `hold` is set, for `may_go`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, life_s=1e9, max_bytes=10**9)
        self.hold = threading.Event()
        self.may_go = threading.Event()

    def find(self, content_key: str, audio_format: str) -> Clip | None:
        found = super().find(content_key, audio_format)
        if self.hold.is_set():
            self.hold.clear()
            assert self.may_go.wait(PATIENCE_S)
        return found


async def test_whoever_just_missed_the_clip_does_not_make_it_again(tmp_path: Path) -> None:
    store = HeldStore(tmp_path)
    clips = Clips(store)
    first, second = Maker(), Maker()
    second.may_finish.set()
    asking = [asyncio.create_task(clips.get_or_make("k", "mp3", first))]
    await turns()
    store.hold.set()
    asking.append(asyncio.create_task(clips.get_or_make("k", "mp3", second)))
    await turns()
    first.may_finish.set()
    await turns()
    store.may_go.set()

    await asyncio.gather(*asking)
    await clips.close()
    assert (first.num_calls, second.num_calls) == (1, 0)


class SlowToEnd(Maker):
    """Takes a while to be cancelled, as engines do."""

    async def __call__(self, keep: Keep) -> Clip:
        try:
            return await super().__call__(keep)
        finally:
            await asyncio.sleep(0.02)


async def test_whoever_comes_while_work_is_given_up_begins_anew(clips: Clips) -> None:
    make, good = SlowToEnd(), Maker()
    good.may_finish.set()
    left = asyncio.create_task(clips.get_or_make("k", "mp3", make))
    await turns()
    left.cancel()
    await turns(3)

    assert (await clips.get_or_make("k", "mp3", good)).size_bytes == 5
    await asyncio.wait([left])
    assert make.was_cancelled


async def test_empty_quota_of_one_is_not_an_error_of_the_others(clips: Clips) -> None:
    broke, good = Maker(QuotaError("none left", retry_after_s=None)), Maker()
    asking = [asyncio.create_task(clips.get_or_make("k", "mp3", m)) for m in (broke, good, good)]
    await turns()
    broke.may_finish.set()
    good.may_finish.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(answers[0], QuotaError)
    assert isinstance(answers[1], Clip)
    assert answers[1] == answers[2]
    assert (broke.num_calls, good.num_calls) == (1, 1)


async def test_whoever_waits_when_the_server_stops_is_told(clips: Clips) -> None:
    make = Maker()
    asking = asyncio.create_task(clips.get_or_make("k", "mp3", make))
    await turns()
    await clips.close()

    with pytest.raises(EngineUnavailableError):
        await asking
    assert make.was_cancelled


async def test_open_clip_can_be_read_after_it_was_removed(clips: Clips) -> None:
    make = Maker()
    make.may_finish.set()
    clip = await clips.get_or_make("k", "mp3", make)
    opened = await clips.open(clip.name)
    assert opened is not None
    clip.path.unlink()

    assert await clips.read(opened, 1, 3) == b"oun"
    assert await clips.open(clip.name) is None
    opened.file.close()
