"""Speech as an HTTP answer: whole, chunked, or as server-sent events.

The status is decided by the first audio: whatever goes wrong before it becomes an error answer,
whatever goes wrong after it cuts the connection (or sends an error event, for SSE). A client that
leaves, or that takes nothing for too long, ends the work.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fishs2.errors import EngineError, Fishs2Error, StalledReaderError, UserError
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.service.accounts.accounts import Reservation
from fishs2.service.speech.performance import SpeechPlan, SpeechService, cost
from fishs2.service.speech.report import SpeechReport

logger = logging.getLogger(__name__)

Delivery = Literal["whole", "chunked", "sse"]

_T = TypeVar("_T")

_ENCODINGS = {"wav": "pcm_s16le", "pcm": "pcm_s16le"}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a `SpeechResponse` sends: who speaks what, under which headers.

    admission: entered before anything is spoken; whoever may not is refused there. more_headers:
    of the dialect.
    """

    speech: SpeechService
    plan: SpeechPlan
    content_type: str
    admission: AbstractAsyncContextManager[Reservation]
    more_headers: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """Headers that describe the audio and the engine."""
        audio_format = self.plan.format
        return {
            **engine_headers(self.speech, self.plan),
            **self.more_headers,
            "X-Audio-Sample-Rate": str(audio_format.sample_rate_hz),
            "X-Audio-Channels": "1",
            "X-Audio-Encoding": _ENCODINGS.get(audio_format.name, audio_format.name),
        }


def speech_headers(spoken: Spoken) -> Response:
    """What an answer with the speech would say of it, without speaking: for HEAD."""
    response = Response(headers=spoken.headers(), media_type=spoken.content_type)
    # Nobody knows yet how long it becomes.
    del response.headers["content-length"]
    return response


def engine_headers(speech: SpeechService, plan: SpeechPlan) -> dict[str, str]:
    """Headers that say who speaks, and what of the request it cannot act on."""
    headers = {"X-Fishs2-Engine": speech.engine_name}
    if plan.cloning == "approximate":
        headers["X-Fishs2-Cloning"] = "approximate"
    if plan.ignored:
        headers["X-Fishs2-Ignored"] = ", ".join(plan.ignored)
    return headers


class SpeechEvents(Protocol):
    """How a dialect tells of speech in server-sent events; one instance for each answer."""

    def audio(self, piece: bytes) -> bytes:
        """The events of a piece of audio."""
        ...

    def end(self) -> bytes:
        """What follows the last audio."""
        ...

    def error(self, problem: Problem) -> bytes:
        """What is said when the speech breaks off."""
        ...


class SpeechResponse(Response):
    """Speaks while it is being sent. Raises Fishs2Error as long as nothing has been sent."""

    def __init__(
        self,
        spoken: Spoken,
        *,
        delivery: Delivery,
        client_stall_s: float,
        events: Callable[[SpeechPlan, SpeechReport], SpeechEvents] | None = None,
    ) -> None:
        """events: how server-sent events tell of the speech, for delivery `sse`."""
        super().__init__()
        self._spoken = spoken
        self._delivery = delivery
        self._client_stall_s = client_stall_s
        self._report = SpeechReport()
        self._events = events(spoken.plan, self._report) if events else None
        self._has_started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._answer(send))

    async def _answer(self, send: Send) -> None:
        try:
            async with self._spoken.admission as reservation:
                try:
                    last = await self._deliver(send)
                finally:
                    reservation.outcome = cost(self._spoken.plan, self._report)
            # Settled by now: whoever has the whole answer can rely on the account.
            await self._send_piece(send, last, more=False)
        except Fishs2Error as error:
            if not self._has_started:
                raise
            # Too late for a status: an answer that never ends properly is the honest sign.
            request_id = self._spoken.plan.request.request_id
            logger.error("speech broke off: %s", error, extra={"request_id": request_id})

    async def _deliver(self, send: Send) -> bytes:
        """Speak, and send all but the last piece, which is returned."""
        match self._delivery:
            case "whole":
                return await self._send_whole(send)
            case "chunked":
                return await self._send_chunked(send)
            case "sse":
                return await self._send_events(send)

    async def _send_whole(self, send: Send) -> bytes:
        body = await self._spoken.speech.render(self._spoken.plan, self._report)
        headers = {
            **self._spoken.headers(),
            "Content-Length": str(len(body)),
            "X-Audio-Duration": f"{self._report.audio_s:.3f}",
        }
        await self._start(send, self._spoken.content_type, headers)
        return body

    async def _send_chunked(self, send: Send) -> bytes:
        pieces = self._spoken.speech.stream(self._spoken.plan, self._report)
        async with aclosing(pieces):
            first = await anext(pieces)
            await self._start(send, self._spoken.content_type, self._spoken.headers())
            await self._send_piece(send, first, more=True)
            async for piece in pieces:
                await self._send_piece(send, piece, more=True)
        return b""

    async def _send_events(self, send: Send) -> bytes:
        told = self._events
        assert told is not None
        async with aclosing(self._make_events(told)) as events:
            first = await anext(events)
            headers = {**self._spoken.headers(), "Cache-Control": "no-cache"}
            await self._start(send, "text/event-stream", headers)
            await self._send_piece(send, first, more=True)
            try:
                async for event in events:
                    await self._send_piece(send, event, more=True)
            except (EngineError, UserError) as error:
                event = told.error(describe_error(error))
                await self._send_piece(send, event, more=False)
                raise
        return b""

    async def _make_events(self, told: SpeechEvents) -> AsyncGenerator[bytes]:
        """Yield what tells of each piece of audio, then what ends it."""
        async with aclosing(self._spoken.speech.stream(self._spoken.plan, self._report)) as pieces:
            async for piece in pieces:
                if piece:
                    yield told.audio(piece)
        yield told.end()

    async def _start(self, send: Send, content_type: str, headers: dict[str, str]) -> None:
        raw = [("content-type", content_type), *headers.items()]
        self._has_started = True
        await send(
            {
                "type": "http.response.start",
                "status": HTTPStatus.OK,
                "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in raw],
            }
        )

    async def _send_piece(self, send: Send, piece: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._client_stall_s):
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError:
            raise StalledReaderError(
                f"the client took nothing for {self._client_stall_s:g} s"
            ) from None


async def while_connected(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T:
    """Do this as long as the client stays. receive: after the whole body.

    Raises ClientDisconnect, once the work has been cancelled, and what the work raises.
    """
    doing = asyncio.create_task(work)
    left = asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait({doing, left}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Waiting for the cancelled work is what frees the engine before we return.
        doing.cancel()
        left.cancel()
        await asyncio.wait({doing, left})
    if doing.cancelled():
        raise ClientDisconnect
    return doing.result()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def packed_json(content: dict[str, object]) -> bytes:
    """As events carry it: one line, no needless spaces."""
    return json.dumps(content, separators=(",", ":")).encode()
