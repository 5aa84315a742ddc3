"""How the bytes of a connection become requests, where uvicorn's own reading is not enough.

`HttpProtocol` ignores offers to speak another protocol, as RFC 9110 section 7.8 lets it, and
answers clients of HTTP/1.0 in their own way. Everything else is uvicorn's.
"""

import socket
import struct
import sys
from typing import Any

import httptools
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_FRAMING = (b"content-length", b"transfer-encoding")
"""Headers that say where a body ends."""


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, for clients that offer HTTP/2 (`Upgrade: h2c`) or know only HTTP/1.0."""

    _is_resuming = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _read(self, data: bytes) -> None:
        """Parse what has come. Raises HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
            self._ignore_offer(data[offer.args[0] :])

    def _ignore_offer(self, rest: bytes) -> None:
        """Go on with the body: the parser takes all that follows an offer for the other protocol.

        It cannot be told otherwise, so another parser is given a head that ends its body alike.
        """
        framing = [b"%s: %s\r\n" % pair for pair in self.headers if pair[0] in _FRAMING]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._is_resuming = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
        finally:
            self._is_resuming = False
        self._read(rest)

    def on_message_begin(self) -> None:
        if not self._is_resuming:
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_resuming:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_resuming:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_resuming:
            return
        super().on_headers_complete()
        is_new = self.cycle is not None and self.cycle.scope is self.scope
        if is_new and self.scope["http_version"] == "1.0":
            self.cycle.keep_alive = self.parser.should_keep_alive()
            # It would take "100 Continue" for the answer: RFC 9110 section 10.1.1.
            self.cycle.waiting_for_100_continue = False

    def on_message_complete(self) -> None:
        # With an offer the parser ends the message before the body.
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        # RFC 6455 section 4.1: a WebSocket begins with GET.
        return self.scope["method"] == "GET" and super()._should_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = _OldClient(app, cycle)
        super()._start_asgi_task(cycle, app)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, which closes at once when the server ends; ours lets the session finish."""

    def shutdown(self) -> None:
        if self.close_sent:
            super().shutdown()


class _OldClient:
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
