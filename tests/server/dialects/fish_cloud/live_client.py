"""A client of /v1/tts/live that sends what the test likes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import ormsgpack
from websockets.asyncio.client import ClientConnection, connect

from tests.serving import PATIENCE_S, Served

LIVE = "/v1/tts/live"


@dataclass(slots=True)
class LiveClient:
    """One connection. events: what the server has said; audio: of these, joined."""

    socket: ClientConnection
    events: list[dict[str, Any]] = field(default_factory=list)

    async def say(self, event: str, **fields: object) -> None:
        await self.socket.send(ormsgpack.packb({"event": event, **fields}))

    async def start(self, **request: object) -> None:
        await self.say("start", request={"text": "", "format": "pcm", **request})

    async def hear(self) -> dict[str, Any]:
        """The next event."""
        frame = await self.socket.recv()
        assert isinstance(frame, bytes)
        assert len(frame) <= 65_536
        event: dict[str, Any] = ormsgpack.unpackb(frame)
        self.events.append(event)
        return event

    async def hear_audio(self) -> bytes:
        """The next audio; nothing else may come before it."""
        event = await self.hear()
        assert event["event"] == "audio", event
        audio: bytes = event["audio"]
        return audio

    async def hear_all(self) -> dict[str, Any]:
        """Everything, to the finish, which is returned."""
        while (event := await self.hear())["event"] != "finish":
            pass
        return event

    async def close_code(self) -> int | None:
        """How the server closes, after the finish."""
        await self.socket.wait_closed()
        return self.socket.close_code

    @property
    def audio(self) -> bytes:
        return b"".join(each["audio"] for each in self.events if each["event"] == "audio")


@asynccontextmanager
async def live(
    served: Served, *, path: str = LIVE, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[LiveClient]:
    """Connect as a client of the cloud, unless `headers` say otherwise."""
    headers = {"model": "s2-pro"} if headers is None else headers
    url = served.url.replace("http", "ws", 1) + path
    # A client that has not read everything cannot hear the server's goodbye.
    options = {"max_size": None, "open_timeout": PATIENCE_S, "close_timeout": 0.1, **options}
    async with connect(url, additional_headers=headers, **options) as socket:
        yield LiveClient(socket)
