"""Fish Audio's own speech API: `POST /v1/tts`, for clients of the cloud and of fish-speech.

Which of the two asks shows in its headers, `body.is_cloud`; they differ in defaults.
Live text is in `live`, answers with times in `times`. Source: docs/api.md.
"""

from typing import Any

from fastapi import Request
from starlette.responses import Response

from fishs2.server.dialects.fish_cloud.body import SelfHostedTts, is_cloud, read_tts
from fishs2.server.dialects.fish_cloud.errors import FishErrorBody
from fishs2.server.dialects.fish_cloud.request import check_unverified, to_speech_request
from fishs2.server.dialects.fish_cloud.times import TimedEvents
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.bodies import body_schema
from fishs2.server.edge.error_bodies import error_answers
from fishs2.server.edge.streaming import CONTENT_TYPES, SpeechOrder, SpeechResponse, audio_content
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services

_AUDIO_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech as it is made.",
        "content": audio_content(CONTENT_TYPES[name] for name in ("mp3", "wav", "pcm", "opus")),
    }
}

_EVENTS_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events with audio in base64, and when its parts sound.",
        "content": {"text/event-stream": {}},
    }
}

ERRORS = error_answers(
    FishErrorBody,
    {
        400: "A parameter is missing or wrong, or there is no such voice.",
        401: "The key is missing or not valid.",
        402: "The key has no characters left.",
        403: "The key does not allow this.",
        413: "The body is too large.",
        415: "The body is neither MessagePack nor JSON nor a form.",
        429: "Too many requests.",
        500: "The engine failed.",
        503: "The engine cannot work.",
    },
)


def fish_cloud_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of the dialect."""
    router = GuardedRouter(tags=["Fish Audio"])

    async def speak(request: Request) -> Response:
        """Turn text into speech."""
        order = await order_tts(request, services, options)
        return SpeechResponse(order, delivery="chunked", client_stall_s=options.client_stall_s)

    async def speak_with_times(request: Request) -> Response:
        """Turn text into speech, and say when each part of it sounds."""
        order = await order_tts(request, services, options)
        check_unverified(order.script.plan.request)
        stall_s = options.client_stall_s
        return SpeechResponse(order, delivery="sse", client_stall_s=stall_s, events=TimedEvents)

    router.add_api_route(
        "/v1/tts",
        speak,
        methods=["POST"],
        response_class=Response,
        responses={**ERRORS, **_AUDIO_ANSWER},
        openapi_extra={**tts_schema(), **SPEECH},
    )
    router.add_api_route(
        "/v1/tts/stream/with-timestamp",
        speak_with_times,
        methods=["POST"],
        response_class=Response,
        responses={**ERRORS, **_EVENTS_ANSWER},
        openapi_extra={**tts_schema(), **SPEECH},
    )
    return router


async def order_tts(request: Request, services: Services, options: ServerOptions) -> SpeechOrder:
    """Read a request and decide how to speak it. Raises what reading and planning raise."""
    body = await read_tts(request)
    wanted = to_speech_request(body, options, request.state.request_id)
    script = await services.desk.write(wanted)
    name = script.plan.format.name
    headers = {}
    if not is_cloud(request.headers):
        headers["Content-Disposition"] = f"attachment; filename=audio.{name}"
    principal = request.state.principal
    return SpeechOrder(services.desk, principal, script, CONTENT_TYPES[name], headers)


def tts_schema() -> dict[str, Any]:
    """How the API page describes the body."""
    # What a program that names no model, as this page does, speaks to.
    schema = body_schema(SelfHostedTts)
    content = schema["requestBody"]["content"]
    content["multipart/form-data"] = content["application/json"]
    return schema
