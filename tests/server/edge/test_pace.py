"""Speech is made for whoever listens: one that reads nothing is given a few seconds of it."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from fishs2.errors import StalledReaderError
from fishs2.server.edge.pace import Pace
from tests.fakes import FakeEngine
from tests.server.wire.raw import request
from tests.serving import PATIENCE_S, serving, until

SPEECH = "/v1/audio/speech"
JSON = {"Content-Type": "application/json"}
LONG = " ".join(f"Sentence number {n} goes on for a while." for n in range(80))


class FakeListener:
    """num_unsent, num_unread: what it says. reads: whether its room stays, or shrinks.

    stall_s: its patience.
    """

    def __init__(
        self,
        *,
        num_unsent: int = 0,
        num_unread: int | None = None,
        reads: bool = True,
        stall_s: float = 300.0,
    ) -> None:
        self.num_unsent = num_unsent
        self.num_unread = num_unread
        self.reads = reads
        self.stall_s = stall_s
        self._window = 100_000

    @property
    def window(self) -> int:
        self._window -= 0 if self.reads else 1_024
        return self._window


async def forget(bit: bytes) -> None:
    """Sends nothing."""


async def send_until_held(pace: Pace, *, piece_s: float, num_pieces: int) -> int:
    """Send pieces of 1,000 bytes until one is held back, or all are sent; how many were."""
    for index in range(num_pieces):
        waiting = asyncio.create_task(pace.wait(b"x" * 1_000, (index + 1) * piece_s, forget))
        await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            return index
    return num_pieces


@pytest.mark.parametrize(
    "listener", [FakeListener(num_unsent=10**9), FakeListener(reads=False)], ids=["sent", "read"]
)
async def test_a_client_that_reads_nothing_gets_some_seconds(listener: FakeListener) -> None:
    num_sent = await send_until_held(Pace(listener), piece_s=1.0, num_pieces=100)

    assert 5 <= num_sent <= 7


async def test_a_client_that_reads_gets_speech_as_fast_as_it_is_made() -> None:
    pace = Pace(FakeListener())
    for index in range(100):
        assert await pace.wait(b"x" * 10_000, 10.0 * (index + 1), forget)


@pytest.mark.parametrize(("piece_s", "most"), [(1.0, 6), (0.001, 132)], ids=["sound", "bytes"])
async def test_who_is_known_to_read_nothing_is_held_for_ever(piece_s: float, most: int) -> None:
    listener = FakeListener()
    pace, num_sent = Pace(listener), 0

    for index in range(500):
        listener.num_unread = num_sent * 1_000
        waiting = asyncio.create_task(pace.wait(b"x" * 1_000, (index + 1) * piece_s, forget))
        await asyncio.sleep(0)
        if not waiting.done():
            waiting.cancel()
            break
        num_sent += 1

    assert num_sent == most


async def test_who_is_known_to_read_is_sent_more_when_it_has() -> None:
    listener = FakeListener(num_unread=60_000)
    pace = Pace(listener)
    await pace.wait(b"x" * 60_000, 60.0, forget)
    waiting = asyncio.create_task(pace.wait(b"x" * 1_000, 61.0, forget))
    await asyncio.sleep(0)
    assert not waiting.done()
    listener.num_unread = 3_000

    assert await waiting == b"x" * 1_000
    assert pace.unread_s == 3.0


async def test_who_takes_nothing_for_too_long_has_stalled() -> None:
    listener = FakeListener(num_unread=60_000, stall_s=0.01)
    pace = Pace(listener)
    await pace.wait(b"x" * 60_000, 60.0, forget)

    with pytest.raises(StalledReaderError):
        await pace.wait(b"x", 61.0, forget)


async def test_a_client_that_goes_is_waited_for_no_more() -> None:
    listener = FakeListener(num_unread=60_000)
    pace = Pace(listener)
    await pace.wait(b"x" * 60_000, 60.0, forget)
    waiting = asyncio.create_task(pace.wait(b"x", 61.0, forget))
    await asyncio.sleep(0)
    listener.num_unread = None

    assert await waiting == b"x"


async def test_a_long_piece_is_sent_in_bits_with_a_look_before_each() -> None:
    listener = FakeListener(num_unread=0)
    bits: list[bytes] = []

    async def send(bit: bytes) -> None:
        bits.append(bit)
        listener.num_unread = sum(map(len, bits))

    pace = Pace(listener)
    waiting = asyncio.create_task(pace.wait(b"x" * 1_000_000, 10.0, send))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert 65_536 <= sum(map(len, bits)) <= 200_000
    listener.num_unread = 0

    def has_read_all() -> bool:
        listener.num_unread = 0
        return waiting.done()

    await until(has_read_all)

    assert b"".join(bits) + waiting.result() == b"x" * 1_000_000


async def test_nobody_is_held_back_where_nobody_knows_who_reads() -> None:
    assert await send_until_held(Pace(None), piece_s=60.0, num_pieces=500) == 500


@pytest.mark.parametrize(
    "listener", [FakeListener(num_unsent=10**9), FakeListener(reads=False)], ids=["sent", "read"]
)
async def test_whoever_reads_again_is_sent_more(listener: FakeListener) -> None:
    pace = Pace(listener)
    await pace.wait(b"x" * 1_000, 100.0, forget)
    waiting = asyncio.create_task(pace.wait(b"x" * 1_000, 200.0, forget))
    await asyncio.sleep(0)
    assert not waiting.done()
    listener.num_unsent, listener.reads = 0, True

    await waiting


async def test_what_was_read_is_asked_with_bits_of_the_piece() -> None:
    """A client's answer to the last bytes says what it had read before they came."""
    listener = FakeListener(reads=False)
    pace = Pace(listener)
    assert await pace.wait(b"x" * 60_000, 60.0, forget) == b"x" * 60_000
    bits: list[bytes] = []

    async def send(bit: bytes) -> None:
        bits.append(bit)
        listener.reads = len(bits) == 2

    rest = await pace.wait(b"y" * 10_000, 120.0, send)

    assert len(bits) == 2
    assert b"".join(bits) + rest == b"y" * 10_000


@pytest.mark.timeout(100)
def test_a_client_that_reads_is_not_held_to_the_pace_of_speech(builtin_server: str) -> None:
    body = {"text": LONG, "format": "opus", "opus_bitrate": 24}
    # That would take as long as it sounds, and the test has a limit.
    answer = httpx.post(f"{builtin_server}/v1/tts", json=body, timeout=PATIENCE_S)

    assert len(answer.content) * 8 / 24_000 > 120


@contextmanager
def access_lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    with caplog.at_level(logging.INFO, logger="fishs2.access"):
        yield caplog.records


def num_bytes(lines: list[logging.LogRecord]) -> int:
    (line,) = [each for each in lines if vars(each).get("path") == SPEECH]
    return int(vars(line)["bytes"])


@pytest.mark.parametrize("kind", ["opus", "mp3", "wav", "whole"])
async def test_a_client_that_reads_nothing_is_sent_little_and_the_log_says_how_much(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields = b'"wav","stream":false' if kind == "whole" else b'"%s","stream":true' % kind.encode()
    body = b'{"model":"fishs2","input":"%s","response_format":%s}' % (LONG.encode(), fields)
    stall_s = 0.3 if kind in ("wav", "whole") else 300.0
    engine = FakeEngine()
    with access_lines(caplog) as lines:
        async with serving(engine, client_stall_s=stall_s) as served:
            address = urlsplit(served.url)
            with socket.create_connection((address.hostname, address.port)) as connection:
                connection.sendall(request("POST", SPEECH, JSON, body))
                await until(lambda: len(engine.utterances) > 1)
                # Meanwhile it could be sent whatever there is for it.
                other = {"model": "fishs2", "input": LONG, "response_format": "mp3"}
                await served.client.post("/compat" + SPEECH, json=other)
                if stall_s < 1:
                    # It is cut off.
                    await until(lambda: any(vars(x).get("path") == SPEECH for x in lines))
            await until(lambda: any(vars(x).get("path") == SPEECH for x in lines))

    assert num_bytes(lines) <= 256_000
