"""Answers for clients of HTTP/1.0."""

import socket
import struct
import sys

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class OldClient:
    """Answers one request of HTTP/1.0, which has no chunks: the connection's end is the body's."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._is_open_ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unchunked(message: Message) -> None:
            self._prepare(message)
            await send(message)

        try:
            await self._app(scope, receive, send_unchunked)
        finally:
            if self._is_open_ended and not self._cycle.response_complete:
                self._break_off()

    def _prepare(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            has_body = self._cycle.scope["method"] != "HEAD" and message["status"] not in (204, 304)
            self._is_open_ended = has_body and "content-length" not in headers
            if self._is_open_ended:
                self._cycle.chunked_encoding = False
                self._cycle.keep_alive = False
            elif self._cycle.keep_alive:
                MutableHeaders(scope=message)["Connection"] = "keep-alive"
        elif self._is_open_ended:
            # So that uvicorn, which counts down to the end of the body, expects this piece.
            self._cycle.expected_content_length = len(message.get("body", b""))

    def _break_off(self) -> None:
        """Reset the connection: its plain end would pass what was sent for the whole."""
        connection = self._cycle.transport.get_extra_info("socket")
        if connection is not None:
            at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._cycle.transport.abort()
