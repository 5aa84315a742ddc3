"""Clients that offer HTTP/2, and clients that know no more than HTTP/1.0."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from fishs2.audio.decode import decode_audio
from fishs2.cli.serve import server_config
from tests.fakes import FakeEngine
from tests.server.wire.raw import connecting, request
from tests.serving import PATIENCE_S, make_app, serving

SPEECH = "/v1/audio/speech"
BODY = {"model": "fishs2", "input": "Hello there.", "response_format": "pcm"}
JSON = {"Content-Type": "application/json"}
H2C = {
    # As Java's HttpClient and curl send it.
    "Connection": "Upgrade, HTTP2-Settings",
    "HTTP2-Settings": "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
    "Upgrade": "h2c",
}
UNKNOWN = {"Connection": "keep-alive, upgrade", "Upgrade": "something/7"}
FORM = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nHello there.\r\n--x--\r\n'


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    pieces = [body[:half], body[half:], b""]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def in_bytes(whole: bytes) -> list[bytes]:
    return [whole[i : i + 1] for i in range(len(whole))]


@pytest.mark.parametrize("offer", [H2C, UNKNOWN], ids=["h2c", "unknown"])
@pytest.mark.parametrize("pace", ["at once", "head first", "byte by byte"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_an_offer_of_another_protocol_is_ignored(
    offer: dict[str, str], pace: str, framing: str
) -> None:
    plain = json.dumps(BODY).encode()
    more = {"Transfer-Encoding": "chunked"} if framing == "chunks" else {}
    sent = chunked(plain) if framing == "chunks" else plain
    whole = request("POST", SPEECH, {**JSON, **offer, **more}, sent)
    head = len(whole) - len(sent)
    pieces = {
        "at once": [whole],
        "head first": [whole[:head], whole[head:]],
        "byte by byte": in_bytes(whole),
    }[pace]
    async with serving() as served, connecting(served.url) as connection:
        expected = (await served.client.post(SPEECH, json=BODY)).content
        answers = []
        for _ in range(3):
            # On one connection: the next request must not be taken for the rest of this one.
            await connection.send(*pieces)
            answers.append(await connection.receive())
        await connection.send(request("GET", "/health", {}))
        health = await connection.receive()

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert {answer.body for answer in answers} == {expected}
    assert "upgrade" not in answers[0].headers
    assert health.status == 200


async def test_an_offer_spares_forms_and_large_bodies() -> None:
    large = json.dumps({**BODY, "unknown": "x" * 3_000_000}).encode()
    form = {**H2C, "Content-Type": "multipart/form-data; boundary=x"}
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(request("POST", "/v1/tts", form, FORM))
        spoken = await connection.receive()
        await connection.send(request("POST", SPEECH, {**JSON, **H2C}, large))
        spoken_too = await connection.receive()

    assert (spoken.status, spoken_too.status) == (200, 200)
    assert spoken.body


async def test_an_offer_without_a_body_is_ignored() -> None:
    async with serving() as served, connecting(served.url) as connection:
        for method in ("GET", "HEAD"):
            await connection.send(request(method, "/health", H2C))
            answer = await connection.receive(has_body=method == "GET")
            assert answer.status == 200


async def test_requests_sent_one_behind_the_other_survive_an_offer() -> None:
    body = json.dumps(BODY).encode()
    both = request("POST", SPEECH, {**JSON, **H2C}, body) + request("GET", "/health", {})
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(both)
        spoken = await connection.receive()
        health = await connection.receive()

    assert (spoken.status, health.status) == (200, 200)
    assert json.loads(health.body)["status"] == "ok"


async def test_a_post_that_asks_for_a_websocket_is_a_plain_request() -> None:
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", **JSON}
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(request("POST", SPEECH, offer, json.dumps(BODY).encode()))
        answer = await connection.receive()

    assert answer.status == 200


async def test_websockets_are_still_opened() -> None:
    async with serving() as served:
        url = served.url.replace("http", "ws") + "/v1/tts/live"
        async with connect(url, open_timeout=PATIENCE_S) as socket:
            pong = await socket.ping()
            assert await pong >= 0


async def test_what_is_no_http_is_400_and_ends_the_connection() -> None:
    async with serving() as served:
        for start in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"):
            async with connecting(served.url) as connection:
                await connection.send(start)
                assert (await connection.receive()).status == 400
                assert await connection.reader.read() == b""


async def test_http_1_0_gets_no_chunks_and_the_body_ends_with_the_connection() -> None:
    body = json.dumps({**BODY, "stream": True}).encode()
    async with serving() as served, connecting(served.url) as connection:
        expected = (await served.client.post(SPEECH, json=BODY)).content
        await connection.send(request("POST", SPEECH, JSON, body, version="1.0"))
        answer = await connection.receive()

    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["connection"] == "close"
    assert answer.body == expected


async def test_http_1_0_is_not_told_to_continue() -> None:
    body = json.dumps(BODY).encode()
    head = request("POST", SPEECH, {**JSON, "Expect": "100-continue"}, body, version="1.0")
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(head)
        answer = await connection.receive()

    assert answer.status == 200


async def test_http_1_0_keeps_a_connection_where_the_length_is_known() -> None:
    keep = {"Connection": "keep-alive"}
    async with serving() as served, connecting(served.url) as connection:
        for _ in range(2):
            await connection.send(request("GET", "/health", keep, version="1.0"))
            answer = await connection.receive()
            assert answer.headers["connection"] == "keep-alive"
        await connection.send(request("GET", "/health", {}, version="1.0"))
        assert (await connection.receive()).headers["connection"] == "close"
        assert await connection.reader.read() == b""


async def test_speech_that_breaks_off_resets_a_connection_of_http_1_0() -> None:
    engine = FakeEngine(fail_after_chunks=2)
    body = json.dumps({**BODY, "input": "A long text. " * 8, "stream": True}).encode()
    async with serving(engine) as served, connecting(served.url) as connection:
        await connection.send(request("POST", SPEECH, JSON, body, version="1.0"))
        with pytest.raises(ConnectionResetError):
            await connection.receive()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("flag", ["--http2", "--http1.0"])
async def test_curl_speaks_whatever_protocol_it_prefers(flag: str, tmp_path: Path) -> None:
    async with serving() as served:
        command = ["curl", "-sS", flag, f"{served.url}{SPEECH}", "-o", str(tmp_path / "out.wav")]
        body = json.dumps({"model": "fishs2", "input": "Hello there."})
        command += ["-H", "Content-Type: application/json", "-d", body, "-w", "%{http_code}"]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, timeout=PATIENCE_S, text=True, check=True
        )

    assert done.stdout == "200"
    assert len(decode_audio((tmp_path / "out.wav").read_bytes(), max_seconds=60).pcm)


async def test_an_idle_connection_is_kept_for_more_than_a_minute() -> None:
    async with serving() as served:
        config = server_config(make_app(served.services, served.settings), served.settings)

    # Proxies and clients reuse a connection for up to 60 s.
    assert config.timeout_keep_alive == 65
