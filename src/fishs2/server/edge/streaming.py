"""Speech as an HTTP answer: whole, chunked, or as server-sent events.

The status is decided by the first audio: whatever goes wrong before it becomes an error answer,
whatever goes wrong after it cuts the connection (or sends an error event, for SSE). A client that
leaves, or that takes nothing for too long, ends the work.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fishs2.errors import EngineError, Fishs2Error, StalledReaderError, UserError
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.server.edge.pace import Pace, pace_of
from fishs2.server.edge.timed import JSON_TYPE, Beside, content_type, timed_answer
from fishs2.service.accounts.accounts import Principal
from fishs2.service.speech.desk import Desk
from fishs2.service.speech.plan import SpeechPlan
from fishs2.service.speech.service import Spoken
from fishs2.service.speech.verify import verify_header
from fishs2.service.speech.whole import WholeScript

logger = logging.getLogger(__name__)

Delivery = Literal["whole", "chunked", "sse", "lines", "timed"]
"""lines: one JSON object each; timed: whole, with times beside the audio or in its place."""

_PIECE_BYTES = 1_048_576
"""Of a whole answer, what is read and sent at once."""

_T = TypeVar("_T")

_BIT_BYTES = 65_536

_ENCODINGS = {"wav": "pcm_s16le", "pcm": "pcm_s16le"}


CONTENT_TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
}
"""By format, where a dialect has no other. Source: RFC 3003, 5334 and 9639; common use."""


def audio_content(content_types: Iterable[str]) -> dict[str, Any]:
    """How the API page describes answers that are audio."""
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in content_types}


@dataclass(frozen=True, slots=True)
class SpeechOrder:
    """What a `SpeechResponse` sends: what is spoken for whom, under which headers.

    more_headers: of the dialect.
    """

    desk: Desk
    principal: Principal
    script: WholeScript
    content_type: str
    more_headers: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """Headers that describe the audio and the engine."""
        audio_format = self.script.plan.format
        return {
            **engine_headers(self.script.plan),
            **self.more_headers,
            "X-Audio-Sample-Rate": str(audio_format.sample_rate_hz),
            "X-Audio-Channels": "1",
            "X-Audio-Encoding": _ENCODINGS.get(audio_format.name, audio_format.name),
        }


def speech_headers(order: SpeechOrder) -> Response:
    """What an answer with the speech would say of it, without speaking: for HEAD."""
    response = Response(headers=order.headers(), media_type=order.content_type)
    # Nobody knows yet how long it becomes.
    del response.headers["content-length"]
    return response


def engine_headers(plan: SpeechPlan) -> dict[str, str]:
    """Headers that say who speaks, and what of the request it cannot act on."""
    headers = {"X-Fishs2-Engine": plan.engine.name}
    if plan.cloning == "approximate":
        headers["X-Fishs2-Cloning"] = "approximate"
    if plan.times is not None:
        headers["X-Fishs2-Times"] = plan.times
    if plan.ignored:
        headers["X-Fishs2-Ignored"] = ", ".join(plan.ignored)
    return headers


class SpeechLines(Protocol):
    """How a dialect tells of speech, piece by piece; one instance for each answer."""

    def audio(self, piece: bytes) -> bytes:
        """What tells of a piece of audio."""
        ...

    def end(self) -> bytes:
        """What follows the last audio."""
        ...


class SpeechEvents(SpeechLines, Protocol):
    """The same in server-sent events."""

    def error(self, problem: Problem) -> bytes:
        """What is said when the speech breaks off."""
        ...


class SpeechResponse(Response):
    """Speaks while it is being sent. Raises Fishs2Error as long as nothing has been sent."""

    def __init__(
        self,
        order: SpeechOrder,
        *,
        delivery: Delivery,
        client_stall_s: float,
        events: Callable[[Spoken], SpeechEvents] | None = None,
        lines: Callable[[Spoken], SpeechLines] | None = None,
        beside: Beside | None = None,
    ) -> None:
        """events, lines: how the speech is told of, for delivery `sse` and `lines`. beside: what
        JSON has beside the audio, for delivery `timed`; None means ours.
        """
        super().__init__()
        self._order = order
        # The verdict is in a header, and known at the end.
        is_verified = order.script.plan.request.verify
        self._delivery = "whole" if is_verified and delivery == "chunked" else delivery
        self._client_stall_s = client_stall_s
        self._events = events
        self._lines = lines
        self._beside = beside
        self._has_started = False
        self._pace = Pace(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._pace = pace_of(scope)
        await while_connected(receive, self._answer(send))

    async def _answer(self, send: Send) -> None:
        order = self._order
        try:
            async with order.desk.speak(order.principal, order.script) as spoken:
                last = await self._deliver(spoken, send)
            # Settled by now: whoever has the whole answer can rely on the account.
            await self._send_piece(send, last, more=False)
        except Fishs2Error as error:
            if not self._has_started:
                raise
            # Too late for a status: an answer that never ends properly is the honest sign.
            request_id = order.script.plan.request.request_id
            logger.error("speech broke off: %s", error, extra={"request_id": request_id})

    async def _deliver(self, spoken: Spoken, send: Send) -> bytes:
        """Speak, and send all but the last piece, which is returned."""
        match self._delivery:
            case "whole":
                return await self._send_whole(spoken, send)
            case "chunked":
                return await self._send_chunked(spoken, send)
            case "sse":
                return await self._send_events(spoken, send)
            case "lines":
                return await self._send_lines(spoken, send)
            case "timed":
                return await self._send_timed(spoken, send)

    async def _send_whole(self, spoken: Spoken, send: Send) -> bytes:
        async with spoken.render() as sound, aclosing(sound.pieces(_PIECE_BYTES)) as pieces:
            # Read first: if the disk fails, there is still an honest status.
            last = await anext(pieces, b"")
            headers = {
                **self._order.headers(),
                "Content-Length": str(sound.num_bytes),
                "X-Audio-Duration": f"{spoken.report.audio_s:.3f}",
            }
            if spoken.report.verdicts:
                headers["X-Fishs2-Verify"] = verify_header(spoken.report.verdicts)
            await self._start(send, self._order.content_type, headers)
            async for piece in pieces:
                await self._send_piece(send, last, more=True)
                last = piece
        return last

    async def _send_timed(self, spoken: Spoken, send: Send) -> bytes:
        async with spoken.render() as sound:
            num_bytes, pieces = await timed_answer(spoken, sound, self._beside)
            async with aclosing(pieces):
                last = await anext(pieces)
                headers = {**self._order.headers(), "Content-Length": str(num_bytes)}
                if spoken.times is not None:
                    # Where the listener failed it is less than what was planned.
                    headers["X-Fishs2-Times"] = spoken.times.kind
                if spoken.report.verdicts:
                    headers["X-Fishs2-Verify"] = verify_header(spoken.report.verdicts)
                kind = content_type(self._order.script.plan.request)
                await self._start(send, kind, headers)
                async for piece in pieces:
                    await self._send_piece(send, last, more=True)
                    last = piece
        return last

    async def _send_chunked(self, spoken: Spoken, send: Send) -> bytes:
        async with aclosing(spoken.stream()) as pieces:
            first = await anext(pieces)
            await self._start(send, self._order.content_type, self._order.headers())
            await self._send_piece(send, first, more=True)
            async for piece in pieces:
                await self._send_in_time(send, piece, spoken)
        return b""

    async def _send_events(self, spoken: Spoken, send: Send) -> bytes:
        assert self._events is not None
        told = self._events(spoken)
        async with aclosing(_make_lines(spoken, told)) as events:
            first = await anext(events)
            headers = {**self._order.headers(), "Cache-Control": "no-cache"}
            await self._start(send, "text/event-stream", headers)
            await self._send_piece(send, first, more=True)
            try:
                async for event in events:
                    await self._send_in_time(send, event, spoken)
            except (EngineError, UserError) as error:
                event = told.error(describe_error(error))
                await self._send_piece(send, event, more=False)
                raise
        return b""

    async def _send_lines(self, spoken: Spoken, send: Send) -> bytes:
        assert self._lines is not None
        async with aclosing(_make_lines(spoken, self._lines(spoken))) as lines:
            first = await anext(lines)
            await self._start(send, JSON_TYPE, self._order.headers())
            await self._send_piece(send, first, more=True)
            async for line in lines:
                await self._send_in_time(send, line, spoken)
        return b""

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

    async def _send_in_time(self, send: Send, piece: bytes, spoken: Spoken) -> None:
        async def send_bit(bit: bytes) -> None:
            await self._send_bit(send, bit, more=True)

        rest = await self._pace.wait(piece, spoken.report.audio_s, send_bit)
        spoken.report.unread_s = self._pace.unread_s
        await self._send_piece(send, rest, more=True)

    async def _send_piece(self, send: Send, piece: bytes, *, more: bool) -> None:
        """Send it bit by bit, so that whoever reads slowly is not taken for one who stalls."""
        for start in range(0, max(1, len(piece)), _BIT_BYTES):
            bit = piece[start : start + _BIT_BYTES]
            await self._send_bit(send, bit, more=more or start + len(bit) < len(piece))

    async def _send_bit(self, send: Send, bit: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._client_stall_s):
                await send({"type": "http.response.body", "body": bit, "more_body": more})
        except TimeoutError:
            raise StalledReaderError(
                f"the client took nothing for {self._client_stall_s:g} s"
            ) from None


async def _make_lines(spoken: Spoken, told: SpeechLines) -> AsyncGenerator[bytes]:
    """Yield what tells of each piece of audio, then what ends it."""
    async with aclosing(spoken.stream()) as pieces:
        async for piece in pieces:
            if piece:
                yield told.audio(piece)
    if spoken.times is not None:
        await spoken.times.finish()
    yield told.end()


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
