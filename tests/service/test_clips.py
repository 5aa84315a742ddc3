"""Cached audio: one synthesis for all who ask at once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fishs2.errors import EngineError, EngineUnavailableError, QuotaError
from fishs2.service.clips import Clips, Keep
from fishs2.store.clips import Clip, ClipStore
from tests.serving import PATIENCE_S


@pytest.fixture
async def clips(tmp_path: Path) -> AsyncIterator[Clips]:
    made = Clips(ClipStore(tmp_path, life_s=1e9, max_bytes=10**9))
    yield made
    await made.close()


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
