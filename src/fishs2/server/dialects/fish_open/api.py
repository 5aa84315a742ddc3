"""The fishaudio.net open API: `/api/open/`, JSON or MessagePack in, audio or JSON out.

Source: the operator's API page, docs/api.md; where it is silent, our decisions there.
"""

import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from fishs2.audio.effects import Effects
from fishs2.errors import NotFoundError, UserError
from fishs2.server.clips import PCM_RATE_HZ, clip_url
from fishs2.server.dialects.fish_open.body import (
    Body,
    DeleteModel,
    ListModels,
    OpenSpeech,
    token_in,
)
from fishs2.server.dialects.fish_open.errors import OpenErrorBody, error_answer
from fishs2.server.edge.auth import (
    ANY_KEY,
    READ_VOICES,
    SPEECH,
    WRITE_VOICES,
    GuardedRouter,
    let_in,
)
from fishs2.server.edge.bodies import body_schema, open_form, read_object, validate
from fishs2.server.edge.error_bodies import error_answers
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.fields import UNLIMITED, iso_time
from fishs2.server.edge.streaming import (
    CONTENT_TYPES,
    SpeechOrder,
    SpeechResponse,
    audio_content,
    engine_headers,
    while_connected,
)
from fishs2.server.edge.words import to_words
from fishs2.server.options import ServerOptions
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services
from fishs2.service.speech.request import SpeechRequest
from fishs2.service.speech.whole import WholeScript
from fishs2.service.voices.rules import MAX_SAMPLES
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.files import Voice
from fishs2.text.splitting.silences import Silences

PREFIX = "/api/open/"

_MAX_FIELDS = 100

_T = TypeVar("_T", bound=Body)

_SPEECH_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech as it is made; with cache, JSON with its address.",
        "content": {
            **audio_content(CONTENT_TYPES[name] for name in ("mp3", "wav", "pcm")),
            "application/json": {},
        },
    }
}

_ERRORS = error_answers(
    OpenErrorBody,
    {
        400: "A parameter is missing or wrong.",
        401: "The key is missing or not valid.",
        403: "The key does not allow this.",
        404: "There is no such model.",
        413: "The body is too large.",
        415: "The body is neither JSON nor MessagePack.",
        429: "Too many requests, or no characters left.",
        500: "The engine failed or cannot work.",
    },
)

_UPLOAD_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "audioFiles"],
                    "properties": {
                        "name": {"type": "string"},
                        "description": {"type": "string"},
                        "visibility": {"type": "string", "enum": ["public", "private"]},
                        "prompt_text": {"type": "string"},
                        "audioFiles": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                }
            }
        },
    }
}


class OpenApi:
    """The work of the routes."""

    def __init__(self, services: Services, options: ServerOptions) -> None:
        self._services = services
        self._options = options

    async def speak(self, request: Request) -> Response:
        """Turn text into speech."""
        body, principal = await self._receive(request, OpenSpeech)
        await self._check_model(body.reference_id)
        desk = self._services.desk
        script = await desk.write(to_speech_request(body, request.state.request_id))
        if body.cache:
            return await self._speak_cached(request, principal, script)
        order = SpeechOrder(desk, principal, script, CONTENT_TYPES[script.plan.format.name])
        stall_s = self._options.client_stall_s
        return SpeechResponse(order, delivery="chunked", client_stall_s=stall_s)

    async def _speak_cached(
        self, request: Request, principal: Principal, script: WholeScript
    ) -> Response:
        making = self._services.desk.clip(principal, script)
        clip = await while_connected(request.receive, making)
        remaining = await self._services.accounts.remaining(principal)
        answer = {
            "success": True,
            "audio_url": clip_url(request, clip, self._options.public_url),
            "format": clip.format,
            "characters_used": script.num_chars,
            "quota_remaining": UNLIMITED if remaining is None else remaining,
        }
        return JSONResponse(answer, headers=engine_headers(script.plan))

    async def list_models(self, request: Request) -> Response:
        """List the stored voices, newest first."""
        body, _ = await self._receive(request, ListModels)
        voices = sorted(await self._services.voices.list(), key=lambda voice: -voice.created)
        first = (body.page - 1) * body.pageSize
        return JSONResponse(
            {
                "total": len(voices),
                "page": body.page,
                "pageSize": body.pageSize,
                "totalPages": -(-len(voices) // body.pageSize),
                "items": [_item(voice) for voice in voices[first : first + body.pageSize]],
            }
        )

    async def create_model(self, request: Request) -> Response:
        """Store a voice under a new id."""
        await let_in(request, self._services.accounts, None)
        opening = open_form(request, max_files=MAX_SAMPLES + 1, max_fields=_MAX_FIELDS)
        async with opening as form:
            voice = await self._services.voices.add_new(await _read_model(form))
        return JSONResponse(
            {
                "modelId": voice.voice_id,
                "title": voice.name,
                "description": voice.description or "",
                "createdAt": iso_time(voice.created),
                "message": self._services.missing_transcript(voice) or "the model was created",
                **({"transcriptSource": "heard"} if voice.transcript_source == "heard" else {}),
            }
        )

    async def delete_model(self, request: Request) -> Response:
        """Delete a stored voice."""
        body, _ = await self._receive(request, DeleteModel)
        voice = await self._services.voices.remove(body.modelId)
        return JSONResponse({"modelId": voice.voice_id, "message": "the model was deleted"})

    async def get_profile(self, request: Request) -> Response:
        """Say whose key it is, and what it has left."""
        token = None
        if request.method == "POST" and await request.body():
            with suppress(HTTPException):
                token = token_in(await read_object(request))
        principal = await let_in(request, self._services.accounts, token)
        profile = await self._services.accounts.profile(principal)
        left = UNLIMITED if profile.remaining is None else profile.remaining
        return JSONResponse(
            {
                "user_id": profile.key_id or "anonymous",
                "api_quota_remaining": left,
                "tier": "enterprise" if profile.remaining is None else "pro",
                "credits": left,
                "usage_today": {
                    "requests": profile.today.num_requests,
                    "characters": profile.today.num_chars,
                    "audio_seconds": round(profile.today.audio_s, 3),
                    "errors": profile.today.num_errors,
                },
            }
        )

    async def refuse(self, request: Request) -> Response:
        """What the open API has and this server does not."""
        await let_in(request, self._services.accounts, None)
        problem = Problem(
            HTTPStatus.NOT_IMPLEMENTED, "this server has no lip-sync", "not_supported"
        )
        return error_answer(problem)

    async def _receive(self, request: Request, kind: type[_T]) -> tuple[_T, Principal]:
        """Read a body that may hold the key. Whoever has none learns nothing about the body."""
        problem: HTTPException | None = None
        given: dict[str, Any] = {}
        try:
            given = await read_object(request)
        except HTTPException as error:
            problem = error
        principal = await let_in(request, self._services.accounts, token_in(given))
        if problem is not None:
            raise problem
        return validate(given, kind), principal

    async def _check_model(self, model_id: str) -> None:
        """The page knows models and nothing else: no names of the engine's own voices."""
        if not model_id.strip():
            raise UserError("reference_id is empty", code="invalid_parameter", param="voice")
        is_default = model_id.strip().lower() == "default"
        if not is_default and await self._services.voices.find(model_id) is None:
            raise NotFoundError(
                "there is no such model; POST /api/open/list-models lists them",
                code="model_not_found",
                param="voice",
            )


def open_api_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes of the dialect."""
    api = OpenApi(services, options)
    router = GuardedRouter(tags=["fishaudio.net open API"])
    routes: tuple[tuple[str, Any, type[BaseModel] | None, dict[str, Any]], ...] = (
        ("tts", api.speak, OpenSpeech, SPEECH),
        ("list-models", api.list_models, ListModels, READ_VOICES),
        ("create-model", api.create_model, None, WRITE_VOICES),
        ("delete-model", api.delete_model, DeleteModel, WRITE_VOICES),
    )
    for name, work, body, scope in routes:
        router.add_api_route(
            PREFIX + name,
            work,
            methods=["POST"],
            response_class=JSONResponse,
            responses={**_ERRORS, **(_SPEECH_ANSWER if name == "tts" else {})},
            openapi_extra={**(body_schema(body) if body else _UPLOAD_SCHEMA), **scope},
        )
    for method in ("GET", "POST"):
        router.add_api_route(
            f"{PREFIX}profile",
            api.get_profile,
            methods=[method],
            responses=_ERRORS,
            openapi_extra=ANY_KEY,
        )
    for path in ("lip-sync", "lip-sync/{rest:path}", "lipsync/{rest:path}"):
        router.add_api_route(
            PREFIX + path,
            api.refuse,
            methods=["GET", "POST"],
            include_in_schema=False,
            openapi_extra=SPEECH,
        )
    return router


def to_speech_request(body: OpenSpeech, request_id: str) -> SpeechRequest:
    """Translate the dialect into ours."""
    is_v3 = body.version.startswith("v3")
    emotion = body.emotion if is_v3 and body.emotion != "auto" else ""
    return SpeechRequest(
        dialect="fishaudio_net",
        request_id=request_id,
        text=body.text,
        voice=body.reference_id,
        format=body.format,
        sample_rate_hz=PCM_RATE_HZ if body.format == "pcm" else None,
        language=body.language if is_v3 and body.language != "auto" else None,
        emotion=emotion,
        emoji=body.emoji,
        text_cleaning=body.text_cleaning,
        text_type=body.text_type,
        lexicons=tuple(body.lexicons or ()),
        pronunciations=to_words(body.pronunciations),
        silences=Silences(body.pause_sentence, body.pause_line, body.pause_paragraph),
        effects=Effects(speed=body.speed, volume_db=body.volume),
        unheeded=() if is_v3 else _of_v3(body),
    )


def _of_v3(body: OpenSpeech) -> tuple[str, ...]:
    """What was asked for and has a meaning in the versions v3 only."""
    return tuple(name for name in ("emotion", "language") if getattr(body, name) != "auto")


async def _read_model(form: FormData) -> NewVoice:
    """A form of create-model. Raises UserError."""
    texts: dict[str, str] = {}
    samples: list[NewSample] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in ("audioFiles", "audioFiles[]"):
                samples.append(NewSample(value.filename or "", await value.read()))
        else:
            texts[name] = value
    if not texts.get("name", "").strip():
        raise UserError("name is missing", code="missing_parameter", param="name")
    if texts.get("visibility", "private") not in ("public", "private"):
        raise UserError(
            "visibility must be public or private", code="invalid_parameter", param="visibility"
        )
    return NewVoice(
        tuple(samples),
        # A fresh id, as the page has it: no operation of it replaces a voice.
        voice_id=uuid.uuid4().hex,
        name=texts["name"].strip(),
        description=texts.get("description") or None,
        transcript=texts.get("prompt_text") or None,
    )


def _item(voice: Voice) -> dict[str, object]:
    created = iso_time(voice.created)
    return {
        "modelId": voice.voice_id,
        "title": voice.name,
        "description": voice.description or "",
        "created_at": created,
        "updated_at": created,
        "isPersonal": True,
    }
