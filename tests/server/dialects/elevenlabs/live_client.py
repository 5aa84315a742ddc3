"""A client of ElevenLabs' WebSockets that sends what the test likes."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.serving import PATIENCE_S, Served


@dataclass(slots=True)
class LiveClient:
    """One connection. frames: what the server has said."""

    socket: ClientConnection
    frames: list[dict[str, Any]] = field(default_factory=list)

    async def say(self, **fields: object) -> None:
        await self.socket.send(json.dumps(fields))

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        text = await self.socket.recv()
        assert isinstance(text, str)
        assert len(text) <= 65_536
        frame: dict[str, Any] = json.loads(text)
        self.frames.append(frame)
        return frame

    async def hear_final(self, context_id: str | None = None) -> dict[str, Any]:
        """Everything, to the isFinal of a context, which is returned."""
        while True:
            frame = await self.hear()
            if frame.get("isFinal") and frame.get("contextId") == context_id:
                return frame

    async def hear_audio(self) -> bytes:
        """The next audio; nothing else may come before it."""
        frame = await self.hear()
        assert frame.get("audio"), frame
        return base64.b64decode(frame["audio"])

    async def close_code(self) -> int | None:
        """How the server closes."""
        await self.socket.wait_closed()
        return self.socket.close_code

    def audio_of(self, context_id: str | None = None) -> bytes:
        """All audio of a context."""
        return b"".join(
            base64.b64decode(frame["audio"])
            for frame in self.frames
            if frame.get("audio") and frame.get("contextId") == context_id
        )


@asynccontextmanager
async def live(
    served: Served,
    *,
    name: str = "stream-input",
    voice: str = "default",
    query: str = "output_format=pcm_24000",
    headers: dict[str, str] | None = None,
) -> AsyncIterator[LiveClient]:
    """Connect to one of the two WebSockets."""
    root = served.url.replace("http", "ws", 1)
    url = f"{root}/v1/text-to-speech/{voice}/{name}?{query}"
    # A client that has not read everything cannot hear the server's goodbye.
    options: dict[str, Any] = {
        "max_size": None,
        "open_timeout": PATIENCE_S,
        "close_timeout": 0.1,
        "additional_headers": headers or {},
    }
    async with connect(url, **options) as socket:
        yield LiveClient(socket)


@asynccontextmanager
async def multi(served: Served, **options: Any) -> AsyncIterator[LiveClient]:
    """Connect to the one for several contexts."""
    async with live(served, name="multi-stream-input", **options) as client:
        yield client
