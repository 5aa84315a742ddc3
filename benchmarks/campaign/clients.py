"""The clients of every dialect, as people use them: official packages, and requests by hand."""

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import fish_audio_sdk
import fishaudio
import httpx
import httpx2
import openai
import ormsgpack
from fish_audio_sdk.exceptions import HttpCodeErr, WebSocketErr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from benchmarks.soak_clients import BrokenOffError, Connection, Heard

PATIENCE_S = 120.0
"""A request that takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Clients:
    """One of each, which all who speak share."""

    url: str
    token: str
    openai: openai.AsyncOpenAI
    cloud: fishaudio.AsyncFishAudio
    legacy: fish_audio_sdk.Session
    http: httpx2.AsyncClient


@asynccontextmanager
async def open_clients(url: str, token: str) -> AsyncIterator[Clients]:
    """Make the clients; none of them tries anything twice."""
    bearer = {"Authorization": f"Bearer {token}"}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        legacy = fish_audio_sdk.Session(token, base_url=url)
        yield Clients(
            url,
            token,
            await enter(
                openai.AsyncOpenAI(
                    base_url=f"{url}/v1", api_key=token, max_retries=0, timeout=PATIENCE_S
                )
            ),
            await enter(fishaudio.AsyncFishAudio(api_key=token, base_url=url, timeout=PATIENCE_S)),
            await enter(legacy),
            await enter(
                httpx2.AsyncClient(
                    base_url=url,
                    headers=bearer,
                    timeout=PATIENCE_S,
                    trust_env=False,
                    limits=httpx2.Limits(max_connections=None),
                )
            ),
        )


Stream = Callable[[Clients], AsyncGenerator[bytes]]


class RefusedError(Exception):
    """The server said no. status: of HTTP; 0 for a refusal on a WebSocket."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message[:200]}")
        self.status = status


def refusal_of(error: BaseException) -> int | None:
    """The status that a client's own exception carries; None if it is no refusal."""
    match error:
        case BaseExceptionGroup():
            return refusal_of(error.exceptions[0])
        case RefusedError():
            return error.status
        case openai.APIStatusError():
            return error.status_code
        case fishaudio.APIError() | HttpCodeErr():
            return int(error.status)
        case InvalidStatus():
            return error.response.status_code
    return None


_CUT = (
    BrokenOffError,
    OSError,
    TimeoutError,
    EOFError,
    httpx.TransportError,
    httpx2.TransportError,
    openai.APIConnectionError,
    fishaudio.WebSocketError,
    WebSocketErr,
    ConnectionClosed,
    WebSocketException,
)
"""How clients say that an answer ended before its end."""


def is_cut(error: BaseException) -> bool:
    """Whether a client says so."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cut(each) for each in error.exceptions)
    return isinstance(error, _CUT)


async def openai_audio(clients: Clients, fields: dict[str, Any]) -> AsyncGenerator[bytes]:
    """OpenAI's package; what it has no parameter for goes into the body all the same."""
    known = {name: fields[name] for name in ("model", "voice", "input")}
    extra = {name: value for name, value in fields.items() if name not in known}
    speech = clients.openai.audio.speech.with_streaming_response
    async with speech.create(**known, extra_body=extra) as answer:
        if fields.get("stream_format") == "sse":
            async for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield _event_audio(json.loads(line[6:]))
        else:
            async for piece in answer.iter_bytes():
                yield piece


def _event_audio(event: dict[str, Any]) -> bytes:
    """What an event says; the one that ends the stream is part of what is compared."""
    match event["type"]:
        case "speech.audio.delta":
            return base64.b64decode(event["audio"])
        case "speech.audio.done":
            return json.dumps(event).encode()
    raise BrokenOffError(f"the last event is {event['type']}")


async def http_audio(
    clients: Clients, method: str, path: str, **request: Any
) -> AsyncGenerator[bytes]:
    """Any request by hand, whose answer is audio."""
    async with clients.http.stream(method, path, **request) as answer:
        if answer.status_code != 200:
            raise RefusedError(answer.status_code, (await answer.aread()).decode(errors="replace"))
        async for piece in answer.aiter_bytes():
            yield piece


async def http_events(clients: Clients, path: str, **request: Any) -> AsyncGenerator[bytes]:
    """Server-sent events with times, as Fish Audio has them; yields their audio."""
    async with clients.http.stream("POST", path, **request) as answer:
        if answer.status_code != 200:
            raise RefusedError(answer.status_code, (await answer.aread()).decode(errors="replace"))
        async for line in answer.aiter_lines():
            if line.startswith("event: error"):
                raise BrokenOffError("the last event is an error")
            if line.startswith("data: "):
                yield base64.b64decode(json.loads(line[6:]).get("audio_base64") or "")


async def linked_audio(clients: Clients, body: dict[str, Any]) -> AsyncGenerator[bytes]:
    """The open API's answer with a link, and what lies there."""
    answer = await clients.http.post("/api/open/tts", json=body)
    if answer.status_code != 200:
        raise RefusedError(answer.status_code, answer.text)
    link = answer.json()["audio_url"]
    async with aclosing(http_audio(clients, "GET", link)) as pieces:
        async for piece in pieces:
            yield piece


async def cloud_audio(clients: Clients, fields: dict[str, Any]) -> AsyncGenerator[bytes]:
    """The official `fishaudio` package."""
    async with _closing(aiter(await clients.cloud.tts.stream(**fields))) as pieces:
        async for piece in pieces:
            yield piece


async def legacy_audio(clients: Clients, fields: dict[str, Any]) -> AsyncGenerator[bytes]:
    """The official `fish_audio_sdk` module."""
    request = fish_audio_sdk.TTSRequest(**fields)
    async with _closing(clients.legacy.tts.awaitable(request)) as pieces:
        async for piece in pieces:
            yield piece


async def cloud_live(
    clients: Clients, texts: tuple[str, ...], fields: dict[str, Any]
) -> AsyncGenerator[bytes]:
    """Live speech with the official package."""
    stream = clients.cloud.tts.stream_websocket(_given(texts), **fields)
    async with _closing(stream) as pieces:
        async for piece in pieces:
            yield piece


async def legacy_live(
    clients: Clients, texts: tuple[str, ...], fields: dict[str, Any]
) -> AsyncGenerator[bytes]:
    """Live speech with the older module, on a connection of its own."""
    request = fish_audio_sdk.TTSRequest(text="", **fields)
    session = fish_audio_sdk.AsyncWebSocketSession(clients.token, base_url=clients.url)
    async with session, _closing(session.tts(request, _given(texts))) as pieces:
        async for piece in pieces:
            yield piece


@asynccontextmanager
async def _closing(stream: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """A package's stream, ended by whoever read it: another task would end that task's work."""
    try:
        yield stream
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def _given(texts: tuple[str, ...]) -> AsyncIterator[Any]:
    for text in texts:
        yield text


async def raw_live(
    clients: Clients, path: str, texts: tuple[str, ...], fields: dict[str, Any]
) -> AsyncGenerator[bytes]:
    """Live speech by hand."""
    url = clients.url.replace("http", "ws", 1) + path
    headers = {"Authorization": f"Bearer {clients.token}"}
    async with connect(
        url, additional_headers=headers, max_size=None, close_timeout=1, proxy=None
    ) as socket:
        await socket.send(ormsgpack.packb({"event": "start", "request": {"text": "", **fields}}))
        with suppress(ConnectionClosed):  # refused already: its finish is still to be read
            for text in texts:
                await socket.send(ormsgpack.packb({"event": "text", "text": text}))
            await socket.send(ormsgpack.packb({"event": "stop"}))
        async for frame in socket:
            event = ormsgpack.unpackb(frame)  # type: ignore[arg-type]
            if event["event"] == "finish":
                if event["reason"] != "stop":
                    await socket.wait_closed()
                    if socket.close_code == 1008:
                        raise RefusedError(0, event["message"])
                    raise BrokenOffError(f"finish: {event}")
                return
            if "audio" in event:
                yield event["audio"]
            else:
                yield base64.b64decode(event.get("audio_base64") or "")
        raise BrokenOffError("there was no finish")


async def socket_audio(clients: Clients, body: bytes) -> AsyncGenerator[bytes]:
    """The wrapper's speech by somebody with tiny buffers who reads a little at a time."""
    connection = await Connection.open(clients.url, is_slow=True)
    try:
        await connection.send(body, headers=f"Authorization: Bearer {clients.token}\r\n")
        heard: Heard = await connection.read_all(piece_bytes=256)
        if heard.status != 200:
            raise RefusedError(heard.status, heard.content.decode(errors="replace"))
        yield heard.content
    finally:
        await connection.close()
