"""Fish Audio's own OpenAI-compatible routes: our OpenAI route with the cloud's defaults.

Source: Fish Audio developer guide, OpenAI compatibility; docs/api.md says what differs.
"""

from typing import Any

from fastapi import Request
from pydantic import Field
from starlette.datastructures import Headers
from starlette.responses import Response

from fishs2.errors import UserError
from fishs2.server.dialects.fish_cloud.request import PCM_RATE_HZ
from fishs2.server.dialects.openai.body import SpeechBody
from fishs2.server.dialects.openai.request import OWNER_PREFIXES
from fishs2.server.dialects.openai.speech import order_speech
from fishs2.server.dialects.openai.transcription import Transcriptions
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.bodies import validate
from fishs2.server.edge.fields import JsonBody
from fishs2.server.edge.streaming import Delivery, SpeechResponse
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.voices.choice import PRESET_VOICES

ROOT = "/compat"
_ROOTS = (f"{ROOT}/v1", f"{ROOT}/api/v1", f"{ROOT}/openai/v1")
"""Three addresses of the same. Source: Fish Audio developer guide, OpenAI compatibility."""
PATHS = tuple(f"{root}/audio/speech" for root in _ROOTS)
TRANSCRIPTION_PATHS = tuple(f"{root}/audio/transcriptions" for root in _ROOTS)

CLOUD_MODELS = frozenset(
    ["speech-1.5", "speech-1.6", "agent-x0", "s1", "s1-mini", "s2-pro", "s2.1-pro", "s2.1-pro-free"]
)
"""What the cloud calls its models; here they all mean the one that there is."""

OPTIONS = (
    "temperature",
    "top_p",
    "repetition_penalty",
    "max_new_tokens",
    "seed",
    "chunk_length",
    "latency",
    "normalize",
    "prosody",
    "sample_rate",
)
"""Native parameters that may come as options."""

_DEFAULT_FORMAT = "pcm"
_FORMATS = {"pcm": ("pcm", PCM_RATE_HZ), "pcm16": ("pcm", 24_000)}
_KNOWN_FORMATS = ("pcm", "pcm16", "wav", "mp3", "opus")
_OPTION_PREFIX = "x-fish-"


class Provider(JsonBody):
    """Options by provider; those of others are not for us."""

    options: dict[str, dict[str, Any] | None] = Field({})


class CompatBody(SpeechBody):
    """The body of POST /compat/v1/audio/speech."""

    response_format: str | None = Field(
        None, description="pcm (44.1 kHz; the default), pcm16 (24 kHz), wav, mp3 or opus."
    )
    provider: Provider | None = Field(
        None, description="Native parameters, in options under fish-audio."
    )
    input_references: Any = Field(None, description="Refused: send references.")


def fish_compat_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes; hidden, so that whoever looks for a speech route finds the one we mean."""
    router = GuardedRouter(include_in_schema=False)

    async def create_speech(request: Request, body: CompatBody) -> Response:
        """Turn text into speech."""
        await _check_voice(services, body)
        translated = to_speech_body(body, request.headers, options.default_model)
        order = await order_speech(services, options, request, translated)
        delivery: Delivery = "whole" if body.stream is False else "chunked"
        if translated.timestamps is not None or translated.captions is not None:
            delivery = "timed"
        stall_s = options.client_stall_s
        return SpeechResponse(order, delivery=delivery, client_stall_s=stall_s)

    for path in PATHS:
        router.add_api_route(
            path, create_speech, methods=["POST"], response_class=Response, openapi_extra=SPEECH
        )
    transcriptions = Transcriptions(services, options)

    async def create_transcription(request: Request) -> Response:
        """Say what is said in a recording."""
        return await transcriptions.answer(request, "transcribe")

    for path in TRANSCRIPTION_PATHS:
        router.add_api_route(
            path,
            create_transcription,
            methods=["POST"],
            response_class=Response,
            openapi_extra=SPEECH,
        )
    return router


def to_speech_body(body: CompatBody, headers: Headers, default_model: str) -> SpeechBody:
    """Translate into our OpenAI dialect. Raises UserError, RequestValidationError."""
    if body.instructions and body.instructions.strip():
        raise _refused("instructions", "not taken here: put [style] tags into the text")
    if body.stream_format == "sse":
        raise _refused("stream_format", "audio only here; POST /v1/audio/speech has sse")
    if body.input_references is not None:
        raise _refused("input_references", "not taken here: send references")
    name = (body.response_format or "").strip().lower() or _DEFAULT_FORMAT
    if name not in _KNOWN_FORMATS:
        raise _refused("response_format", f"none of {', '.join(_KNOWN_FORMATS)}")
    given = body.model_dump(exclude_unset=True, exclude={"provider", "input_references"})
    given |= _options(body, headers)
    given["model"] = _model(body.model, default_model)
    given["response_format"], rate_hz = _FORMATS.get(name, (name, None))
    given.setdefault("sample_rate", rate_hz)
    return validate(given, SpeechBody)


def _options(body: CompatBody, headers: Headers) -> dict[str, Any]:
    """Native parameters from headers and, winning over those, from the body."""
    options: dict[str, Any] = {
        name.removeprefix(_OPTION_PREFIX).replace("-", "_"): value
        for name, value in headers.items()
        if name.startswith(_OPTION_PREFIX)
    }
    if body.provider is not None:
        options |= body.provider.options.get("fish-audio") or {}
    options = {name: value for name, value in options.items() if value not in (None, "")}
    if not options.keys() <= set(OPTIONS):
        known = ", ".join(OPTIONS)
        raise UserError(
            f"an option of fish-audio is not known; known are {known}",
            code="invalid_parameter",
            param="provider",
        )
    return options


def _model(name: str, default_model: str) -> str:
    plain = name.strip().lower()
    for prefix in OWNER_PREFIXES:
        plain = plain.removeprefix(prefix)
    return default_model if plain in CLOUD_MODELS else name


async def _check_voice(services: Services, body: CompatBody) -> None:
    """The cloud has no presets of OpenAI: none may pass for the default voice."""
    name = body.voice if isinstance(body.voice, str) else body.voice.id
    if name.strip().lower() in PRESET_VOICES and await services.voices.find(name) is None:
        raise _refused("voice", "a preset of OpenAI; send a voice id, or default")


def _refused(field: str, what: str) -> UserError:
    return UserError(f"{field} is {what}", code="invalid_parameter", param=field)
