"""One connection of Wyoming: what it asks, in the order in which it asks.

Two tasks: one reads events, one speaks; whichever fails ends both with an `error` event. The reader
does not wait for the speech, so that pings are answered and `describe` is while a model loads. What
it reads waits as text, which is bounded. A client that closes its side has left: who listens to
speech keeps it open, and no more is to be worked for anybody else.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.ping import Pong
from wyoming.tts import SynthesizeStopped

from fishs2.errors import (
    BusyError,
    EngineError,
    EngineUnavailableError,
    Fishs2Error,
    ShutdownError,
    StalledReaderError,
    StoreUnavailableError,
    UserError,
)
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services
from fishs2.service.speech.live import LiveText
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import Spoken
from fishs2.text.directing.ssml import TextType
from fishs2.wyoming.frames import read_event, text_of
from fishs2.wyoming.info import describe
from fishs2.wyoming.options import WyomingOptions

_MAX_WAITING = 8
"""Texts that one connection may have asked for and not heard."""

_MAX_CHUNK_BYTES = 32_768
_SAMPLE_BYTES = 2
_ENGINE_PATIENCE_S = 3.0
"""How long a question for the voices waits for an engine that starts; Home Assistant waits five."""

_IDLE_S = 600.0
"""A connection that asks for nothing for so long makes room."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be spoken. live: the text that still comes; None where it is in the request."""

    request: SpeechRequest
    live: LiveText | None = None


class Session:
    """One client, from its first event to its last. One event loop."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        services: Services,
        options: WyomingOptions,
        *,
        find_principal: Callable[[], Awaitable[Principal]],
    ) -> None:
        """find_principal: on whom the speech is counted. Raises UnauthorizedError."""
        self._reader = reader
        self._writer = writer
        self._services = services
        self._options = options
        self._find_principal = find_principal
        self._turns: asyncio.Queue[_Turn | None] = asyncio.Queue()
        self._live: LiveText | None = None
        self._spoken: Spoken | None = None
        self._num_open = 0
        self._lock = asyncio.Lock()
        self._is_ending = False
        self._cut: LiveText | None = None
        """The text of which more might have come when the server ended."""

    async def run(self) -> None:
        """Serve the client until it has everything or has left, or something is wrong."""
        # The client has left, or takes nothing: there is nobody to tell.
        with suppress(ConnectionError, StalledReaderError):
            try:
                await self._serve()
            except StalledReaderError:
                raise
            except Fishs2Error as error:
                await self._send(_error_event(error))

    def stop(self) -> None:
        """The server ends: take no more text; what has been taken is still spoken."""
        if not self._is_ending:
            self._is_ending = True
            self._cut = self._live
            self._close_text()
            self._turns.put_nowait(None)

    async def _serve(self) -> None:
        speaking = asyncio.create_task(self._speak_turns())
        reading = asyncio.create_task(self._read_events())
        try:
            await asyncio.wait({speaking, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            speaking.cancel()
            reading.cancel()
            await asyncio.wait({speaking, reading})
        for task in (speaking, reading):
            if not task.cancelled():
                task.result()

    async def _read_events(self) -> None:
        """Hand on what the client says, until it leaves. Raises UserError, BusyError."""
        while (event := await self._next_event()) is not None:
            match event.type:
                case "describe":
                    await self._send_info()
                case "ping":
                    await self._send(Pong(event.data.get("text")).event())
                case "synthesize-start":
                    self._begin(self._request(event, ""), is_live=True)
                case "synthesize-chunk":
                    await self._add(text_of(event))
                case "synthesize-stop":
                    self._close_text()
                # Inside a stream it is the same text again, for servers that know no streams.
                case "synthesize" if self._live is None:
                    self._begin(self._request(event, text_of(event)), is_live=False)

    async def _next_event(self) -> Event | None:
        """The next event; None at the end. Raises UserError `idle` where a text does not go on."""
        while True:
            is_open = self._live is not None
            try:
                async with asyncio.timeout(self._options.live_idle_s if is_open else _IDLE_S):
                    return await read_event(self._reader, self._options.max_event_bytes)
            except TimeoutError:
                if self._is_heard():
                    continue
                if not is_open:
                    return None
                raise UserError(
                    f"no text came for {self._options.live_idle_s:g} s: send synthesize-stop when "
                    "there is no more",
                    code="idle",
                ) from None

    def _is_heard(self) -> bool:
        """Whether something is being spoken, or about to be."""
        if self._live is None:
            return self._num_open > 0
        return self._live.is_ready or not (self._spoken is None or self._spoken.is_idle)

    def _request(self, event: Event, text: str) -> SpeechRequest:
        """What a `synthesize` or `synthesize-start` asks for. Raises UserError."""
        voice = event.data.get("voice") or {}
        if not isinstance(voice, dict):
            raise UserError("voice is an object", code="invalid_event", param="voice")
        asked = Event(event.type, {name: voice.get(name) or "" for name in ("name", "language")})
        return SpeechRequest(
            request_id=uuid.uuid4().hex,
            text=text,
            text_type=_text_type(event),
            voice=text_of(asked, "name"),
            language=text_of(asked, "language") or None,
            format="pcm",
            dialect="wyoming",
        )

    def _begin(self, request: SpeechRequest, *, is_live: bool) -> None:
        if self._is_ending:
            raise ShutdownError
        if self._live is not None:
            raise UserError(
                "synthesize-start came before the synthesize-stop of the text before",
                code="invalid_event",
            )
        if self._num_open >= _MAX_WAITING:
            raise BusyError(
                f"this connection has asked for {_MAX_WAITING} texts that it has not heard yet",
                retry_after_s=1,
            )
        if is_live:
            self._live = LiveText(max_chars=self._options.live_max_chars)
        self._num_open += 1
        self._turns.put_nowait(_Turn(request, self._live))

    async def _add(self, text: str) -> None:
        if self._live is None:
            raise UserError("synthesize-chunk came before synthesize-start", code="invalid_event")
        if not self._is_ending:
            await self._live.add(text)

    def _close_text(self) -> None:
        if self._live is not None:
            self._live.end()
            self._live = None

    async def _speak_turns(self) -> None:
        """Speak what is asked for, one after the other, until no more comes."""
        while (turn := await self._turns.get()) is not None:
            await self._speak(turn)
            self._num_open -= 1

    async def _speak(self, turn: _Turn) -> None:
        principal, desk = await self._find_principal(), self._services.desk
        if turn.live is not None:
            async with desk.speak_live(principal, turn.request, turn.live) as self._spoken:
                await self._send_speech(self._spoken)
            if turn.live is self._cut:
                raise ShutdownError
            await self._send(SynthesizeStopped().event())
        else:
            script = await desk.write(turn.request)
            async with desk.speak(principal, script) as self._spoken:
                await self._send_speech(self._spoken)

    async def _send_speech(self, spoken: Spoken) -> None:
        """Send the sound of a speech between its start and its stop."""
        rate_hz = spoken.script.plan.format.sample_rate_hz
        num_sent = 0
        async with aclosing(spoken.stream()) as pieces:
            async for piece in pieces:
                if not num_sent:
                    await self._send(AudioStart(rate_hz, _SAMPLE_BYTES, 1, timestamp=0).event())
                for start in range(0, len(piece), _MAX_CHUNK_BYTES):
                    audio = piece[start : start + _MAX_CHUNK_BYTES]
                    at_ms = num_sent // _SAMPLE_BYTES * 1000 // rate_hz
                    chunk = AudioChunk(rate_hz, _SAMPLE_BYTES, 1, audio, timestamp=at_ms)
                    await self._send(chunk.event())
                    num_sent += len(audio)
        if not num_sent:
            # A text that had nothing to pronounce: whoever plays it waits for both.
            await self._send(AudioStart(rate_hz, _SAMPLE_BYTES, 1, timestamp=0).event())
        end_ms = num_sent // _SAMPLE_BYTES * 1000 // rate_hz
        await self._send(AudioStop(timestamp=end_ms).event())

    async def _send_info(self) -> None:
        with suppress(TimeoutError, EngineError):
            async with asyncio.timeout(_ENGINE_PATIENCE_S):
                await self._services.wait_for_engine()
        stored = await self._services.voices.list()
        await self._send(describe(self._services.status().capabilities, stored).event())

    async def _send(self, event: Event) -> None:
        """Send one event. Raises StalledReaderError, ConnectionError."""
        stall_s = self._options.client_stall_s
        try:
            # Of two that write only one may wait.
            async with asyncio.timeout(stall_s), self._lock:
                await async_write_event(event, self._writer)
        except TimeoutError:
            raise StalledReaderError(f"the client took nothing for {stall_s:g} s") from None


def _text_type(event: Event) -> TextType:
    """Raises UserError."""
    match event.data.get("text_format"):
        case None | "" | "text":
            return "text"
        case "ssml":
            return "ssml"
        case _:
            raise UserError(
                "text_format is text or ssml", code="invalid_event", param="text_format"
            )


def _error_event(error: Fishs2Error) -> Event:
    """What an error tells a client: text for people, code for programs."""
    match error:
        case UserError() | BusyError():
            return Error(error.message, error.code).event()
        case EngineUnavailableError():
            why = error.reason or "the server's log says why"
            return Error(f"the engine cannot work; {why}", "backend_not_available").event()
        case EngineError():
            why = "the engine failed at this text; the server's log says why"
            return Error(why, "generation_failed").event()
        case StoreUnavailableError():
            why = "keys or voices cannot be read or written; the server's log says why"
            return Error(why, "store_not_available").event()
        case _:
            return Error(error.message, "shutting_down").event()
