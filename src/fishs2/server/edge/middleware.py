"""The ASGI edge: request ids, body limits, HEAD, the access log, and what nobody else catches.

A plain ASGI class, so that it sees the last byte of a streamed answer and not only the first.
"""

import asyncio
import logging
import re
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fishs2.errors import BusyError, Fishs2Error, NoRoomError, ShutdownError
from fishs2.server.edge import json_body
from fishs2.server.edge.dialect import Dialect, Dialects
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.server.wire import descriptors
from fishs2.server.wire.readers import Reader
from fishs2.server.wire.refusals import late_body
from fishs2.server.wire.stopping import CLOSE_RESTART, Stopping

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("fishs2.access")

_MAX_REQUEST_ID_CHARS = 128
_CLIENT_CLOSED_REQUEST = 499
"""Logged, never sent: the client left before there was an answer. Source: nginx."""

_LAST_WORDS_S = 0.5
"""For whoever was cut: less than the server then waits."""

_CLOSE_BROKEN = 1011
"""The server met something it did not expect. Source: RFC 6455 section 7.4.1."""

_DEFECT = Problem(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "an unexpected error; the server's log has it under this request id",
    "internal_server_error",
)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How many bytes a body may have.

    text: of dialects whose bodies hold text and may be sent without a key in the headers.
    """

    other: int
    upload: int
    text: int

    def of(self, dialect: Dialect, path: str) -> int:
        """The limit of a path of the dialect."""
        if path in dialect.uploads:
            return self.upload
        return min(self.text, self.other) if dialect.has_key_in_body else self.other


class Edge:
    """Wraps the whole app. One instance; keeps no state between requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        dialects: Dialects,
        limits: BodyLimits,
        request_id_header: str,
        stopping: Stopping,
        body_stall_s: float,
        always: frozenset[str],
    ) -> None:
        """body_stall_s: how long a body may pause. always: paths that are answered without room."""
        self._app = app
        self._body_stall_s = body_stall_s
        self._always = always
        self._dialects = dialects
        self._stopping = stopping
        self._limits = limits
        self._request_id_header = request_id_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._run_socket(_Exchange(scope, receive, send, self._request_id_header))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._request_id_header)
        try:
            with self._stopping.watching():
                await self._run(exchange)
        except asyncio.CancelledError:
            if not self._stopping.is_cut:
                raise
            await self._cut(exchange)
        except ClientDisconnect:
            # It left while it was sending; the log says so.
            pass
        # The ASGI edge: whatever reaches it is a defect of ours, and the client gets an answer.
        except Exception:
            logger.exception("unexpected error", extra={"request_id": exchange.request_id})
            if exchange.status is None:
                response = self._dialects.error_answer(scope["path"], _DEFECT)
                await response(scope, receive, exchange.send)
        finally:
            exchange.log()

    async def _cut(self, exchange: "_Exchange") -> None:
        """Say that the server ends, if it can still be said, to whom reads it in time."""
        exchange.was_cut = True
        problem = describe_error(ShutdownError())
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                if exchange.is_accepted and not exchange.is_complete:
                    await self._close_socket(exchange, problem, CLOSE_RESTART)
                elif exchange.status is None:
                    scope = exchange.scope
                    send_error = self._dialects.send_error
                    await send_error(scope, exchange.receive, exchange.send, problem)

    async def _close_socket(self, exchange: "_Exchange", problem: Problem, code: int) -> None:
        tell = self._dialects.of(exchange.scope["path"]).socket_error
        if tell is not None:
            frame = tell(problem.message)
            kind = "text" if isinstance(frame, str) else "bytes"
            await exchange.send({"type": "websocket.send", kind: frame})
        await exchange.send({"type": "websocket.close", "code": code})

    async def _run_socket(self, exchange: "_Exchange") -> None:
        try:
            with self._stopping.watching():
                if not await self._has_refused(exchange):
                    await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not self._stopping.is_cut:
                raise
            await self._cut(exchange)
        # The ASGI edge, as above.
        except Exception as error:
            if error is exchange.lost:
                raise  # there is nobody to tell, which the HTTP server knows
            logger.exception("unexpected error", extra={"request_id": exchange.request_id})
            if not exchange.is_accepted:
                raise
            if not exchange.is_complete:
                await self._close_socket(exchange, _DEFECT, _CLOSE_BROKEN)
        finally:
            exchange.log()

    async def _has_refused(self, exchange: "_Exchange") -> bool:
        """Answer what was refused before anybody looked at it."""
        scope = exchange.scope
        error: Fishs2Error | None = scope["state"].get("refused")
        is_upload = scope["path"] in self._dialects.of(scope["path"]).uploads
        if error is None and is_upload and descriptors.are_short(descriptors.lowest_free()):
            error = NoRoomError(
                "the server can open no more files at present; try again in 5 s", retry_after_s=5
            )
        if error is None or (isinstance(error, BusyError) and scope["path"] in self._always):
            return False
        problem = describe_error(error)
        await self._dialects.send_error(scope, exchange.receive, exchange.send, problem)
        return True

    async def _run(self, exchange: "_Exchange") -> None:
        if await self._has_refused(exchange):
            return
        path = exchange.scope["path"]
        limit = self._limits.of(self._dialects.of(path), path)
        headers = Headers(scope=exchange.scope)
        announced = headers.get("content-length", "0")
        is_too_large = not announced.isdecimal() or int(announced) > limit
        num_received, num_values, is_whole = 0, 0, False
        is_json = "json" in headers.get("content-type", "")

        async def receive_limited() -> Message:
            nonlocal num_received, num_values, is_whole
            # Refused where it is read and not here, so that every route's own headers are added.
            if is_too_large:
                message: Message = {}
            elif is_whole:
                # What is waited for is that the client leaves.
                message = await exchange.receive()
            else:
                message = await self._receive_in_time(exchange)
            is_whole = not message.get("more_body", False)
            body = message.get("body", b"")
            num_received += len(body)
            if is_too_large or num_received > limit:
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body is larger than the limit of {limit:,} bytes",
                )
            if is_json:
                num_values += json_body.count_values(body)
                if num_values > json_body.MAX_VALUES:
                    raise HTTPException(HTTPStatus.BAD_REQUEST)
            return message

        await self._app(exchange.scope, receive_limited, exchange.send)

    async def _receive_in_time(self, exchange: "_Exchange") -> Message:
        """More of a body. Raises SlowRequestError."""
        try:
            async with asyncio.timeout(self._body_stall_s):
                return await exchange.receive()
        except TimeoutError:
            raise late_body(self._body_stall_s) from None


class _Exchange:
    """One request and its answer, watched."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id_header: str) -> None:
        self.receive = receive
        self.request_id = _clean_id(Headers(scope=scope).get(request_id_header, ""))
        self.status: int | None = None
        self.is_complete = False
        self.was_cut = False
        self.lost: OSError | None = None
        """What sending met when the client had left."""
        self._method = scope.get("method", "WEBSOCKET")
        self._path = scope["path"]
        self._client = scope["client"][0] if scope.get("client") else ""
        self._request_id_header = request_id_header
        self._send = send
        self._started_s = time.perf_counter()
        self._first_byte_s: float | None = None
        self._num_bytes = 0
        # HEAD is answered like GET; the HTTP server leaves out the body.
        method = "GET" if self._method == "HEAD" else self._method
        state = {**scope.get("state", {}), "request_id": self.request_id}
        state["is_head"] = self._method == "HEAD"
        self.scope = {**scope, "state": state}
        if scope["type"] == "http":
            self.scope["method"] = method

    @property
    def is_accepted(self) -> bool:
        """Whether it is a WebSocket that is open."""
        return self.status == HTTPStatus.SWITCHING_PROTOCOLS

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[self._request_id_header] = self.request_id
        elif message["type"] == "http.response.body":
            self._num_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
            self._note_first_byte()
        elif message["type"] == "websocket.accept":
            self.status = HTTPStatus.SWITCHING_PROTOCOLS
            message.setdefault("headers", [])
            MutableHeaders(scope=message)[self._request_id_header] = self.request_id
        elif message["type"] == "websocket.http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[self._request_id_header] = self.request_id
        elif message["type"] == "websocket.send":
            self._num_bytes += len(message.get("bytes") or b"")
            self._note_first_byte()
        elif message["type"] == "websocket.close":
            self.is_complete = True
        try:
            await self._send(message)
        except OSError as error:
            self.lost = error
            if message["type"] == "websocket.accept":
                self.status = None
            raise

    def _note_first_byte(self) -> None:
        if self._first_byte_s is None:
            self._first_byte_s = time.perf_counter() - self._started_s

    @property
    def _num_sent(self) -> int:
        """Bytes of the body that have left; of an answer that broke off not what still waited."""
        reader: Reader | None = self.scope["state"].get("reader")
        if self.is_complete or reader is None:
            return self._num_bytes
        return max(0, self._num_bytes - reader.num_unsent)

    def log(self) -> None:
        first_byte_s = self._first_byte_s
        access_logger.info(
            "request",
            extra={
                "request_id": self.request_id,
                "client": self._client,
                "method": self._method,
                "path": self._path,
                "status": self.status or _CLIENT_CLOSED_REQUEST,
                "complete": self.is_complete,
                "end": "cut by shutdown" if self.was_cut else None,
                "bytes": self._num_sent,
                "first_byte_ms": None if first_byte_s is None else round(1000 * first_byte_s, 1),
                "total_ms": round(1000 * (time.perf_counter() - self._started_s), 1),
            },
        )


def _clean_id(given: str) -> str:
    """Keep letters, digits and `-_.` of the client's id; make one when nothing is left."""
    return re.sub(r"[^A-Za-z0-9\-_.]", "", given)[:_MAX_REQUEST_ID_CHARS] or uuid.uuid4().hex
