"""Speech of ElevenLabs over HTTP: whole or as it is made, with times of characters or without."""

from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import Response

from fishs2.server.dialects.elevenlabs.alignment import AlignedLines, beside_audio
from fishs2.server.dialects.elevenlabs.body import SpeechQuery, TextToSpeech, TimedSpeech
from fishs2.server.dialects.elevenlabs.errors import ERRORS
from fishs2.server.dialects.elevenlabs.request import in_their_words, to_speech_request
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.bodies import inline_schema
from fishs2.server.edge.streaming import (
    CONTENT_TYPES,
    Delivery,
    SpeechOrder,
    SpeechResponse,
    audio_content,
)
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services

PATH = "/elevenlabs/v1/text-to-speech/{voice_id}"

_CONTENT_TYPES = {**CONTENT_TYPES, "ulaw": "audio/basic", "alaw": "audio/PCMA"}
"""Source: RFC 2046, section 4.3; RFC 4856."""

_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"description": "The speech.", "content": audio_content(_CONTENT_TYPES.values())}
}
_TIMED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech, and when each character sounds.",
        "content": {"application/json": {"schema": inline_schema(TimedSpeech)}},
    }
}
_LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One such object a line; each has what is new.",
        "content": {"application/json": {"schema": {"type": "string"}}},
    }
}


def elevenlabs_speech_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of speech that is audio."""
    router = GuardedRouter(tags=["ElevenLabs"])

    async def answer(
        request: Request, voice_id: str, body: TextToSpeech, query: SpeechQuery, delivery: Delivery
    ) -> Response:
        is_timed = delivery in ("timed", "lines")
        order = await order_speech(
            services, options, request, voice_id, body, query, is_timed=is_timed
        )
        return SpeechResponse(
            order,
            delivery=delivery,
            client_stall_s=options.client_stall_s,
            lines=AlignedLines,
            beside=beside_audio,
        )

    async def convert(
        request: Request, voice_id: str, body: TextToSpeech, query: Annotated[SpeechQuery, Query()]
    ) -> Response:
        """Turn text into speech, whole."""
        return await answer(request, voice_id, body, query, "whole")

    async def stream(
        request: Request, voice_id: str, body: TextToSpeech, query: Annotated[SpeechQuery, Query()]
    ) -> Response:
        """Turn text into speech, as it is made."""
        return await answer(request, voice_id, body, query, "chunked")

    async def convert_with_timestamps(
        request: Request, voice_id: str, body: TextToSpeech, query: Annotated[SpeechQuery, Query()]
    ) -> Response:
        """Turn text into speech, whole, and say when each character sounds."""
        return await answer(request, voice_id, body, query, "timed")

    async def stream_with_timestamps(
        request: Request, voice_id: str, body: TextToSpeech, query: Annotated[SpeechQuery, Query()]
    ) -> Response:
        """Turn text into speech as it is made: lines of JSON, with times of characters."""
        return await answer(request, voice_id, body, query, "lines")

    for path, work, answers in (
        (PATH, convert, _AUDIO),
        (f"{PATH}/stream", stream, _AUDIO),
        (f"{PATH}/with-timestamps", convert_with_timestamps, _TIMED),
        (f"{PATH}/stream/with-timestamps", stream_with_timestamps, _LINES),
    ):
        router.add_api_route(
            path,
            work,
            methods=["POST"],
            response_class=Response,
            responses={**ERRORS, **answers},
            openapi_extra=SPEECH,
        )
    return router


async def order_speech(
    services: Services,
    options: ServerOptions,
    request: Request,
    voice_id: str,
    body: TextToSpeech,
    query: SpeechQuery,
    *,
    is_timed: bool = False,
) -> SpeechOrder:
    """Decide how to speak what a body asks for. Raises Fishs2Error."""
    desk, request_id = services.desk, request.state.request_id
    wanted = to_speech_request(
        body,
        voice_id,
        options,
        request_id=request_id,
        output_format=query.output_format,
        latency=query.optimize_streaming_latency,
        is_timed=is_timed,
    )
    script = await desk.write(wanted)
    headers = {"request-id": request_id, "character-cost": str(script.num_chars)}
    if script.plan.ignored:
        headers["X-Fishs2-Ignored"] = ", ".join(in_their_words(script.plan.ignored))
    content_type = _CONTENT_TYPES[script.plan.format.name]
    return SpeechOrder(desk, request.state.principal, script, content_type, headers)
