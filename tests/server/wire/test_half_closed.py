"""Clients that send no more: whoever waits gets the answer, whoever has left ends the work."""

import asyncio
import json

import pytest

from fishs2.server.wire.half_closed import HalfClosed
from fishs2.server.wire.peers import Peer
from tests.fakes import FakeEngine
from tests.server.wire.raw import connecting, request
from tests.serving import serving, until

SPEECH = "/v1/audio/speech"
JSON = {"Content-Type": "application/json"}


def speech(*, stream: bool) -> bytes:
    body = {"model": "fishs2", "input": "Hello there.", "response_format": "pcm", "stream": stream}
    return request("POST", SPEECH, JSON, json.dumps(body).encode())


def watch(peer: Peer | None, *, begun: bool, patience_s: float) -> tuple[HalfClosed, list[str]]:
    left: list[str] = []
    watched = HalfClosed(
        lambda: peer,
        has_begun=lambda: begun,
        leave=lambda: left.append("left"),
        patience_s=patience_s,
    )
    return watched, left


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("is_held", [False, True])
async def test_on_this_machine_the_system_knows_who_has_left(begun: bool, is_held: bool) -> None:
    watched, _ = watch(Peer(0, is_held), begun=begun, patience_s=100.0)

    assert watched.may_stay() == is_held


async def test_of_others_the_answer_has_to_begin_in_time() -> None:
    assert watch(None, begun=False, patience_s=100.0)[0].may_stay()
    assert watch(None, begun=True, patience_s=0.0)[0].may_stay()
    late, left = watch(None, begun=False, patience_s=0.0)
    assert not late.may_stay()

    late.watch()
    await until(lambda: left == ["left"])


async def test_who_is_watched_no_more_does_not_leave() -> None:
    ended, left = watch(None, begun=False, patience_s=0.0)
    other, other_left = watch(None, begun=False, patience_s=0.0)
    ended.watch()
    other.watch()
    ended.end()
    await until(lambda: other_left == ["left"])

    assert left == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_who_sends_no_more_gets_its_answer(stream: bool) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served, connecting(served.url) as connection:
        await connection.send(speech(stream=stream))
        connection.writer.write_eof()
        await until(lambda: engine.num_active == 1)
        engine.gate.set()
        answer = await connection.receive()
        rest = await connection.reader.read()

    assert answer.status == 200
    assert len(answer.body) > 1_000
    assert rest == b""


async def test_who_sends_no_more_gets_all_the_answers_it_asked_for() -> None:
    both = request("GET", "/health", {}) + speech(stream=False) + request("GET", "/v1/models", {})
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(both + b"GET /hea")
        connection.writer.write_eof()
        answers = [await connection.receive() for _ in range(3)]
        rest = await connection.reader.read()

    assert [each.status for each in answers] == [200, 200, 200]
    assert rest == b""


async def test_who_breaks_off_in_a_request_has_left() -> None:
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(speech(stream=False)[:-10])
        connection.writer.write_eof()

        assert await connection.reader.read() == b""


@pytest.mark.parametrize("says_first", [False, True], ids=["at once", "after it sends no more"])
async def test_who_closes_frees_the_engine_before_anything_is_written(says_first: bool) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        async with connecting(served.url) as connection:
            await connection.send(speech(stream=False))
            await until(lambda: engine.num_active == 1)
            if says_first:
                connection.writer.write_eof()
                await asyncio.sleep(0)
        await until(lambda: engine.num_active == 0)

        assert engine.num_aborted == 1
