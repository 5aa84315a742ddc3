"""`/dev/captioned_speech` of Kokoro's servers: speech with the times of its words.

Source: Kokoro-FastAPI, captioned speech (behaviour, not code).
"""

import base64
from dataclasses import replace

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from fishs2.server.dialects.openai.body import SpeechBody
from fishs2.server.dialects.openai.speech import SPEECH_ERRORS, order_speech
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.bodies import inline_schema
from fishs2.server.edge.streaming import SpeechResponse, packed_json
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.speech.service import Spoken
from fishs2.service.speech.timing.times import Timed

CAPTIONED_PATH = "/dev/captioned_speech"

_AUDIO = "audio"
_KOKORO = "kokoro"
"""The one model of Kokoro's servers; here it means the one that there is."""
_IGNORED = ("stream_format", "captions")
"""Fields of the speech route that say in which shape it answers; this route has one of its own."""


class CaptionedBody(SpeechBody):
    """The body of /dev/captioned_speech: that of speech, with its own switches."""

    model: str = Field(_KOKORO, description="A model id from /v1/models, or kokoro.")
    stream: bool = Field(
        True, description="True sends a line of JSON per piece, false one object at the end."
    )
    return_timestamps: bool = Field(True, description="False leaves the words out.")


class CaptionedWord(BaseModel):
    """A word as it was written, and when it sounds, in seconds of the whole audio."""

    word: str
    start_time: float
    end_time: float


class CaptionedSpeech(BaseModel):
    """One line, or the whole answer. audio: in base64. timestamps: words that are new."""

    audio: str
    audio_format: str
    timestamps: list[CaptionedWord]


class CaptionedLines:
    """Pieces of audio, each with the words that became known since the last."""

    def __init__(self, spoken: Spoken, content_type: str, *, has_words: bool) -> None:
        self._spoken = spoken
        self._content_type = content_type
        self._has_words = has_words
        self._num_told = 0

    def audio(self, piece: bytes) -> bytes:
        audio = base64.b64encode(piece).decode("ascii")
        return packed_json({_AUDIO: audio, **self.beside()}) + b"\n"

    def end(self) -> bytes:
        return self.audio(b"")

    def beside(self) -> dict[str, object]:
        """What goes with the audio."""
        times = self._spoken.times
        assert times is not None
        fresh = times.words[self._num_told :] if self._has_words else []
        self._num_told += len(fresh)
        return {"audio_format": self._content_type, "timestamps": [_tell(each) for each in fresh]}


def captioned_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the route."""
    router = GuardedRouter(tags=["Kokoro"])

    async def create_captioned_speech(request: Request, body: CaptionedBody) -> Response:
        """Turn text into speech, and say when its words sound."""
        ignored = [name for name in _IGNORED if getattr(body, name) is not None]
        model = options.default_model if body.model == _KOKORO else body.model
        shape = {**dict.fromkeys(_IGNORED), "timestamps": "word", "model": model}
        order = await order_speech(services, options, request, body.model_copy(update=shape))
        if ignored:
            told = ", ".join([*order.script.plan.ignored, *ignored])
            order = replace(order, more_headers={"X-Fishs2-Ignored": told})

        def lines(spoken: Spoken) -> CaptionedLines:
            has_words = body.return_timestamps
            return CaptionedLines(spoken, order.content_type, has_words=has_words)

        return SpeechResponse(
            order,
            delivery="lines" if body.stream else "timed",
            client_stall_s=options.client_stall_s,
            lines=lines,
            beside=lambda spoken: (lines(spoken).beside(), _AUDIO),
        )

    router.add_api_route(
        CAPTIONED_PATH,
        create_captioned_speech,
        methods=["POST"],
        response_class=Response,
        responses={
            200: {
                "content": {"application/json": {"schema": inline_schema(CaptionedSpeech)}},
                "description": "The speech, and its words.",
            },
            **SPEECH_ERRORS,
        },
        openapi_extra=SPEECH,
    )
    return router


def _tell(word: Timed) -> dict[str, object]:
    return {
        "word": word.text,
        "start_time": round(word.start_s, 3),
        "end_time": round(word.end_s, 3),
    }
