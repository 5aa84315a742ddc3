"""One connection: it reads events while it speaks, so that a response can be cancelled."""

import asyncio
import base64
import json
import uuid
from contextlib import aclosing, suppress
from typing import Any

from fastapi import WebSocket
from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from fishs2.audio.effects import Effects
from fishs2.errors import Fishs2Error, ShutdownError, StalledReaderError, UserError
from fishs2.server.dialects.openai.realtime.conversation import Conversation, join_texts
from fishs2.server.dialects.openai.realtime.events import (
    MAX_EVENT_BYTES,
    Ask,
    Event,
    Format,
    Manner,
    Output,
    VoiceRef,
    read_event,
)
from fishs2.server.dialects.openai.realtime.response import Answer
from fishs2.server.edge.error_bodies import error_kind
from fishs2.server.edge.errors import describe_error
from fishs2.server.edge.pace import pace_of
from fishs2.server.options import ServerOptions
from fishs2.server.wire.stopping import CLOSE_RESTART, Stopping
from fishs2.service.services import Services
from fishs2.service.speech.request import SpeechRequest

_CLOSE_OK = 1000
_CLOSE_IDLE = 1008
_IDLE_S = 900.0
"""A conversation may pause; a connection without one makes room."""

_PIECE_BYTES = 24_000
"""Half a second of PCM: what a client that cancels has not yet been sent."""


class RealtimeSession:
    """From the handshake to the close. One event loop."""

    def __init__(
        self, socket: WebSocket, services: Services, options: ServerOptions, model: str
    ) -> None:
        """model: the id that the client's name for it means."""
        self._socket = socket
        self._services = services
        self._options = options
        self._model = model
        self._manner = Manner()
        self._conversation = Conversation(max_chars=options.live_max_chars)
        self._speaking: asyncio.Task[None] | None = None
        self._answer: Answer | None = None
        self._has_stalled = asyncio.Event()
        self._stopping: Stopping = socket.app.state.stopping

    async def run(self) -> None:
        """Serve the client until it leaves, or the server ends."""
        offered = self._socket.scope.get("subprotocols") or ()
        await self._socket.accept(subprotocol="realtime" if "realtime" in offered else None)
        reading = asyncio.create_task(self._read_events())
        ending = asyncio.create_task(self._stopping.has_begun.wait())
        stalling = asyncio.create_task(self._has_stalled.wait())
        # The client has left, or takes nothing: there is nobody to tell.
        with suppress(WebSocketDisconnect, StalledReaderError):
            try:
                await self._tell("session.created", session=self._shown())
                first = {reading, ending, stalling}
                await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                if stalling.done():
                    return
                if reading.done():
                    reading.result()
                    await self._socket.close(_CLOSE_IDLE)
                    return
                if self._speaking is not None:
                    first = {self._speaking, reading, stalling}
                    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
                await self._tell_error(ShutdownError(), None)
                await self._socket.close(CLOSE_RESTART)
            finally:
                for task in (reading, ending, stalling, self._speaking):
                    if task is not None:
                        task.cancel()
                        # Waiting for the cancelled work is what frees the engine before we return.
                        await asyncio.wait({task})

    async def _read_events(self) -> None:
        """Act on events until the client leaves, which raises WebSocketDisconnect, or is silent."""
        while True:
            event: Event | None = None
            try:
                async with asyncio.timeout(_IDLE_S):
                    message = await self._receive()
            except TimeoutError:
                if self._is_speaking:
                    continue
                why = f"nothing came for {_IDLE_S:g} s"
                await self._tell_error(UserError(why, code="idle"), None)
                return
            try:
                event = read_event(_content(message))
                await self._act(event)
            except StalledReaderError:
                raise
            except Fishs2Error as error:
                await self._tell_error(error, event)

    async def _receive(self) -> Message:
        """What comes next. Raises WebSocketDisconnect when the client has left."""
        # What has come already is received without waiting, however much it is.
        await asyncio.sleep(0)
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", _CLOSE_OK))
        return message

    async def _act(self, event: Event) -> None:
        """Do what an event asks for. Raises UserError."""
        match event.type:
            case "session.update":
                await self._update(event.session)
            case "conversation.item.create":
                await self._create(event)
            case "conversation.item.retrieve":
                message = self._conversation.get(event.item_id or "")
                await self._tell("conversation.item.retrieved", item=message.shown())
            case "conversation.item.delete":
                self._conversation.remove(event.item_id or "")
                await self._tell("conversation.item.deleted", item_id=event.item_id)
            case "response.create":
                await self._respond(event.response or Ask())
            case "response.cancel":
                await self._cancel()
            case _:
                raise UserError(
                    "this type of event is not known here: known are session.update, "
                    "conversation.item.create, .retrieve and .delete, response.create and .cancel",
                    code="invalid_event",
                    param="type",
                )

    async def _update(self, manner: Manner | None) -> None:
        if manner is None:
            raise UserError("session is missing", code="invalid_event", param="session")
        manner.check()
        known, given = self._manner, manner.output
        self._manner = Manner(
            instructions=known.instructions if manner.instructions is None else manner.instructions,
            output_audio_format=given.format or known.output_audio_format,
            voice=given.voice or known.voice,
            speed=given.speed or known.speed,
        )
        await self._tell("session.updated", session=self._shown())

    async def _create(self, event: Event) -> None:
        if event.item is None:
            raise UserError("item is missing", code="invalid_event", param="item")
        message, before = self._conversation.add(event.item, event.previous_item_id)
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self._tell(kind, previous_item_id=before, item=message.shown())

    async def _respond(self, ask: Ask) -> None:
        if self._is_speaking:
            raise UserError(
                "a response is being spoken: wait for response.done, or send response.cancel",
                code="conversation_already_has_active_response",
            )
        ask.check()
        for item in ask.input or ():
            item.check()
        fresh = self._conversation.unspoken() if ask.input is None else []
        text = join_texts([each.item for each in fresh] if ask.input is None else ask.input)
        if not text:
            raise UserError(
                "there is nothing to speak: send conversation.item.create first, or response.input",
                code="empty_input",
            )
        request = self._request(text, ask)
        # All that can be refused is refused before anything of a response is told.
        script = await self._services.desk.write(request)
        for message in fresh:
            message.was_spoken = True
        self._answer = Answer(
            text,
            metadata=ask.metadata,
            voice=request.voice or "default",
            ignored=script.plan.ignored,
        )
        self._speaking = asyncio.create_task(self._speak(script, self._answer))

    def _request(self, text: str, ask: Ask) -> SpeechRequest:
        mine, asked = self._manner.output, ask.output
        output = Output(
            format=asked.format or mine.format or Format(),
            voice=asked.voice or mine.voice,
            speed=asked.speed or mine.speed,
        )
        assert output.format is not None
        return SpeechRequest(
            dialect="openai_realtime",
            request_id=uuid.uuid4().hex,
            text=text,
            voice=_name_of(output.voice),
            format=output.format.name,
            sample_rate_hz=output.format.rate_hz,
            instructions=ask.instructions or self._manner.instructions or "",
            effects=Effects(speed=output.speed or 1.0),
        )

    @property
    def _is_speaking(self) -> bool:
        return self._speaking is not None and not self._speaking.done()

    async def _cancel(self) -> None:
        if self._speaking is None or self._speaking.done() or self._answer is None:
            raise UserError("no response is being spoken", code="response_cancel_not_active")
        self._speaking.cancel()
        await asyncio.wait({self._speaking})
        # It may have come to its end, and told so, just before.
        if self._speaking.cancelled():
            await self._tell_all(self._answer.end("cancelled"))

    async def _speak(self, script: Any, answer: Answer) -> None:
        """Speak a response, and tell how it ended."""
        try:
            await self._tell_all(answer.begin())
            desk, pace = self._services.desk, pace_of(self._socket.scope)

            async def send(audio: bytes) -> None:
                for start in range(0, len(audio), _PIECE_BYTES):
                    delta = base64.b64encode(audio[start : start + _PIECE_BYTES]).decode()
                    await self._send(answer.audio(delta))

            principal = self._socket.state.principal
            async with desk.speak(principal, script) as spoken, aclosing(spoken.stream()) as pieces:
                async for piece in pieces:
                    await send(await pace.wait(piece, spoken.report.audio_s, send))
            await self._tell_all(answer.end("completed"))
        except StalledReaderError:
            # Nobody can be told, and nothing more is to be read.
            self._has_stalled.set()
        except Fishs2Error as error:
            with suppress(StalledReaderError):
                await self._tell_error(error, None)
                await self._tell_all(answer.end("failed", code=describe_error(error).code))
                return
            self._has_stalled.set()

    def _shown(self) -> dict[str, Any]:
        """The session as clients see it."""
        output = self._manner.output
        audio_format = output.format or Format()
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": self._socket.state.request_id,
            "model": self._model,
            "output_modalities": ["audio"],
            "instructions": self._manner.instructions or "",
            "audio": {
                "input": {"turn_detection": None},
                "output": {
                    "format": {"type": audio_format.type, "rate": audio_format.rate_hz},
                    "voice": _name_of(output.voice) or "default",
                    "speed": output.speed or 1.0,
                },
            },
        }

    async def _tell(self, kind: str, **more: Any) -> None:
        await self._send({"type": kind, **more})

    async def _tell_all(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            await self._send(event)

    async def _tell_error(self, error: Fishs2Error, event: Event | None) -> None:
        problem = describe_error(error)
        told = {
            "type": error_kind(problem),
            "code": problem.code,
            "message": problem.message,
            "param": problem.param,
            "event_id": event.event_id if event else None,
        }
        await self._tell("error", error=told)

    async def _send(self, event: dict[str, Any]) -> None:
        """Send one event. Raises StalledReaderError when the client takes nothing for too long."""
        stall_s = self._options.client_stall_s
        content = json.dumps({"event_id": f"event_{uuid.uuid4().hex}", **event})
        try:
            async with asyncio.timeout(stall_s):
                await self._socket.send_text(content)
        except TimeoutError:
            raise StalledReaderError(f"the client took nothing for {stall_s:g} s") from None


def _content(message: Message) -> str:
    """The event in a frame. Raises UserError `frame_too_large`, `invalid_event`."""
    content: str | None = message.get("text")
    if content is None:
        raise UserError("send events as JSON in text frames, not in binary", code="invalid_event")
    if len(content) > MAX_EVENT_BYTES:
        raise UserError(
            f"a frame has {len(content):,} characters; the limit is {MAX_EVENT_BYTES:,}: send a "
            "long text in several items",
            code="frame_too_large",
        )
    return content


def _name_of(voice: str | VoiceRef | None) -> str:
    return voice if isinstance(voice, str) else voice.id if voice else ""
