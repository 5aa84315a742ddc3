"""The contexts of one connection to ElevenLabs' WebSockets: which are open, and what they hold.

No task and no socket: `live` speaks them, and tells the client.
"""

import asyncio
from dataclasses import dataclass, field

from fishs2.errors import UserError
from fishs2.server.dialects.elevenlabs.body import Frame, LiveQuery, TextToSpeech, VoiceSettings
from fishs2.server.dialects.elevenlabs.request import to_speech_request
from fishs2.server.options import ServerOptions
from fishs2.service.speech.live import LiveText
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.service import Spoken

MAX_CONTEXTS = 5
"""Of one connection, as at ElevenLabs; those that still sound count."""

_DEFAULT_ID = "default"
_MIN_SENTENCE_CHARS = 100
"""Less of a sentence, spoken by itself, loses its melody; the Python SDK asks for 50 whatever its
user wants."""


@dataclass(slots=True, eq=False)
class Context:
    """A text that is spoken while it comes. idle_from_s: when text last came or sounded."""

    context_id: str
    request: SpeechRequest
    text: LiveText
    settings: VoiceSettings | None
    idle_from_s: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    spoken: Spoken | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether there is nothing to speak until more text comes."""
        if self.text.is_ready or self.spoken is None:
            return False
        return self.spoken.is_idle

    def touch(self) -> None:
        """Something has happened."""
        self.idle_from_s = asyncio.get_running_loop().time()


class Contexts:
    """Those of one connection, and how a new one is spoken. One event loop."""

    def __init__(
        self, voice_id: str, query: LiveQuery, options: ServerOptions, *, request_id: str, most: int
    ) -> None:
        """most: how many at a time. Raises UserError for an address that no context could have."""
        self._voice_id = voice_id
        self._query = query
        self._options = options
        self._request_id = request_id
        self._most = most
        self._open: dict[str, Context] = {}
        self._make_request(None)

    @property
    def has_one_clock(self) -> bool:
        """Whether times are of the whole speech, not of each message."""
        return self._most == 1 or self._query.sync_alignment is True

    @property
    def all(self) -> list[Context]:
        """Those that have not been spoken to their end."""
        return list(self._open.values())

    @property
    def listening(self) -> list[Context]:
        """Those that more text may come for."""
        return [each for each in self._open.values() if not each.text.is_ended]

    def find(self, frame: Frame) -> Context | None:
        """The open context that a frame means."""
        return self._open.get(id_of(frame))

    def open(self, frame: Frame) -> Context:
        """A new one. Raises UserError `too_many_contexts`, `validation_error`."""
        if len(self._open) >= self._most:
            raise UserError(
                f"{self._most} contexts are open, which is the limit for one connection: close one "
                "with close_context and wait for its isFinal, or connect a second time",
                code="too_many_contexts",
            )
        config = frame.generation_config
        schedule = config.chunk_length_schedule if config else None
        text = LiveText(
            max_chars=self._options.live_max_chars,
            max_sentence_chars=max(_MIN_SENTENCE_CHARS, schedule[-1]) if schedule else None,
        )
        settings = frame.voice_settings
        context = Context(id_of(frame), self._make_request(settings), text, settings)
        self._open[context.context_id] = context
        return context

    def forget(self, context: Context) -> None:
        """It has been spoken; its id may be used again."""
        del self._open[context.context_id]

    def _make_request(self, settings: VoiceSettings | None) -> SpeechRequest:
        query = self._query
        body = TextToSpeech(
            text="",
            model_id=query.model_id,
            language_code=query.language_code,
            seed=query.seed,
            apply_text_normalization=query.apply_text_normalization,
            voice_settings=settings,
        )
        return to_speech_request(
            body,
            self._voice_id,
            self._options,
            request_id=self._request_id,
            output_format=query.output_format,
            latency=query.optimize_streaming_latency,
            is_timed=query.sync_alignment is not False,
        )


def id_of(frame: Frame) -> str:
    """The context that a frame is for; one that names none is for the usual one."""
    return frame.context_id or _DEFAULT_ID


async def write(context: Context, frame: Frame) -> None:
    """Take the text of a frame. Raises UserError `context_closed`, `invalid_frame` and, for too
    much text, `input_too_long`.
    """
    if context.text.is_ended:
        raise UserError(
            "this context was closed: no text may follow; open another with a new context_id",
            code="context_closed",
            param="context_id",
        )
    if frame.voice_settings is not None and frame.voice_settings != context.settings:
        raise UserError(
            "voice_settings may come with the first frame of a context only: open another for them",
            code="invalid_frame",
            param="voice_settings",
        )
    context.touch()
    await context.text.add(frame.text or "")
    if frame.flush:
        context.text.flush()
