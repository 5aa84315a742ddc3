"""The OpenAI speech dialect: `/v1/audio/speech` and `/v1/models`, with and without `/v1`.

Source: OpenAI API reference, createSpeech and models; extensions as docs/api.md lists them.
"""

from dataclasses import replace
from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from fishs2.server.dialects.openai.body import SpeechBody
from fishs2.server.dialects.openai.events import OpenAiEvents
from fishs2.server.dialects.openai.query import query_parameters, read_query
from fishs2.server.dialects.openai.request import find_model, model_names, to_speech_request
from fishs2.server.edge.accept import wants_events
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.cors import check_link
from fishs2.server.edge.error_bodies import ErrorBody, error_answers
from fishs2.server.edge.json_body import do_aside
from fishs2.server.edge.streaming import (
    CONTENT_TYPES,
    Delivery,
    SpeechOrder,
    SpeechResponse,
    audio_content,
    speech_headers,
)
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.speech.preview import Preview, preview
from fishs2.service.speech.request import SpeechRequest

_CONTENT_TYPES = {**CONTENT_TYPES, "opus": "audio/opus"}
"""As OpenAI's own answers have them."""


class Model(BaseModel):
    """One entry of the model list."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "fishs2"


class ModelList(BaseModel):
    """The body of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[Model]


class AudioModelList(ModelList):
    """The body of GET /v1/audio/models."""

    models: list[Model]


_AUDIO_ANSWER: dict[str, Any] = {
    "description": "The speech, whole, in chunks, or as server-sent events.",
    "content": {
        **audio_content(_CONTENT_TYPES.values()),
        "text/event-stream": {},
        # Where times are asked for.
        **{kind: {} for kind in ("application/json", "application/x-subrip", "text/vtt")},
    },
}

SPEECH_ERRORS = error_answers(
    ErrorBody,
    {
        400: "The body cannot be read.",
        404: "There is no such model or voice.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "A field is wrong.",
        429: "The server is busy; Retry-After says when to try again.",
        500: "The engine failed.",
        501: "To verify speech needs the extra asr.",
        503: "The engine cannot work.",
    },
)


_LINK_ERRORS = {
    403: error_answers(ErrorBody, {403: "The page that plays the link may not."})[403],
    **{status: answer for status, answer in SPEECH_ERRORS.items() if status not in (400, 413, 415)},
}

_SPEECH_PATH = "/v1/audio/speech"
_LINK_HEADERS = {
    # Players try to go on in the middle; speech is made from its start.
    "Accept-Ranges": "none",
    # It is made anew for everybody who asks, and may be private.
    "Cache-Control": "no-store",
}


def openai_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of the dialect; `edge.paths` leads those without `/v1` here."""
    router = GuardedRouter(tags=["OpenAI"])

    async def create_speech(request: Request, body: SpeechBody) -> Response:
        """Turn text into speech."""
        order = await order_speech(services, options, request, body)
        delivery = _delivery(body, request, order.script.plan.format.name)
        return _respond(order, delivery, options)

    router.add_api_route(
        _SPEECH_PATH,
        create_speech,
        methods=["POST"],
        response_class=Response,
        responses={200: _AUDIO_ANSWER, **SPEECH_ERRORS},
        openapi_extra=SPEECH,
    )
    _add_link(router, services, options)
    _add_preview(router, services, options)
    _add_models(router, options)
    return router


def _respond(order: SpeechOrder, delivery: Delivery, options: ServerOptions) -> Response:
    stall_s = options.client_stall_s
    return SpeechResponse(order, delivery=delivery, client_stall_s=stall_s, events=OpenAiEvents)


def _add_link(router: GuardedRouter, services: Services, options: ServerOptions) -> None:
    async def create_speech_from_query(request: Request) -> Response:
        """Turn text into speech, for players that take a link.

        Takes the scalar fields of the POST; costs the same. Range is ignored.
        """
        check_link(request.headers, options.cors_origins)
        body = read_query(request.query_params)
        order = await order_speech(services, options, request, body)
        order = replace(order, more_headers=_LINK_HEADERS)
        if request.state.is_head:
            return speech_headers(order)
        delivery = _delivery(body, request, order.script.plan.format.name)
        return _respond(order, delivery, options)

    router.add_api_route(
        _SPEECH_PATH,
        create_speech_from_query,
        methods=["GET"],
        response_class=Response,
        responses={200: _AUDIO_ANSWER, **_LINK_ERRORS},
        openapi_extra={"parameters": query_parameters(), **SPEECH},
    )


def _add_preview(router: GuardedRouter, services: Services, options: ServerOptions) -> None:
    async def preview_text(request: Request, body: SpeechBody) -> Preview:
        """Show what would be spoken of a text, without speaking it; it costs nothing."""
        return preview(await services.desk.write(await _translate(body, options, request)))

    router.add_api_route(
        "/v1/text/preview",
        preview_text,
        methods=["POST"],
        responses={status: SPEECH_ERRORS[status] for status in (400, 404, 413, 415, 422, 503)},
        openapi_extra=SPEECH,
    )


def _add_models(router: GuardedRouter, options: ServerOptions) -> None:
    async def list_models() -> ModelList:
        """List the model and its other names."""
        return ModelList(data=[Model(id=name) for name in model_names(options)])

    async def list_audio_models() -> AudioModelList:
        """List the same, in the shape that Open WebUI and speaches' clients read."""
        models = [Model(id=name) for name in model_names(options)]
        return AudioModelList(data=models, models=models)

    async def get_model(model_id: str) -> Model:
        """Describe one model."""
        return Model(id=find_model(model_id, options))

    router.add_api_route("/v1/models", list_models, methods=["GET"], openapi_extra=SPEECH)
    router.add_api_route(
        "/v1/audio/models", list_audio_models, methods=["GET"], openapi_extra=SPEECH
    )
    router.add_api_route(
        "/v1/models/{model_id:path}",
        get_model,
        methods=["GET"],
        responses={404: SPEECH_ERRORS[404]},
        openapi_extra=SPEECH,
    )


async def order_speech(
    services: Services, options: ServerOptions, request: Request, body: SpeechBody
) -> SpeechOrder:
    """Decide how to speak what a body asks for. Raises Fishs2Error."""
    desk = services.desk
    script = await desk.write(await _translate(body, options, request))
    content_type = _CONTENT_TYPES[script.plan.format.name]
    return SpeechOrder(desk, request.state.principal, script, content_type)


async def _translate(body: SpeechBody, options: ServerOptions, request: Request) -> SpeechRequest:
    """What a body asks for; recordings in it take a while. Raises UserError."""
    request_id = request.state.request_id
    recordings = (body.reference_audio, body.prompt_audio, body.ref_audio)
    num_chars = sum(len(each or "") for each in recordings)
    return await do_aside(lambda: to_speech_request(body, options, request_id), size=num_chars)


def _delivery(body: SpeechBody, request: Request, format_name: str) -> Delivery:
    """Clients that stream send no flag; those that want wav read its length in the header."""
    if body.stream_format == "sse" or wants_events(request.headers.get("accept", "")):
        return "sse"
    if body.timestamps is not None or body.captions is not None:
        return "timed"
    if body.stream is None:
        is_chunked = body.stream_format == "audio" or format_name != "wav"
        return "chunked" if is_chunked else "whole"
    return "chunked" if body.stream else "whole"
