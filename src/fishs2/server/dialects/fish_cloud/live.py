"""`/v1/tts/live`: a WebSocket that takes text while it gives speech. Source: docs/api.md.

Two tasks for each connection: one reads events, one sends audio; whichever fails ends both. The
reader waits neither for the speech nor for the engine to load, so that pings are answered and a
client that leaves is noticed; what it reads waits as text, which is bounded. The sender waits for
the client, so that a slow one holds two utterances of audio and no more.
"""

import asyncio
import time
from contextlib import aclosing, suppress
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import WebSocket
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from fishs2.errors import BusyError, Fishs2Error, ShutdownError, StalledReaderError, UserError
from fishs2.server.dialects.fish_cloud.body import validate_tts
from fishs2.server.dialects.fish_cloud.errors import fish_message, speech_error_answer
from fishs2.server.dialects.fish_cloud.frames import (
    audio_frames,
    error_frame,
    read_event,
    stop_frame,
)
from fishs2.server.dialects.fish_cloud.request import check_unverified, to_speech_request
from fishs2.server.dialects.fish_cloud.times import Timeline, Times
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.errors import Problem, describe_error, describe_fields
from fishs2.server.edge.pace import pace_of
from fishs2.server.options import ServerOptions
from fishs2.server.wire.stopping import CLOSE_RESTART, Stopping
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services
from fishs2.service.speech.live import LiveText
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import Spoken

_CLOSE_OK = 1000
_CLOSE_WRONG = 1008
_CLOSE_BROKEN = 1011
_CLOSE_BUSY = 1013
"""Why the connection is closed after an error. Source: RFC 6455 section 7.4, IANA's registry."""

_PATH = "/v1/tts/live"

_MAX_FRAME_BYTES = 1_048_576
"""Of one that brings text; the one that starts a speech may bring recordings, as a body may."""

_NO_WEBSOCKET = Problem(
    HTTPStatus.UPGRADE_REQUIRED,
    "this path is for a WebSocket: open it with ws:// or wss://",
    "websocket_required",
    headers={"Upgrade": "websocket"},
)


def fish_live_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the WebSocket routes, and what tells others what they are."""
    router = GuardedRouter()

    async def speak(socket: WebSocket) -> None:
        await LiveSession(socket, services, options, has_times=False).run()

    async def speak_with_times(socket: WebSocket) -> None:
        await LiveSession(socket, services, options, has_times=True).run()

    async def refuse() -> Response:
        return speech_error_answer(_NO_WEBSOCKET)

    with_times = f"{_PATH}/with-timestamp"
    router.add_socket(_PATH, speak, SPEECH)
    router.add_socket(with_times, speak_with_times, SPEECH)
    for path in (_PATH, with_times):
        router.add_api_route(
            path, refuse, methods=["GET"], include_in_schema=False, openapi_extra=SPEECH
        )
    return router


class LiveSession:
    """One connection, from its handshake to its close."""

    def __init__(
        self, socket: WebSocket, services: Services, options: ServerOptions, *, has_times: bool
    ) -> None:
        self._socket = socket
        self._services = services
        self._options = options
        self._has_times = has_times
        self._started_s = time.perf_counter()
        self._stopping: Stopping = socket.app.state.stopping
        self._is_cut_short = False
        self._principal: Principal = socket.state.principal
        self._spoken: Spoken | None = None
        self._idle_from_s = 0.0
        """When text last came or was last spoken, on the clock of the event loop."""

    async def run(self) -> None:
        """Serve the client until it has everything, has left, or something is wrong."""
        await self._socket.accept()
        # The client has left, or takes nothing: there is nobody to tell.
        with suppress(WebSocketDisconnect, StalledReaderError):
            try:
                await self._serve()
            except StalledReaderError:
                raise
            except Fishs2Error as error:
                await self._end(error_frame(_message(error), **self._time()), _close_code(error))
            else:
                await self._end(stop_frame(**self._time()), _CLOSE_OK)

    async def _serve(self) -> None:
        """Read and send until everything is spoken. Raises what goes wrong in either."""
        request = await self._receive_start_unless_stopping()
        text = LiveText(
            max_chars=self._options.live_max_chars, max_sentence_chars=request.max_utterance_chars
        )
        await text.add(request.text)
        self._note_activity()
        sending = asyncio.create_task(self._speak(request, text))
        reading = asyncio.create_task(self._read_events(text))
        ending = asyncio.create_task(self._stopping.has_begun.wait())
        try:
            await asyncio.wait({sending, reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and not reading.done():
                # What has come is still spoken, and the client watched; it takes no more text.
                self._is_cut_short = not text.is_ended
                text.end()
                await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
            # Waiting for the cancelled work is what frees the engine before we return.
            is_sent = sending.done()
            sending.cancel()
            reading.cancel()
            await asyncio.wait({sending, reading})
        # What the sender met counts first: the reader may only have seen the client leave for it.
        (sending if is_sent else reading).result()
        if self._is_cut_short:
            raise ShutdownError

    async def _speak(self, request: SpeechRequest, text: LiveText) -> None:
        """Send all the speech, once there is an engine and the client may use it."""
        desk = self._services.desk
        async with desk.speak_live(self._principal, request, text) as self._spoken:
            await self._send_speech(self._spoken)

    async def _send_speech(self, spoken: Spoken) -> None:
        script = spoken.script
        timeline = Timeline(lambda: script.sources, spoken.report)
        pace = pace_of(self._socket.scope)

        async def send(piece: bytes) -> None:
            if not self._has_times:
                await self._send_audio(piece)
                return
            for audio, times in timeline.place(piece):
                await self._send_audio(audio, times)

        async with aclosing(spoken.stream()) as pieces:
            async for piece in pieces:
                rest = await pace.wait(piece, spoken.report.audio_s, send)
                spoken.report.unread_s = pace.unread_s
                await send(rest)
        if self._has_times and script.sources:
            for audio, times in timeline.end():
                await self._send_audio(audio, times)

    async def _send_audio(self, audio: bytes, times: Times | None = None) -> None:
        if not audio and times is None:
            return
        more = {} if times is None else {**asdict(times), **self._time()}
        for frame in audio_frames(audio, **more):
            await self._send(frame)

    async def _read_events(self, text: LiveText) -> None:
        """Hand on what the client says, until it leaves. Raises UserError, WebSocketDisconnect."""
        while True:
            event = read_event(await self._receive_in_time(text))
            match event.kind:
                case "text" if self._is_cut_short:
                    pass
                case "text":
                    if event.text:
                        self._note_activity()
                    await text.add(event.text)
                case "flush":
                    text.flush()
                case "stop":
                    text.end()
                    break
                case "start":
                    raise _out_of_order("start came a second time")
        while True:
            # It has said that it is done; until it leaves there is nothing more to hear.
            await self._receive()

    async def _receive_start_unless_stopping(self) -> SpeechRequest:
        """The request of the start. Raises ShutdownError when the server ends before it comes."""
        starting = asyncio.create_task(self._receive_start())
        ending = asyncio.create_task(self._stopping.has_begun.wait())
        try:
            await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                raise ShutdownError
            return starting.result()
        finally:
            starting.cancel()
            ending.cancel()
            await asyncio.wait({starting, ending})

    async def _receive_start(self) -> SpeechRequest:
        try:
            async with asyncio.timeout(self._options.live_idle_s):
                first = await self._receive()
                # Before anything in it is read, as for all other requests.
                self._principal = await self._services.accounts.count(self._principal)
                while (event := read_event(_content(first))).kind == "unknown":
                    first = await self._receive()
        except TimeoutError:
            raise self._idle("start") from None
        if event.kind != "start":
            raise _out_of_order(f"{event.kind} came before start")
        request = {"text": "", **event.request} if isinstance(event.request, dict) else None
        if request is not None and request["text"] is None:
            request["text"] = ""
        try:
            body = validate_tts(request, self._socket.headers)
        except HTTPException:
            raise _out_of_order("start has no request") from None
        except RequestValidationError as error:
            raise UserError(describe_fields(error), code="validation_error") from None
        request_id = self._socket.state.request_id
        wanted = to_speech_request(body, self._options, request_id)
        check_unverified(wanted)
        return wanted

    async def _receive_in_time(self, text: LiveText) -> bytes:
        """The next frame. Raises UserError when nothing moves for too long, or it is too large."""
        while True:
            deadline_s = self._idle_from_s + self._options.live_idle_s
            try:
                async with asyncio.timeout_at(deadline_s):
                    frame = _content(await self._receive())
                break
            except TimeoutError:
                if deadline_s < self._idle_from_s + self._options.live_idle_s:
                    continue
                if not text.is_ready and (self._spoken is None or self._spoken.is_idle):
                    raise self._idle("text") from None
                self._note_activity()
        if len(frame) > _MAX_FRAME_BYTES:
            raise UserError(
                f"a frame has {len(frame):,} bytes; the limit is {_MAX_FRAME_BYTES:,}",
                code="frame_too_large",
            )
        return frame

    async def _receive(self) -> Message:
        """What comes next. Raises WebSocketDisconnect when the client has left."""
        # What has come already is received without waiting, however much it is.
        await asyncio.sleep(0)
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", _CLOSE_OK))
        return message

    def _note_activity(self) -> None:
        self._idle_from_s = asyncio.get_running_loop().time()

    def _idle(self, what: str) -> UserError:
        idle_s = self._options.live_idle_s
        return UserError(
            f"no {what} came for {idle_s:g} s: send stop when there is no more", code="idle"
        )

    async def _send(self, frame: bytes) -> None:
        """Send one frame. Raises StalledReaderError when the client takes nothing for too long."""
        stall_s = self._options.client_stall_s
        try:
            async with asyncio.timeout(stall_s):
                await self._socket.send_bytes(frame)
        except TimeoutError:
            raise StalledReaderError(f"the client took nothing for {stall_s:g} s") from None
        self._note_activity()

    async def _end(self, frame: bytes, code: int) -> None:
        await self._send(frame)
        await self._socket.close(code)

    def _time(self) -> dict[str, Any]:
        """Milliseconds since the handshake, where the client wants times."""
        if not self._has_times:
            return {}
        return {"time": round(1000 * (time.perf_counter() - self._started_s))}


def _content(message: Message) -> bytes:
    """The frame of a message. Raises UserError where it is text."""
    frame: bytes | None = message.get("bytes")
    if frame is None:
        raise _out_of_order("a text frame came; all frames are binary MessagePack")
    return frame


def _message(error: Fishs2Error) -> str:
    return fish_message(describe_error(error))


def _close_code(error: Fishs2Error) -> int:
    if isinstance(error, ShutdownError):
        return CLOSE_RESTART
    problem = describe_error(error)
    if isinstance(error, BusyError):
        # Characters that are used up do not come back by waiting.
        return _CLOSE_WRONG if problem.code == "insufficient_quota" else _CLOSE_BUSY
    status = problem.status
    return _CLOSE_BROKEN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else _CLOSE_WRONG


def _out_of_order(what: str) -> UserError:
    return UserError(
        f"{what}: send start with a request, then text and flush, then stop",
        code="invalid_frame",
        param="event",
    )
