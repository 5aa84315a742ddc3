"""A Wyoming port around a fake engine, and a client that reads an answer to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.event import Event

from fishs2.cli.serve import open_port
from fishs2.runtime import wyoming_options
from fishs2.server.wire.stopping import Stopping
from fishs2.wyoming.listener import WyomingListener
from tests.fakes import FakeEngine
from tests.serving import Served, serving


@dataclass(frozen=True, slots=True)
class Port:
    """What `listening` yields. port: of Wyoming. stopping: ends it."""

    port: int
    served: Served
    stopping: Stopping

    def client(self) -> AsyncTcpClient:
        return AsyncTcpClient("127.0.0.1", self.port)


@dataclass(slots=True)
class Answer:
    """The events of one answer. pcm: its sound."""

    events: list[Event] = field(default_factory=list)
    pcm: bytes = b""

    @property
    def kinds(self) -> list[str]:
        """Their types, those that follow one another and are equal as one."""
        kinds = [event.type for event in self.events]
        return [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]


@asynccontextmanager
async def listening(
    engine: FakeEngine | None = None, *, max_connections: int = 8, **settings: Any
) -> AsyncIterator[Port]:
    """Serve Wyoming on a free port, beside a server around the engine."""
    async with serving(engine, wyoming_port=0, **settings) as served:
        options = wyoming_options(served.settings)
        assert options is not None
        options = replace(options, max_connections=max_connections)
        with open_port(options.host, options.port) as socket:
            listener = WyomingListener(socket, served.services, options)
            stopping = Stopping()
            await listener.start(stopping)
            try:
                yield Port(socket.getsockname()[1], served, stopping)
            finally:
                stopping.begin()
                await listener.close()


async def read_answer(client: AsyncTcpClient, *, last: str = "audio-stop") -> Answer:
    """Read until the last event, an error, or the end of the connection."""
    answer = Answer()
    while (event := await client.read_event()) is not None:
        answer.events.append(event)
        if AudioChunk.is_type(event.type):
            answer.pcm += AudioChunk.from_event(event).audio
        if event.type in (last, "error"):
            break
    return answer
