"""What a connection may take: bytes, fields, time; and what becomes of whoever takes more."""

import asyncio
import json

import pytest

from fishs2.server.wire.connections import WireLimits
from tests.server.wire.raw import Answer, Connection, connecting, request
from tests.serving import serving, until

SPEECH = "/v1/audio/speech"
BODY = json.dumps({"model": "fishs2", "input": "Hello there.", "response_format": "pcm"}).encode()
JSON = {"Content-Type": "application/json"}
HEALTH = request("GET", "/health", {})
HASTE = WireLimits(head_s=0.05, body_stall_s=0.05)


async def is_closed(connection: Connection) -> bool:
    """Wait for the end of the connection; whatever else comes is no end."""
    return await connection.reader.read() == b""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (SPEECH, {"type": "invalid_request_error", "code": "headers_too_large"}),
        ("/api/open/tts", {"code": "headers_too_large"}),
        ("/v1/tts", {"status": 431}),
    ],
)
@pytest.mark.parametrize("kind", ["one header", "many bytes", "many fields"])
async def test_too_much_in_the_headers_is_431_in_the_shape_of_the_dialect(
    path: str, body: dict[str, object], kind: str
) -> None:
    headers = {
        "one header": {"X-Large": "x" * 70_000},
        "many bytes": {f"X-{n}": "x" * 700 for n in range(95)},
        "many fields": {f"X-{n}": "x" for n in range(101)},
    }[kind]
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(request("POST", path, {**JSON, **headers}, BODY))
        answer = await connection.receive()
        assert await is_closed(connection)

    assert answer.status == 431
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"]
    told = json.loads(answer.body)
    told = told.get("error", told) if isinstance(told.get("error"), dict) else told
    assert body.items() <= told.items()
    assert ("100 headers" if kind == "many fields" else "65,536 bytes") in str(told)


@pytest.mark.parametrize("rest", [b"x" * 400_000, b"X-A: 1234\r\n" * 40_000], ids=["one", "many"])
async def test_headers_without_an_end_are_refused_while_they_come(rest: bytes) -> None:
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(b"GET /health HTTP/1.1\r\nHost: test\r\nX-Large: ", rest)
        answer = await connection.receive()

    assert answer.status == 431


async def test_the_most_that_is_read_is_answered() -> None:
    fields = {f"X-{n}": "x" for n in range(98)}
    large = {"X-Large": "x" * 65_000}
    async with serving() as served, connecting(served.url) as connection:
        for headers in (fields, large, {}):
            await connection.send(request("POST", SPEECH, {**JSON, **headers}, BODY)[:-5])
            await connection.send(BODY[-5:])
            # Content-Type, Content-Length and Host make it a hundred and one with all 98.
            answer = await connection.receive()
            if headers is fields:
                assert answer.status == 431
                break
    async with serving() as served, connecting(served.url) as connection:
        del fields["X-0"]
        for headers in (fields, large, {}):
            await connection.send(request("POST", SPEECH, {**JSON, **headers}, BODY))
            assert (await connection.receive()).status == 200


@pytest.mark.parametrize("rest", [b" HTTP/1.1\r\nHost: test\r\n\r\n", b"x" * 100_000])
async def test_a_target_that_is_too_long_is_414(rest: bytes) -> None:
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(b"GET /v1/audio/speech?input=" + b"x" * 50_000, rest)
        answer = await connection.receive()
        assert await is_closed(connection)

    assert answer.status == 414
    assert json.loads(answer.body)["error"]["code"] == "target_too_long"
    assert b"49,152 bytes" in answer.body


async def test_a_link_with_the_longest_text_is_read() -> None:
    async with serving() as served, connecting(served.url) as connection:
        text = "%F0%9F%90%9F%20" * 3_000
        await connection.send(request("HEAD", f"{SPEECH}?model=fishs2&input={text}", {}))
        answer = await connection.receive(has_body=False)

    assert answer.status == 200


@pytest.mark.parametrize(
    ("start", "content_type"),
    [
        (b"GET /health HTTP/1.1\r\nHost: te", "application/json"),
        (b"GET /hea", "application/json"),
        (b"GE", "text/plain; charset=utf-8"),
    ],
)
async def test_a_head_that_does_not_end_in_time_is_408(start: bytes, content_type: str) -> None:
    async with serving(limits=HASTE) as served, connecting(served.url) as connection:
        await connection.send(start)
        answer = await connection.receive()
        assert await is_closed(connection)

    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert answer.headers["content-type"] == content_type
    assert b"did not come in time" in answer.body


async def test_a_head_after_an_answer_must_come_in_time_too() -> None:
    async with serving(limits=HASTE) as served, connecting(served.url) as connection:
        await connection.send(request("GET", "/health", {}))
        assert (await connection.receive()).status == 200
        await connection.send(b"GET /health HTTP/1.1\r\n")
        answer = await connection.receive()

    assert answer.status == 408


async def test_a_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    async with serving(limits=HASTE) as served, connecting(served.url) as connection:
        assert await is_closed(connection)


async def test_blank_lines_keep_no_connection_open() -> None:
    async with serving(limits=HASTE) as served, connecting(served.url) as connection:
        await connection.send(b"\r\n", b"\r\n")
        assert await is_closed(connection)


@pytest.mark.parametrize(
    ("path", "content_type", "first"),
    [
        (SPEECH, "application/json", b"{"),
        ("/v1/audio/voices", "multipart/form-data; boundary=x", b"-"),
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_body_that_stalls_is_408_and_the_connection_ends(
    path: str, content_type: str, first: bytes, framing: str
) -> None:
    more = {"length": {"Content-Length": "9"}, "chunks": {"Transfer-Encoding": "chunked"}}[framing]
    sent = first if framing == "length" else b"1\r\n%s\r\n5;na" % first
    head = request("POST", path, {"Content-Type": content_type, **more})
    async with serving(limits=HASTE) as served, connecting(served.url) as connection:
        await connection.send(head, sent)
        answer = await connection.receive()
        assert await is_closed(connection)

    assert answer.status == 408
    assert json.loads(answer.body)["error"]["code"] == "request_timeout"


async def test_speech_that_takes_longer_than_a_body_may_pause_is_not_cut() -> None:
    async with serving(limits=HASTE) as served, connecting(served.url) as connection:
        served.engine.gate.clear()
        await connection.send(request("POST", SPEECH, JSON, BODY))
        head = await connection.reader.readuntil(b"\r\n\r\n")
        late = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(4 * HASTE.body_stall_s, late.set_result, None)
        await late
        served.engine.gate.set()
        assert head.startswith(b"HTTP/1.1 200")
        assert (await connection.reader.readuntil(b"\r\n0\r\n\r\n")).endswith(b"\r\n0\r\n\r\n")


async def test_trailers_change_nothing_and_have_an_end() -> None:
    chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
    head = request("POST", SPEECH, {**JSON, "Transfer-Encoding": "chunked"})
    async with serving() as served:
        async with connecting(served.url) as connection:
            await connection.send(head + chunks + b"Content-Type: text/plain\r\n\r\n")
            assert (await connection.receive()).status == 200
        async with connecting(served.url) as connection:
            await connection.send(head + chunks + b"X-Large: ", b"x" * 400_000)
            assert (await connection.receive()).status == 400


async def test_an_answer_is_not_broken_by_what_follows_its_request() -> None:
    async with serving() as served, connecting(served.url) as connection:
        served.engine.gate.clear()
        await connection.send(request("POST", SPEECH, JSON, BODY))
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(b"GET /health HTTP/1.1\r\nX-Large: ", b"x" * 400_000)
        served.engine.gate.set()
        rest = await connection.reader.read()

    assert b"HTTP/1.1" not in rest
    assert rest.endswith(b"\r\n0\r\n\r\n")


async def test_requests_beyond_a_number_sent_ahead_are_not_answered() -> None:
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(request("GET", "/health", {}) * 1_000)
        answers = (await connection.reader.read()).count(b"HTTP/1.1 200")

    assert 1 < answers < 100


async def test_a_new_connection_takes_the_place_of_the_longest_idle() -> None:
    async with serving(max_connections=3) as served:
        async with (
            connecting(served.url) as first,
            connecting(served.url) as second,
            connecting(served.url) as third,
        ):
            for each in (second, first, third):
                await each.send(request("GET", "/health", {}))
                assert (await each.receive()).status == 200
            async with connecting(served.url) as fourth:
                await fourth.send(request("GET", "/health", {}))
                assert (await fourth.receive()).status == 200
                assert await is_closed(second)
            await first.send(request("GET", "/health", {}))
            assert (await first.receive()).status == 200


async def test_who_comes_when_all_are_at_work_is_503_and_health_answers() -> None:
    async with serving(max_connections=1) as served:
        # Whoever asked whether the server is up is idle by now, and gives way.
        served.engine.gate.clear()
        answers: list[Answer] = []
        async with connecting(served.url) as busy:
            await busy.send(request("POST", SPEECH, JSON, BODY))
            await until(lambda: served.engine.num_active > 0)
            for asked, status in ((request("POST", "/v1/tts", JSON, BODY), 503), (HEALTH, 200)):
                async with connecting(served.url) as late:
                    await late.send(asked)
                    answers.append(await late.receive())
                    assert await is_closed(late)
                    assert answers[-1].status == status
            served.engine.gate.set()
            spoken = await busy.receive()

    assert answers[0].headers["retry-after"] == "5"
    assert "no room" in json.loads(answers[0].body)["message"]
    assert spoken.status == 200
