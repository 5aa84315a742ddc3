"""What a client has taken, and how one that takes nothing is cut off."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from fishs2.server.wire.readers import Reader, keep_little
from tests.serving import until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="other sizes of buffers")


class _Protocol(asyncio.Protocol):
    """Tells the reader what uvicorn's protocols tell it."""

    reader: Reader
    is_lost = False

    def pause_writing(self) -> None:
        self.reader.pause()

    def resume_writing(self) -> None:
        self.reader.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reader.resume()
        self.is_lost = True


@dataclass
class Pair:
    """Both ends of a connection. client: blocks."""

    client: socket.socket
    transport: asyncio.Transport
    protocol: _Protocol

    @property
    def reader(self) -> Reader:
        return self.protocol.reader


@asynccontextmanager
async def connected(stall_s: float) -> AsyncIterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keep_little(listener)
        with socket.create_connection(listener.getsockname()) as client:
            accepted, _ = listener.accept()
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.connect_accepted_socket(_Protocol, accepted)
            protocol.reader = Reader(transport, stall_s=stall_s)
            try:
                yield Pair(client, transport, protocol)
            finally:
                transport.abort()


async def test_of_what_nobody_reads_little_leaves() -> None:
    async with connected(stall_s=300.0) as pair:
        pair.transport.write(b"x" * 10_000_000)
        await until(lambda: pair.reader.num_unsent < 10_000_000)

        assert pair.reader.num_unsent > 10_000_000 - 250_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of the window")
async def test_the_window_shrinks_by_what_has_arrived_and_was_not_read() -> None:
    async with connected(stall_s=300.0) as pair:
        windows = []
        for _ in range(15):
            pair.transport.write(b"x" * 4_000)
            await until(lambda: pair.reader.num_unsent == 0)
            windows.append(pair.reader.window or 0)
        # It grows with the first bytes.
        assert windows[2] > windows[6] > windows[10] > windows[14]

        pair.client.recv(60_000, socket.MSG_WAITALL)
        pair.transport.write(b"x")
        await until(lambda: pair.reader.num_unsent == 0 and (pair.reader.window or 0) > windows[10])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
async def test_on_this_machine_it_is_known_what_was_not_read() -> None:
    async with connected(stall_s=300.0) as pair:
        pair.transport.write(b"x" * 3_000)
        pair.client.recv(1_000, socket.MSG_WAITALL)
        assert pair.reader.num_unread == 2_000

        pair.transport.abort()
        assert pair.reader.num_unread is None


async def test_who_takes_nothing_is_cut_off() -> None:
    async with connected(stall_s=0.05) as pair:
        pair.transport.write(b"x" * 1_000_000)
        await until(lambda: pair.protocol.is_lost)

        assert pair.reader.num_unsent > 0


async def test_who_has_taken_everything_may_wait() -> None:
    async with connected(stall_s=0.05) as pair:
        pair.transport.write(b"x" * 1_000_000)
        await asyncio.to_thread(pair.client.recv, 1_000_000, socket.MSG_WAITALL)
        late = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.2, late.set_result, None)
        await late

        assert not pair.protocol.is_lost
