"""ElevenLabs' WebSockets: `stream-input` with one context, `multi-stream-input` with five.

A context is a text that is spoken while it comes. One task for each connection reads frames, one
speaks each context; they share the socket. The reader waits neither for the speech nor for the
engine to load, nor for the client to take what it is told: what it reads waits as text, which is
bounded, and what it has to say in a queue, which is too. `isFinal` is sent for every context that
was opened, however it ended, as long as there is somebody to send it to.
Source: ElevenLabs API reference; contract 4.1.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from fishs2.errors import BusyError, Fishs2Error, ShutdownError, StalledReaderError, UserError
from fishs2.server.dialects.elevenlabs.alignment import FrameAlignment, telling
from fishs2.server.dialects.elevenlabs.body import Frame, LiveQuery
from fishs2.server.dialects.elevenlabs.contexts import (
    MAX_CONTEXTS,
    Context,
    Contexts,
    id_of,
    write,
)
from fishs2.server.dialects.elevenlabs.errors import error_frame
from fishs2.server.dialects.elevenlabs.frames import (
    WholeSamples,
    alignment_frame,
    audio_frames,
    final_frame,
    read_frame,
)
from fishs2.server.dialects.elevenlabs.request import WITHOUT_EFFECT
from fishs2.server.edge.auth import SCOPE, SPEECH
from fishs2.server.edge.bodies import validate
from fishs2.server.edge.errors import describe_error, describe_fields
from fishs2.server.edge.pace import pace_of
from fishs2.server.options import ServerOptions
from fishs2.server.wire.stopping import CLOSE_RESTART, Stopping
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services

_CLOSE_OK = 1000
_CLOSE_WRONG = 1008
_CLOSE_BROKEN = 1011
_CLOSE_BUSY = 1013
"""Why the connection is closed after an error. Source: RFC 6455 section 7.4, IANA's registry."""

_MAX_NOTICES = 64
"""What waits for a client to read it, of what it is told besides speech."""


class LiveSession:
    """One connection, from its handshake to its close."""

    def __init__(
        self, socket: WebSocket, services: Services, options: ServerOptions, *, is_multi: bool
    ) -> None:
        self._socket = socket
        self._services = services
        self._options = options
        self._is_multi = is_multi
        self._stopping: Stopping = socket.app.state.stopping
        self._principal: Principal | None = socket.state.principal
        self._sending = asyncio.Lock()
        # Bounded: who causes more errors than it reads is cut off.
        self._notices: asyncio.Queue[str] = asyncio.Queue(_MAX_NOTICES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owed: list[str] = []
        """Contexts whose isFinal was not sent yet."""
        self._is_cut_short = False
        self._idle_s = options.live_idle_s
        self._idle_from_s = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Serve the client until it has everything, has left, or something is wrong."""
        await self._socket.accept(headers=_ignored_header(self._socket))
        # The client has left, or takes nothing: there is nobody to tell.
        with suppress(WebSocketDisconnect, StalledReaderError):
            code = _CLOSE_OK
            try:
                await self._serve(self._open_contexts())
            except StalledReaderError:
                raise
            except Fishs2Error as error:
                await self._send(error_frame(error))
                code = _close_code(error)
            for context_id in self._owed:
                await self._send(final_frame(self._name(context_id)))
            await self._socket.close(code)

    def _open_contexts(self) -> Contexts:
        """None yet, spoken as the address says. Raises UserError."""
        try:
            query = validate(dict(self._socket.query_params), LiveQuery)
        except RequestValidationError as error:
            raise UserError(describe_fields(error), code="validation_error") from None
        if query.inactivity_timeout is not None:
            self._idle_s = query.inactivity_timeout
        return Contexts(
            self._socket.path_params["voice_id"],
            query,
            self._options,
            request_id=self._socket.state.request_id,
            most=MAX_CONTEXTS if self._is_multi else 1,
        )

    async def _serve(self, contexts: Contexts) -> None:
        """Read and speak until it is over. Raises what goes wrong in any of it."""
        ending = asyncio.create_task(self._stopping.has_begun.wait())
        self._begin(self._read(contexts), is_last=True)
        self._begin(self._tell())
        try:
            first: list[asyncio.Future[Any]] = [self._over, ending]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                # What has come is still spoken, and the client watched; it takes no more text.
                self._is_cut_short = True
                for context in contexts.all:
                    context.text.end()
                self._end_if_spoken(contexts)
            await self._over
        finally:
            ending.cancel()
            # Waiting for the cancelled work is what frees the engine before we return.
            tasks: list[asyncio.Task[Any]] = [ending, *self._tasks]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._is_cut_short:
            raise ShutdownError

    def _begin(self, work: Coroutine[Any, Any, None], *, is_last: bool = False) -> None:
        """Do this beside all else; it is over when it fails, or ends and is the last."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._note_end, is_last))

    def _note_end(self, is_last: bool, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if self._over.done():
            return
        if error is not None:
            self._over.set_exception(error)
        elif is_last:
            self._over.set_result(None)

    def _end_if_spoken(self, contexts: Contexts) -> None:
        """It is over once a connection for one context, or one that was cut short, has none."""
        if not contexts.all and not self._over.done():
            self._over.set_result(None)

    async def _read(self, contexts: Contexts) -> None:
        """Do what the client says until it closes the socket. Raises UserError, and when it left
        WebSocketDisconnect.
        """
        while True:
            frame = read_frame(await self._receive_in_time(contexts))
            self._idle_from_s = asyncio.get_running_loop().time()
            if self._principal is None:
                self._principal = await self._let_in(frame)
            if frame.close_socket:
                return
            if self._is_cut_short:
                continue
            if self._is_multi:
                await self._take_for_context(frame, contexts)
            else:
                await self._take(frame, contexts)

    async def _let_in(self, frame: Frame) -> Principal:
        """Whose key a first frame has. Raises UnauthorizedError, ForbiddenError."""
        accounts = self._services.accounts
        scheme, _, token = (frame.authorization or "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else scheme
        principal = await accounts.authenticate(frame.xi_api_key or bearer or None)
        accounts.require(principal, *SPEECH[SCOPE])
        return principal

    async def _take(self, frame: Frame, contexts: Contexts) -> None:
        """A frame of a connection that has one context. Raises UserError."""
        context = contexts.find(frame)
        if context is not None and context.text.is_ended:
            return
        context = context or self._open(frame, contexts)
        await write(context, frame)
        if frame.text == "":
            context.text.end()

    async def _take_for_context(self, frame: Frame, contexts: Contexts) -> None:
        """A frame of a connection that has several. What is wrong with one is told to its client,
        and harms no other.
        """
        context = contexts.find(frame)
        try:
            if context is None and frame.text:
                context = self._open(frame, contexts)
            if context is not None and (frame.text or frame.flush):
                await write(context, frame)
        except UserError as error:
            self._notify(error_frame(error, id_of(frame)))
            if context is None:
                self._notify(final_frame(id_of(frame)))
            elif error.code == "input_too_long":
                context.text.end()
        if context is not None:
            # Also frames without text keep it open.
            context.touch()
            if frame.close_context:
                context.text.end()
        elif frame.close_context:
            # It was never opened, or has ended: whoever waits for its end has to hear of it.
            self._notify(final_frame(id_of(frame)))

    def _open(self, frame: Frame, contexts: Contexts) -> Context:
        context = contexts.open(frame)
        self._owed.append(context.context_id)
        self._begin(self._speak(context, contexts))
        return context

    async def _speak(self, context: Context, contexts: Contexts) -> None:
        """Speak one context to its end. Raises only what ends the connection."""
        name = self._name(context.context_id)
        try:
            await self._send_speech(context, has_one_clock=contexts.has_one_clock)
        except StalledReaderError:
            raise
        except Fishs2Error as error:
            if not self._is_multi:
                raise
            await self._send(error_frame(error, name))
        # Before the client hears that it may use its name again.
        contexts.forget(context)
        await self._send(final_frame(name))
        self._owed.remove(context.context_id)
        if not self._is_multi or self._is_cut_short:
            self._end_if_spoken(contexts)

    async def _send_speech(self, context: Context, *, has_one_clock: bool) -> None:
        assert self._principal is not None
        desk = self._services.desk
        pace = pace_of(self._socket.scope)
        name = self._name(context.context_id)
        samples = WholeSamples(context.request.format)

        async def send(piece: bytes) -> None:
            for frame in audio_frames(samples.take(piece), name):
                await self._send(frame)
            context.touch()

        async def tell(alignment: FrameAlignment) -> None:
            await self._send(alignment_frame(alignment, name))

        async with (
            desk.speak_live(self._principal, context.request, context.text) as spoken,
            telling(spoken, tell, is_absolute=has_one_clock),
            aclosing(spoken.stream()) as pieces,
        ):
            context.spoken = spoken
            async for piece in pieces:
                await send(await pace.wait(piece, spoken.report.audio_s, send))

    def _name(self, context_id: str) -> str | None:
        """What frames call a context; nothing, where there is only one."""
        return context_id if self._is_multi else None

    def _notify(self, frame: str) -> None:
        """Tell the client, without waiting for it. Raises UserError `too_many_errors`."""
        try:
            self._notices.put_nowait(frame)
        except asyncio.QueueFull:
            raise UserError(
                f"{_MAX_NOTICES} errors were not read: this connection is of no use",
                code="too_many_errors",
            ) from None

    async def _tell(self) -> None:
        while True:
            await self._send(await self._notices.get())

    async def _receive_in_time(self, contexts: Contexts) -> Message:
        """What comes next. Raises UserError `input_timeout_exceeded`, WebSocketDisconnect."""
        while True:
            waiting = [each.idle_from_s for each in contexts.listening]
            deadline_s = min(waiting, default=self._idle_from_s) + self._idle_s
            try:
                async with asyncio.timeout_at(deadline_s):
                    return await self._receive()
            except TimeoutError:
                self._end_idle(contexts)

    def _end_idle(self, contexts: Contexts) -> None:
        """End what no text came for. Raises UserError `input_timeout_exceeded`."""
        now_s = asyncio.get_running_loop().time()
        for context in contexts.listening:
            if now_s < context.idle_from_s + self._idle_s:
                continue
            if not context.is_waiting:
                context.touch()
            elif self._is_multi:
                context.text.end()
            else:
                raise self._idle()
        if contexts.all:
            self._idle_from_s = now_s
        elif now_s >= self._idle_from_s + self._idle_s:
            raise self._idle()

    async def _receive(self) -> Message:
        # What has come already is received without waiting, however much it is.
        await asyncio.sleep(0)
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", _CLOSE_OK))
        return message

    def _idle(self) -> UserError:
        return UserError(
            f'no text came for {self._idle_s:g} s: send {{"text": ""}} when there is no more, or '
            "ask for a longer inactivity_timeout, up to 180",
            code="input_timeout_exceeded",
        )

    async def _send(self, frame: str) -> None:
        """Send one frame. Raises StalledReaderError when the client takes nothing for too long."""
        stall_s = self._options.client_stall_s
        async with self._sending:
            try:
                async with asyncio.timeout(stall_s):
                    await self._socket.send_text(frame)
            except TimeoutError:
                raise StalledReaderError(f"the client took nothing for {stall_s:g} s") from None


def _ignored_header(socket: WebSocket) -> list[tuple[bytes, bytes]]:
    """What may come and has no effect: said at the handshake, as frames have no headers."""
    asked = socket.query_params
    names = list(WITHOUT_EFFECT)
    if asked.get("apply_text_normalization", "auto") != "auto":
        names.append("apply_text_normalization")
    if asked.get("enable_ssml_parsing", "").lower() in ("true", "1"):
        names.append("enable_ssml_parsing")
    return [(b"x-fishs2-ignored", ", ".join(names).encode())]


def _close_code(error: Fishs2Error) -> int:
    if isinstance(error, ShutdownError):
        return CLOSE_RESTART
    problem = describe_error(error)
    if isinstance(error, BusyError):
        # Characters that are used up do not come back by waiting.
        return _CLOSE_WRONG if problem.code == "insufficient_quota" else _CLOSE_BUSY
    status = problem.status
    return _CLOSE_BROKEN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _CLOSE_WRONG
