"""The soak finds what it is made to find."""

import asyncio
import json
import struct
from dataclasses import replace

import pytest

from benchmarks.soak import Footprint, find_leaks
from benchmarks.soak_clients import (
    ENDINGS,
    BrokenOffError,
    Heard,
    hear_alone,
    make_kinds,
    parse_answer,
    soak,
)
from tests.fakes import FakeEngine, Timing
from tests.serving import serving, until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def test_answers_are_read_whole_and_chunked() -> None:
    assert parse_answer(HEAD + b"Content-Length: 3\r\n\r\nabc") == Heard(200, b"abc")
    assert parse_answer(CHUNKED + chunk(b"ab") + chunk(b"c" * 20) + b"0\r\n\r\n") == Heard(
        200, b"ab" + b"c" * 20
    )


@pytest.mark.parametrize(
    "received",
    [
        b"",
        HEAD,
        HEAD + b"Content-Length: 3\r\n\r\nab",
        CHUNKED,
        CHUNKED + chunk(b"abc"),
        CHUNKED + chunk(b"abc")[:-3],
        EVENTS + chunk(event(type="speech.audio.delta", audio="")) + b"0\r\n\r\n",
        EVENTS + chunk(event(type="speech.audio.error", error={})) + b"0\r\n\r\n",
    ],
)
def test_answer_that_is_cut_is_not_taken_for_a_whole_one(received: bytes) -> None:
    with pytest.raises(BrokenOffError):
        parse_answer(received)


def test_events_are_alike_wherever_they_were_cut() -> None:
    done = event(type="speech.audio.done", usage={"output_tokens": 3})
    whole = event(type="speech.audio.delta", audio="YWJj") + done
    cut = b"".join(event(type="speech.audio.delta", audio=a) for a in ("YQ==", "YmM=")) + done

    first, second = (parse_answer(EVENTS + chunk(e) + b"0\r\n\r\n") for e in (whole, cut))

    assert first == second
    assert first.content.startswith(b"abc")


def test_ogg_files_that_differ_in_their_serial_number_are_alike() -> None:
    def page(serial: int, body: bytes) -> bytes:
        head = b"OggS\0\2" + bytes(8) + struct.pack("<IIIB", serial, 0, serial * 31, 1)
        return head + bytes([len(body)]) + body

    def heard(serial: int, body: bytes) -> Heard:
        content = page(serial, b"begin") + page(serial, body)
        return parse_answer(HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content)

    assert heard(1, b"sound") == heard(2, b"sound")
    assert heard(1, b"sound") != heard(1, b"noise")


def test_kinds_differ_and_are_the_same_for_the_same_seed() -> None:
    kinds = make_kinds(["low"], num=60, seed=1)

    assert kinds == make_kinds(["low"], num=60, seed=1)
    bodies = [json.loads(kind.body) for kind in kinds]
    assert len({body["input"] for body in bodies}) == 60
    assert {body.get("voice") for body in bodies} == {None, "default", "low", "nobody"}
    assert sum("reference_audio" in body for body in bodies) > 5
    assert {body.get("stream_format", body.get("stream")) for body in bodies} == {
        False,
        True,
        "sse",
    }
    assert len({body["response_format"] for body in bodies}) == 5


@pytest.mark.slow
async def test_other_sound_and_other_status_are_found() -> None:
    async with serving(FakeEngine()) as served:
        kinds = make_kinds([], num=8, seed=1, has_references=False, has_long_texts=False)
        alone = await hear_alone(served.url, kinds)
        wrong = [
            replace(each, content=each.content[:-1] + bytes([each.content[-1] ^ 1]))
            for each in alone
        ]
        refused = [replace(each, status=500) for each in alone]

        good = await soak(served.url, kinds, alone, num_requests=25, num_at_once=4, seed=1)
        bad = await soak(served.url, kinds, wrong, num_requests=25, num_at_once=4, seed=1)
        worse = await soak(served.url, kinds, refused, num_requests=25, num_at_once=4, seed=1)

    num_read = good.outcomes["reads"] + good.outcomes["reads slowly"]
    assert good.wrong == []
    assert len(bad.wrong) == len(worse.wrong) == num_read > 8
    assert "other content from byte" in bad.wrong[0]
    assert "status 200, alone 500" in worse.wrong[0] + worse.wrong[-1]


@pytest.mark.slow
async def test_clients_leave_before_and_in_the_middle_of_an_answer() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=0.01, rtf=0.002))
    async with serving(engine) as served:
        kinds = make_kinds([], num=8, seed=1, has_references=False, has_long_texts=False)
        alone = await hear_alone(served.url, kinds)
        num_before = engine.num_aborted
        tally = await soak(served.url, kinds, alone, num_requests=80, num_at_once=8, seed=2)
        await until(lambda: engine.num_active == 0)

    assert set(tally.outcomes) == set(ENDINGS)
    assert engine.num_aborted - num_before > 2


NOTHING = Footprint(100_000_000, 10, 17, 0, frozenset({"voices/a.wav"}))


def test_server_that_stays_as_it_was_leaks_nothing() -> None:
    metrics = {"fishs2_engine_restarts_total": 0.0, 'x{outcome="finished"}': 9.0}

    # Threads of pools come when they are first needed.
    prints = [replace(NOTHING, num_threads=8), *[NOTHING] * 4]

    assert list(find_leaks(prints, metrics)) == []


@pytest.mark.parametrize(
    ("last", "metrics", "message"),
    [
        (replace(NOTHING, num_threads=11), {}, "threads: 10 at most before, 11 at the end"),
        (replace(NOTHING, num_files=18), {}, "open files: 17 before, 18"),
        (replace(NOTHING, num_children=1), {}, "child processes: 0 before, 1"),
        (replace(NOTHING, memory_bytes=106_000_000), {}, "memory grew"),
        (replace(NOTHING, files=frozenset({"voices/a.wav", "tmp/x"})), {}, "tmp/x"),
        (NOTHING, {"fishs2_engine_restarts_total": 1.0}, "restarts_total is 1"),
        (NOTHING, {'fishs2_requests_total{outcome="failed"}': 2.0}, '"failed"} is 2'),
    ],
)
def test_every_leak_is_named(last: Footprint, metrics: dict[str, float], message: str) -> None:
    (leak,) = find_leaks([*[NOTHING] * 4, last], metrics)

    assert message in leak


@pytest.mark.slow
def test_seed_decides_who_leaves_when() -> None:
    async def outcomes(seed: int) -> dict[str, int]:
        async with serving(FakeEngine()) as served:
            kinds = make_kinds([], num=4, seed=1, has_references=False, has_long_texts=False)
            alone = await hear_alone(served.url, kinds)
            tally = await soak(served.url, kinds, alone, num_requests=30, num_at_once=3, seed=seed)
            return dict(tally.outcomes)

    first, second = (asyncio.run(outcomes(7)) for _ in range(2))

    assert first == second
