"""How the bytes of a connection become requests, where uvicorn's own reading is not enough.

`HttpProtocol` bounds what a request may be and how long its head may take, ignores offers to speak
another protocol, as RFC 9110 section 7.8 lets it, and answers clients of HTTP/1.0 in their own way.
Everything else is uvicorn's.

What is refused here is answered by the app where the path is known, in the shape of its dialect:
`state.refused` of the scope has the error. Otherwise the answer is plain text.
"""

import asyncio
from typing import Any

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fishs2.errors import NoRoomError, UserError
from fishs2.server.wire import refusals
from fishs2.server.wire.connections import Connections
from fishs2.server.wire.half_closed import HalfClosed
from fishs2.server.wire.last_answer import LastAnswer
from fishs2.server.wire.old_clients import OldClient
from fishs2.server.wire.peers import look_at_peer
from fishs2.server.wire.readers import Reader

_FRAMING = (b"content-length", b"transfer-encoding")
"""Headers that say where a body ends."""

_PIECE_BYTES = 16_384
"""How much of a head is read at once: what the parser keeps is checked in between."""

_MAX_PIPELINED = 64
"""Requests that one connection may send ahead of their answers."""

_SHOWN_BYTES = 256
"""Of a path that is too long."""


class WireConfig(uvicorn.Config):
    """uvicorn's, with the connections of the server."""

    def __init__(self, app: ASGIApp, *, connections: Connections, **more: Any) -> None:
        super().__init__(app, http=HttpProtocol, ws=WebSocketProtocol, **more)
        self.connections = connections


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, for clients of all kinds."""

    config: WireConfig
    _is_resuming = False

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._open = self.config.connections
        self._limits = self.config.connections.limits
        self._reader: Reader | None = None
        self._half_closed: HalfClosed | None = None
        self._clock: asyncio.TimerHandle | None = None
        # How much was parsed and is not known yet: the parser keeps it.
        self._num_unread = 0
        self._is_same_part = False
        self._is_awaiting_head = True
        self._is_in_head = False
        # Whether nothing more of what comes is read, and the connection ends with this answer.
        self._is_leaving = False
        self._is_last = False
        self._refusal: UserError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            refusal = self._open.open(transport, self._give_way)
        except NoRoomError as error:
            self._is_leaving = True
            # Its request is not read, so that it may come too late for this.
            transport.write(refusals.no_room(error))
            transport.close()
            return
        self._reader = Reader(transport, stall_s=self._open.stall_s)
        self.app_state = {**self.app_state, "reader": self._reader}
        if refusal is not None:
            self._is_last = True
            self.app_state["refused"] = refusal
        self._clock = self.loop.call_later(self._limits.head_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        if self._reader is not None:
            self._reader.resume()
        if self._half_closed is not None:
            self._half_closed.end()
        self._open.close(self.transport)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection for whoever sends no more and waits for what it has asked for."""
        connection = self.transport.get_extra_info("socket")
        # Not for whoever breaks off in a request.
        if connection is None or not (self._is_at_work() and self._is_awaiting_head):
            return False
        # After the last answer nothing can follow.
        self.cycle.keep_alive = False
        self._is_leaving = True
        self._half_closed = HalfClosed(
            lambda: look_at_peer(connection),
            has_begun=lambda: bool(self.cycle.response_started),
            leave=self.transport.close,
            patience_s=self._limits.half_closed_s,
        )
        if not self._half_closed.may_stay():
            return False
        self._half_closed.watch()
        return True

    def pause_writing(self) -> None:
        if self._reader is not None:
            self._reader.pause()
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._reader is not None:
            self._reader.resume()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        while data and not self._is_leaving:
            piece, data = data, b""
            if self._is_awaiting_head and len(piece) > _PIECE_BYTES:
                piece, data = piece[:_PIECE_BYTES], piece[_PIECE_BYTES:]
            try:
                self._read_bounded(piece)
            except (httptools.HttpParserError, UserError):
                self._refuse(self._refusal)

    def _read_bounded(self, piece: bytes) -> None:
        """Parse a piece of a head, or of a body. Raises HttpParserError, LargeHeadError."""
        self._is_same_part = True
        self._read(piece)
        if not self._is_same_part:
            return
        # All of it belongs to the head that has begun, or to a body and is none of its bytes.
        self._num_unread += len(piece)
        if self._num_unread <= self._limits.head_bytes:
            return
        if self._is_awaiting_head:
            raise self._remember(refusals.too_many_bytes(self._limits.head_bytes))
        # Trailers, or what chunks may say of themselves.
        raise httptools.HttpParserError

    def _read(self, data: bytes) -> None:
        """Parse what has come. Raises HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._should_upgrade():
                self._stop_clock()
                self._is_leaving = True
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
        if self._is_resuming:
            return
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._is_in_head = True
        self._begin_part()
        self._stop_clock()
        self._clock = self.loop.call_later(self._limits.head_s, self._end_late_head)
        if not self._is_at_work():
            self._open.note(self.transport, "head")

    def on_url(self, url: bytes) -> None:
        if not self._is_resuming:
            super().on_url(url)
            self._check_target()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_resuming or not self._is_in_head:
            # What follows a body could change what was decided by the headers.
            return
        super().on_header(name, value)
        if len(self.headers) > self._limits.num_fields:
            raise self._remember(refusals.too_many_fields(self._limits.num_fields))

    def on_headers_complete(self) -> None:
        if self._is_resuming:
            return
        self._check_head()
        previous = self.cycle
        super().on_headers_complete()
        self._is_in_head = self._is_awaiting_head = False
        self._stop_clock()
        self._begin_part()
        self._open.note(self.transport, "work")
        is_new = self.cycle is not None and self.cycle is not previous
        if is_new and self.scope["http_version"] == "1.0":
            self.cycle.keep_alive = self.parser.should_keep_alive()
            # It would take "100 Continue" for the answer: RFC 9110 section 10.1.1.
            self.cycle.waiting_for_100_continue = False
        if len(self.pipeline) >= _MAX_PIPELINED:
            # The rest goes unanswered, and so may be sent again: RFC 9112 section 9.3.2.
            self.cycle.keep_alive = False
            self._is_leaving = True

    def on_body(self, body: bytes) -> None:
        self._begin_part()
        super().on_body(body)

    def on_message_complete(self) -> None:
        # With an offer the parser ends the message before the body.
        if self.parser.should_upgrade():
            return
        self._is_awaiting_head = True
        self._begin_part()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_last:
            self._unset_keepalive_if_required()
            self._linger()
        elif not self._is_at_work() and not self._is_in_head:
            self._open.note(self.transport, "idle")

    def handle_websocket_upgrade(self) -> None:
        self._open.note(self.transport, "work")
        super().handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        # RFC 6455 section 4.1: a WebSocket begins with GET.
        return self.scope["method"] == "GET" and super()._should_upgrade()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = OldClient(app, cycle)
        if self._is_last:
            app = LastAnswer(app, cycle)
        super()._start_asgi_task(cycle, app)

    def _is_at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _remember(self, error: UserError) -> UserError:
        """Keep an error that is raised through the parser, which has its own for all of them."""
        self._refusal = error
        return error

    def _begin_part(self) -> None:
        self._num_unread = 0
        self._is_same_part = False

    def _check_head(self) -> None:
        num_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if num_bytes > self._limits.head_bytes:
            raise self._remember(refusals.too_many_bytes(self._limits.head_bytes))

    def _check_target(self) -> None:
        limit = self._limits.target_bytes
        if len(self.url) > limit:
            raise self._remember(refusals.too_long_target(limit))

    def _give_way(self) -> None:
        """Close it, while nothing of it is at work."""
        if self._is_in_head:
            self._end_late_head()
        else:
            self._is_leaving = True
            self.transport.close()

    def _end_late_head(self) -> None:
        self._refuse(refusals.late_head())

    def _refuse(self, error: UserError | None) -> None:
        """Answer and end the connection. error: None is what is no HTTP at all."""
        self._stop_clock()
        was_in_body = not self._is_awaiting_head and error is None
        self._is_leaving = True
        if self._is_at_work():
            if not was_in_body or self.cycle.response_started:
                # Another request is being answered: that answer is the last.
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_last = True
        path = self.url.partition(b"?")[0] if self._is_in_head else b""
        if error is None or not path.startswith(b"/"):
            self.transport.write(refusals.plain_answer(error))
            self._linger()
        else:
            self._answer_by_app(error, path[:_SHOWN_BYTES])

    def _answer_by_app(self, error: UserError, path: bytes) -> None:
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["path"] = path.decode("latin-1")
        self.scope["raw_path"] = path
        self.scope["query_string"] = b""
        self.scope["state"]["refused"] = error
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        self.cycle.more_body = False
        self.cycle.message_event.set()
        self._start_asgi_task(self.cycle, self.app)

    def _linger(self) -> None:
        """End the connection so that the answer arrives although its request goes on.

        To close a socket that has unread bytes resets it, and the client loses what it has not
        read: what comes is read and forgotten for a while. Source: RFC 9112 section 9.6.
        """
        self._is_leaving = True
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._clock = self.loop.call_later(self._limits.linger_s, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, which closes at once when the server ends; ours lets the session finish."""

    config: WireConfig

    @property
    def _reader(self) -> Reader:
        # Of the protocol that read the handshake.
        reader: Reader = self.app_state["reader"]
        return reader

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.resume()
        self.config.connections.close(self.transport)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._reader.pause()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._reader.resume()
        super().resume_writing()

    def shutdown(self) -> None:
        if self.close_sent:
            super().shutdown()
