"""Fish Audio's `/model`: the stored voices as its cloud shows them, whoever stored them.

Source: Fish Audio API reference, Model; fish-audio-sdk 1.3, which takes no null in a voice.
"""

import uuid
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BeforeValidator, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from fishs2.errors import NotFoundError, UserError
from fishs2.server.dialects.fish_cloud.errors import FISH_ERRORS
from fishs2.server.edge.auth import READ_VOICES, WRITE_VOICES, GuardedRouter
from fishs2.server.edge.bodies import MAX_FILES, File, Files, one_as_list, read_body, validate
from fishs2.server.edge.fields import JsonBody, iso_time
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.voices.rules import (
    MAX_NAME_CHARS,
    MAX_SAMPLES,
    MAX_TAGS,
    MAX_TRANSCRIPT_CHARS,
    one_line,
    to_cover,
)
from fishs2.store.voices.changes import NewSample, NewVoice, VoiceChanges
from fishs2.store.voices.files import Visibility, Voice

AUTHOR = "local"
"""Whom all voices here belong to: the server does not note who stored them."""

_MAX_PAGE_SIZE = 1_000
_LISTS = frozenset({"voices", "texts", "tags"})
_COVER_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}


Title = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Description = Annotated[str, Field(max_length=MAX_TRANSCRIPT_CHARS)]
Texts = Annotated[list[str], BeforeValidator(one_as_list), Field(max_length=MAX_FILES)]
Tags = Annotated[list[str], BeforeValidator(one_as_list), Field(max_length=MAX_TAGS)]


class _Body(JsonBody):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class CreateModel(_Body):
    """The body of POST /model. Unknown fields are ignored."""

    title: Title
    voices: Files = Field([])
    texts: Texts | None = None
    description: Description | None = None
    tags: Tags | None = None
    visibility: Visibility = "private"
    type: Literal["tts"] = "tts"
    train_mode: Literal["fast"] = "fast"
    enhance_audio_quality: bool = True
    cover_image: File | None = None


class UpdateModel(_Body):
    """The body of PATCH /model/{id}; a field that is not given stays as it is."""

    title: Title | None = None
    description: Description | None = None
    visibility: Visibility | None = None
    tags: Tags | None = None
    texts: Texts | None = None
    cover_image: File | None = None


class ListQuery(JsonBody):
    """What GET /model asks for. Every filter that is given narrows the list; blank ones do not."""

    page_size: int = Field(10, ge=1, le=_MAX_PAGE_SIZE)
    page_number: int = Field(1, ge=1, le=1_000_000)
    title: str = Field("", max_length=MAX_NAME_CHARS, description="A part of the title.")
    tag: list[str] = Field([], max_length=MAX_TAGS, description="The voice has all of them.")
    self_only: bool = Field(
        False, alias="self", description="No effect: every voice here is the caller's own."
    )
    author_id: str = Field("", description=f"All voices are of the author {AUTHOR}.")
    language: list[str] = Field([], max_length=MAX_TAGS, description="One of them is noted for it.")
    title_language: list[str] = Field([], max_length=MAX_TAGS, description="The same as language.")
    sort_by: Literal["score", "task_count", "created_at"] = Field(
        "task_count", description="Newest first, whichever: uses are not counted by voice."
    )


_FILE = {"type": "string", "format": "binary"}
_TEXT_LIST = {"type": "array", "items": {"type": "string"}}
_UPDATE_FIELDS: dict[str, Any] = {
    "title": {"type": "string"},
    "description": {"type": "string"},
    "visibility": {"type": "string", "enum": ["public", "unlist", "private"]},
    "tags": _TEXT_LIST,
    "texts": _TEXT_LIST,
    "cover_image": _FILE,
}
_CREATE_FIELDS: dict[str, Any] = {
    **_UPDATE_FIELDS,
    "voices": {"type": "array", "items": _FILE},
    "type": {"type": "string", "enum": ["tts"]},
    "train_mode": {"type": "string", "enum": ["fast"]},
    "enhance_audio_quality": {"type": "boolean"},
}

_COVER_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture.", "content": {kind: {} for kind in _COVER_TYPES.values()}}
}


_MAX_FILES = MAX_SAMPLES + 2
"""One more of each: Pandrator's habit of sending a file twice, and the cover."""


class FishModels:
    """The work of the routes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._voices = services.voices

    async def list_models(self, query: Annotated[ListQuery, Query()]) -> Response:
        """List the stored voices, newest first."""
        found = [voice for voice in await self._voices.list() if _matches(voice, query)]
        found.sort(key=lambda voice: (-voice.created, voice.voice_id))
        first = (query.page_number - 1) * query.page_size
        # Built by hand, as in `wrapper.voices`.
        items = [model_object(voice) for voice in found[first : first + query.page_size]]
        return JSONResponse({"total": len(found), "items": items})

    async def get_model(self, model_id: str) -> Response:
        """Describe one voice."""
        return JSONResponse(model_object(await self._voices.get(model_id)))

    async def create_model(self, request: Request) -> Response:
        """Store a voice under a new id."""
        given = await read_body(request, lists=_LISTS, max_files=_MAX_FILES)
        new = _to_new_voice(validate(given, CreateModel))
        voice = await self._voices.add_new(new)
        found = await self._voices.doctor.examine_new(new, voice)
        notice = self._services.missing_transcript(voice)
        content = {**model_object(voice), **({"notice": notice} if notice else {})}
        content["findings"] = found.as_json()
        return JSONResponse(content, status_code=HTTPStatus.CREATED)

    async def update_model(self, request: Request, model_id: str) -> Response:
        """Change what is given; the audio stays."""
        is_empty = "content-type" not in request.headers and not await request.body()
        given = {} if is_empty else await read_body(request, lists=_LISTS)
        body = validate(given, UpdateModel)
        changes = VoiceChanges(
            name=None if body.title is None else _title(body.title),
            description=body.description,
            visibility=body.visibility,
            tags=None if body.tags is None else _tags(body.tags),
            transcripts=None if body.texts is None else tuple(_stripped(body.texts)),
            cover=to_cover(body.cover_image.content) if body.cover_image else None,
        )
        return JSONResponse(model_object(await self._voices.update(model_id, changes)))

    async def delete_model(self, model_id: str) -> Response:
        """Delete a voice and its audio."""
        await self._voices.remove(model_id)
        return JSONResponse({"status": HTTPStatus.OK, "message": "the voice was deleted"})

    async def get_cover(self, model_id: str) -> Response:
        """The picture of a voice."""
        voice = await self._voices.get(model_id)
        content = await self._voices.read_cover(voice)
        if content is None or voice.cover is None:
            raise NotFoundError("this voice has no cover image", code="cover_not_found")
        media_type = _COVER_TYPES[voice.cover.rpartition(".")[2]]
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(content, media_type=media_type, headers=headers)


def fish_models_router(services: Services, _: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    models = FishModels(services)
    router = GuardedRouter(tags=["Fish Audio"])
    one = "/model/{model_id}"
    routes: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
        ("GET", "/model", models.list_models, {}),
        ("POST", "/model", models.create_model, _body_schema(_CREATE_FIELDS, ["title", "voices"])),
        ("GET", one, models.get_model, {}),
        ("PATCH", one, models.update_model, _body_schema(_UPDATE_FIELDS, [])),
        ("DELETE", one, models.delete_model, {}),
        ("GET", f"{one}/cover", models.get_cover, {}),
    )
    for method, path, work, schema in routes:
        is_new, is_cover = method == "POST", path.endswith("/cover")
        router.add_api_route(
            path,
            work,
            methods=[method],
            status_code=HTTPStatus.CREATED if is_new else HTTPStatus.OK,
            response_class=Response if is_cover else JSONResponse,
            responses={**FISH_ERRORS, **(_COVER_ANSWER if is_cover else {})},
            openapi_extra={**schema, **(READ_VOICES if method == "GET" else WRITE_VOICES)},
        )
    return router


def model_object(voice: Voice) -> dict[str, object]:
    """A voice as Fish Audio's clients read it: every key, and no null."""
    texts = (voice.transcript or "", *voice.other_transcripts)
    updated = voice.created if voice.updated is None else voice.updated
    return {
        "_id": voice.voice_id,
        "type": "tts",
        "title": voice.name,
        "description": voice.description or "",
        "cover_image": f"/model/{voice.voice_id}/cover" if voice.cover else "",
        "train_mode": "fast",
        # Without its transcript a voice cannot be spoken in.
        "state": "trained" if voice.transcript and voice.samples else "created",
        "tags": list(voice.tags),
        "samples": [
            {"title": sample.filename, "text": text, "task_id": "", "audio": ""}
            for sample, text in zip(voice.samples, texts, strict=False)
        ],
        "created_at": iso_time(voice.created),
        "updated_at": iso_time(updated),
        "languages": [voice.language] if voice.language else [],
        "transcript_source": voice.transcript_source or "",
        "visibility": voice.visibility,
        "lock_visibility": False,
        "like_count": 0,
        "mark_count": 0,
        "shared_count": 0,
        "task_count": 0,
        "unliked": False,
        "liked": False,
        "marked": False,
        "author": {"_id": AUTHOR, "nickname": AUTHOR, "avatar": ""},
    }


def _body_schema(fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, "required": required}
    kinds = ("multipart/form-data", "application/json", "application/msgpack")
    content = {kind: {"schema": schema} for kind in kinds}
    return {"requestBody": {"required": True, "content": content}}


def _to_new_voice(body: CreateModel) -> NewVoice:
    """Translate the dialect into ours. Raises UserError."""
    if not body.voices:
        raise UserError(
            "voices is missing: send at least one audio file under this name",
            code="missing_files",
            param="voices",
        )
    for number, sample in enumerate(body.voices, start=1):
        if not sample.content:
            raise UserError(f"file {number} is empty", code="invalid_audio", param="voices")
    texts = _stripped(body.texts or [])
    if len(texts) > len(body.voices):
        raise UserError(
            f"texts has {len(texts)} entries; there are {len(body.voices)} files in voices",
            code="invalid_voice",
            param="texts",
        )
    texts += [""] * (len(body.voices) - len(texts))
    return NewVoice(
        tuple(
            NewSample(sample.filename, sample.content, text or None)
            for sample, text in zip(body.voices, texts, strict=True)
        ),
        # A fresh id, as the cloud gives.
        voice_id=uuid.uuid4().hex,
        name=_title(body.title),
        description=body.description or None,
        tags=_tags(body.tags or []),
        visibility=body.visibility,
        cover=to_cover(body.cover_image.content) if body.cover_image else None,
    )


def _title(title: str) -> str:
    line = one_line("title", title)
    if not line:
        raise UserError("title is blank", code="invalid_voice", param="title")
    return line


def _tags(tags: list[str]) -> tuple[str, ...]:
    """Blank ones say nothing."""
    return tuple(filter(None, (one_line("tags", tag) for tag in tags)))


def _stripped(texts: list[str]) -> list[str]:
    return [text.strip() for text in texts]


def _matches(voice: Voice, query: ListQuery) -> bool:
    tags = {tag.casefold() for tag in voice.tags}
    return (
        query.title.strip().casefold() in voice.name.casefold()
        and all(tag.casefold() in tags for tag in query.tag if tag)
        and query.author_id in ("", AUTHOR)
        and _is_in(voice, query.language)
        and _is_in(voice, query.title_language)
    )


def _is_in(voice: Voice, languages: list[str]) -> bool:
    """Whether the voice is noted for one of these; `en` also means `en-GB`."""
    wanted = [language.casefold() for language in languages if language]
    noted = f"{voice.language or ''}-".casefold()
    return not wanted or any(noted.startswith(f"{language}-") for language in wanted)
