"""The OpenAI speech dialect: `/v1/audio/speech` and `/v1/models`, with and without `/v1`.

Source: OpenAI API reference, createSpeech and models; extensions as docs/api.md lists them.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from fishs2.audio.effects import Effects
from fishs2.audio.formats import FORMATS
from fishs2.errors import NotFoundError, UserError
from fishs2.server.errors import ErrorBody
from fishs2.server.streaming import Delivery, SpeechResponse, Spoken
from fishs2.service.runtime import Runtime
from fishs2.service.speech import SpeechRequest
from fishs2.settings import Settings

OPENAI_MODELS = frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"})
"""Names that OpenAI clients send for lack of another. Source: OpenAI API reference."""

OWNER_PREFIXES = ("fishaudio/", "fish-audio/")

CONTENT_TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
}

PCM_RATE_HZ = 24_000
"""Players of OpenAI's raw PCM assume this rate. Source: OpenAI text-to-speech guide."""


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


class VoiceRef(BaseModel):
    """A voice given as an object."""

    model_config = ConfigDict(extra="ignore")

    id: str


class SpeechBody(BaseModel):
    """The body of POST /v1/audio/speech. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(description="A model id from /v1/models, or an OpenAI name such as tts-1.")
    input: str = Field(min_length=1, description="The text to speak.")
    voice: str | VoiceRef = Field(
        "default", description="A voice name, or an object with its id. OpenAI names are accepted."
    )
    instructions: str | None = Field(
        None, max_length=4096, description="How to speak, in plain words."
    )
    response_format: str = Field(
        "",
        description=f"One of {', '.join(FORMATS)}. Default: wav; mp3 for OpenAI model names.",
    )
    speed: Annotated[float, BeforeValidator(_no_bool)] = Field(
        1.0, ge=0.25, le=4.0, allow_inf_nan=False, description="Pace; the pitch stays."
    )
    stream_format: Literal["audio", "sse"] | None = Field(
        None, description="audio: bytes as they are made; sse: server-sent events."
    )
    stream: bool = Field(False, description="True is the same as stream_format audio.")
    sample_rate: Annotated[int | None, BeforeValidator(_no_bool)] = Field(
        None, ge=8_000, le=48_000, description="Samples per second of the answer, in Hz."
    )
    language: str | None = Field(
        None, max_length=35, description="BCP 47 tag, a hint to the engine, for example de."
    )


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


_AUDIO_ANSWER: dict[str, Any] = {
    "description": "The speech, whole, in chunks, or as server-sent events.",
    "content": {
        **{
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in CONTENT_TYPES.values()
        },
        "text/event-stream": {},
    },
}

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "The body cannot be read.",
        404: "There is no such model or voice.",
        413: "The body is too large.",
        415: "The body is not JSON.",
        422: "A field is wrong.",
        429: "The server is busy; Retry-After says when to try again.",
        500: "The engine failed.",
        503: "The engine cannot work.",
    }.items()
}


def openai_router(runtime: Runtime) -> APIRouter:
    """Build the routes of the dialect; those without `/v1` are left out of the schema."""
    settings = runtime.settings
    router = APIRouter(tags=["OpenAI"])

    async def create_speech(request: Request, body: SpeechBody) -> Response:
        """Turn text into speech."""
        speech_request = to_speech_request(body, settings, request.state.request_id)
        delivery = _delivery(body, request)
        speech = await runtime.speech()
        plan = speech.plan(speech_request)
        spoken = Spoken(speech, plan, CONTENT_TYPES[plan.format.name])
        return SpeechResponse(spoken, delivery=delivery, client_stall_s=settings.client_stall_s)

    async def list_models() -> ModelList:
        """List the model and its other names."""
        return ModelList(data=[Model(id=name) for name in model_names(settings)])

    async def get_model(model_id: str) -> Model:
        """Describe one model."""
        return Model(id=find_model(model_id, settings))

    for prefix, is_shown in (("/v1", True), ("", False)):
        router.add_api_route(
            f"{prefix}/audio/speech",
            create_speech,
            methods=["POST"],
            response_class=Response,
            responses={200: _AUDIO_ANSWER, **_ERRORS},
            include_in_schema=is_shown,
        )
        router.add_api_route(
            f"{prefix}/models", list_models, methods=["GET"], include_in_schema=is_shown
        )
        router.add_api_route(
            f"{prefix}/models/{{model_id:path}}",
            get_model,
            methods=["GET"],
            responses={404: _ERRORS[404]},
            include_in_schema=is_shown,
        )
    return router


def to_speech_request(body: SpeechBody, settings: Settings, request_id: str) -> SpeechRequest:
    """Translate the dialect into ours. Raises UserError in the contract's order of checks."""
    audio_format = _format(body, settings)
    if settings.strict_v1 and body.speed != 1.0:
        raise UserError(
            f"speed is {body.speed:g}; with FISHS2_STRICT_V1 only 1.0 is supported",
            code="unsupported_speed",
            param="speed",
        )
    find_model(body.model, settings)
    if "\0" in body.input:
        raise UserError("the text holds a NUL character", code="invalid_text", param="input")
    return SpeechRequest(
        request_id=request_id,
        text=body.input,
        voice=body.voice if isinstance(body.voice, str) else body.voice.id,
        format=audio_format,
        sample_rate_hz=body.sample_rate or (PCM_RATE_HZ if audio_format == "pcm" else None),
        language=body.language or None,
        instructions=body.instructions or "",
        effects=Effects(speed=body.speed),
    )


def model_names(settings: Settings) -> list[str]:
    """The default model and its aliases, each once whatever its case."""
    names = (settings.default_model, *settings.model_aliases)
    return list({name.lower(): name for name in reversed(names)}.values())[::-1]


def find_model(name: str, settings: Settings) -> str:
    """Return the listed id that `name` means. Raises NotFoundError."""
    wanted = name.strip().lower()
    listed = {known.lower(): known for known in model_names(settings)}
    for spelling in _spellings(wanted):
        if spelling in listed:
            return listed[spelling]
    if wanted in OPENAI_MODELS:
        return settings.default_model
    raise NotFoundError(
        f"there is no such model; known are {', '.join(model_names(settings))}",
        code="model_not_found",
        param="model",
    )


def _spellings(name: str) -> Iterator[str]:
    yield name
    for prefix in OWNER_PREFIXES:
        if name.startswith(prefix):
            yield name.removeprefix(prefix)


def _format(body: SpeechBody, settings: Settings) -> str:
    if "response_format" not in body.model_fields_set:
        if settings.default_format is not None:
            return settings.default_format
        is_openai = body.model.strip().lower() in OPENAI_MODELS and not settings.strict_v1
        return "mp3" if is_openai else "wav"
    name = body.response_format.strip().lower()
    allowed = ("wav",) if settings.strict_v1 else FORMATS
    if name not in allowed:
        raise UserError(
            f"the response format is not supported; supported are {', '.join(allowed)}",
            code="unsupported_format",
            param="response_format",
        )
    return name


def _delivery(body: SpeechBody, request: Request) -> Delivery:
    if body.stream_format == "sse" or "text/event-stream" in request.headers.get("accept", ""):
        return "sse"
    if body.stream_format == "audio" or body.stream:
        return "chunked"
    return "whole"
