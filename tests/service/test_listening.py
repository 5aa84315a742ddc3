"""Hearing for whoever asks: one recording at a time, files within limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from fishs2.errors import BusyError, ListenerMissingError, ListeningError, UserError
from fishs2.listening.base import Segment, Wish
from fishs2.service.listening import Listening
from tests.listeners import FakeListener
from tests.recordings import make_voice, write_wav
from tests.serving import until


@pytest.fixture
async def listener() -> FakeListener:
    return FakeListener("one two three four five six")


@pytest.fixture
async def listening(listener: FakeListener) -> AsyncIterator[Listening]:
    made = Listening(listener, max_seconds=10)
    yield made
    await made.close()


async def file() -> bytes:
    return write_wav(make_voice(2.0, rate_hz=24_000), rate_hz=24_000)


async def test_upload_is_decoded_and_heard(listening: Listening, listener: FakeListener) -> None:
    heard = await listening.transcribe(file, Wish(with_words=True))

    assert heard.text == "one two three four five six"
    assert heard.seconds == pytest.approx(2.0, abs=0.001)
    assert listener.seconds == [heard.seconds]


async def test_one_is_heard_at_a_time(listening: Listening, listener: FakeListener) -> None:
    await asyncio.gather(*(listening.transcribe(file, Wish()) for _ in range(5)))

    assert len(listener.wishes) == 5
    assert listener.most_active == 1


async def test_file_that_waits_is_not_read(listening: Listening, listener: FakeListener) -> None:
    listener.gate.clear()
    num_read = 0

    async def read() -> bytes:
        nonlocal num_read
        num_read += 1
        return await file()

    tasks = [asyncio.create_task(listening.transcribe(read, Wish())) for _ in range(3)]
    await until(lambda: listener.num_active == 1)
    assert num_read == 1

    listener.gate.set()
    await asyncio.gather(*tasks)
    assert num_read == 3


async def test_too_many_that_wait_are_refused(listening: Listening, listener: FakeListener) -> None:
    listener.gate.clear()
    tasks = [asyncio.create_task(listening.transcribe(file, Wish())) for _ in range(17)]
    await until(lambda: listener.num_active == 1)

    with pytest.raises(BusyError, match="wait to be heard"):
        await listening.transcribe(file, Wish())

    listener.gate.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(("seconds", "code"), [(11.0, "audio_too_long"), (0.01, "audio_too_short")])
async def test_length_has_limits(listening: Listening, seconds: float, code: str) -> None:
    async def read() -> bytes:
        return write_wav(make_voice(seconds, rate_hz=16_000), rate_hz=16_000)

    with pytest.raises(UserError) as caught:
        await listening.transcribe(read, Wish())

    assert caught.value.code == code


async def test_what_is_no_audio_is_refused(listening: Listening, listener: FakeListener) -> None:
    async def read() -> bytes:
        return b"no audio"

    with pytest.raises(UserError, match="cannot be read"):
        await listening.transcribe(read, Wish())

    assert not listener.wishes


async def test_followed_recording_frees_its_turn_however_slow_the_reader(
    listening: Listening, listener: FakeListener
) -> None:
    async with aclosing(listening.follow(file, Wish())) as parts:
        await anext(parts)
        await until(lambda: listener.num_active == 0)
        # Whoever reads that slowly holds nobody up.
        assert (await listening.transcribe(file, Wish())).text

        rest = [part async for part in parts]

    assert all(isinstance(part, Segment) for part in rest)


async def test_failure_reaches_whoever_follows() -> None:
    listening = Listening(FakeListener(fails=True), max_seconds=10)

    async with aclosing(listening.follow(file, Wish())) as parts:
        await anext(parts)
        with pytest.raises(ListeningError):
            await anext(parts)

    await listening.close()


async def test_nothing_is_read_where_nothing_listens() -> None:
    listening = Listening(FakeListener(missing="asr_not_installed"), max_seconds=10)

    async def read() -> bytes:
        raise AssertionError("read")

    assert not listening.is_available
    with pytest.raises(ListenerMissingError):
        await listening.transcribe(read, Wish())
    await listening.close()
