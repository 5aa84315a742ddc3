"""Voices as ElevenLabs' clients see them: stored ones, `cloned`, and the engine's, `premade`.

Source: ElevenLabs API reference, voices; elevenlabs 2.78.
"""

import json
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import Field
from starlette.datastructures import FormData, UploadFile
from starlette.responses import JSONResponse, Response

from fishs2.errors import NotFoundError, UserError
from fishs2.server.dialects.elevenlabs.errors import ERRORS, elevenlabs_error
from fishs2.server.edge.auth import READ_VOICES, WRITE_VOICES, GuardedRouter
from fishs2.server.edge.bodies import open_form
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.fields import JsonBody, Switch
from fishs2.server.edge.proxies import address_of, preview_url
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services
from fishs2.service.voices.choice import DEFAULT_VOICE
from fishs2.service.voices.rules import MAX_NAME_CHARS, MAX_SAMPLES, MAX_TAGS, one_line
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.files import Voice
from fishs2.store.voices.ids import fold_name

_V1 = "/elevenlabs/v1/voices"
_V2 = "/elevenlabs/v2/voices"
_MAX_PAGE_SIZE = 1_000
_MAX_FIELDS = 100

_SETTINGS: dict[str, object] = {
    "similarity_boost": 0.75,
    "style": 0.0,
    "use_speaker_boost": True,
    "speed": 1.0,
}
"""What holds where a request says nothing, as these clients read it."""

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "files"],
                    "properties": {
                        "name": {"type": "string"},
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "description": {"type": "string"},
                        "labels": {"type": "string", "description": "A JSON object of texts."},
                        "remove_background_noise": {
                            "type": "boolean",
                            "description": "Accepted; recordings are taken as they are.",
                        },
                    },
                }
            }
        },
    }
}


class VoiceQuery(JsonBody):
    """What GET /elevenlabs/v2/voices asks for."""

    page_size: Annotated[int, Field(ge=1, le=_MAX_PAGE_SIZE)] = 10
    next_page_token: str | None = Field(
        None, max_length=20, description="From the answer to the page before."
    )
    search: str = Field(
        "", max_length=MAX_NAME_CHARS, description="A part of the name or description."
    )
    sort: Literal["created_at_unix", "name"] | None = None
    sort_direction: Literal["asc", "desc"] = "asc"
    category: Literal["premade", "cloned", "generated", "professional"] | None = None
    voice_type: str | None = Field(None, description="No effect: all voices are the caller's own.")
    voice_ids: list[str] | None = Field(None, max_length=100, description="Only these.")
    include_total_count: Switch = Field(True, description="No effect: it is always there.")


class ElevenLabsVoices:
    """The work of the routes."""

    def __init__(self, services: Services, options: ServerOptions) -> None:
        self._services = services
        self._options = options

    async def list_voices(self, request: Request) -> Response:
        """List all voices."""
        return JSONResponse({"voices": await self._voices(request)})

    async def search_voices(
        self, request: Request, query: Annotated[VoiceQuery, Query()]
    ) -> Response:
        """List voices, a page at a time."""
        found = [voice for voice in await self._voices(request) if _matches(voice, query)]
        if query.sort is not None:
            key = _age if query.sort == "created_at_unix" else _name
            found.sort(key=key, reverse=query.sort_direction == "desc")
        first = _page_start(query.next_page_token)
        end = first + query.page_size
        has_more = end < len(found)
        return JSONResponse(
            {
                "voices": found[first:end],
                "has_more": has_more,
                "total_count": len(found),
                "next_page_token": str(end) if has_more else None,
            }
        )

    async def get_voice(self, request: Request, voice_id: str) -> Response:
        """Describe one voice."""
        return JSONResponse(await self._find(request, voice_id))

    async def add_voice(self, request: Request) -> Response:
        """Store a voice under a new id."""
        async with open_form(request, max_files=MAX_SAMPLES, max_fields=_MAX_FIELDS) as form:
            voice = await self._services.voices.add_new(await _read_form(form))
            asked = str(form.get("remove_background_noise", "")).lower() in ("true", "1")
        headers = {"X-Fishs2-Ignored": "remove_background_noise"} if asked else {}
        content = {"voice_id": voice.voice_id, "requires_verification": False}
        return JSONResponse(content, headers=headers)

    async def delete_voice(self, voice_id: str) -> Response:
        """Delete a stored voice and its audio."""
        voice = await self._services.voices.remove(voice_id)
        return JSONResponse({"status": "ok", "deleted": True, "id": voice.voice_id})

    async def get_default_settings(self) -> Response:
        """Say how voices speak where a request does not say."""
        return JSONResponse(self._settings())

    async def get_settings(self, request: Request, voice_id: str) -> Response:
        """Say the same of one voice."""
        await self._find(request, voice_id)
        return JSONResponse(self._settings())

    async def refuse_settings(self, request: Request, voice_id: str) -> Response:
        """What would keep settings for a voice."""
        await self._find(request, voice_id)
        message = "voices have no settings of their own: send voice_settings with each text"
        return elevenlabs_error(Problem(HTTPStatus.NOT_IMPLEMENTED, message, "not_supported"))

    def _settings(self) -> dict[str, object]:
        return {"stability": round(max(0.0, 1 - self._options.temperature), 6), **_SETTINGS}

    async def _voices(self, request: Request) -> list[dict[str, Any]]:
        """All of them, stored ones first."""
        await self._services.wait_for_engine()
        stored = await self._services.voices.list()
        capabilities = self._services.status().capabilities
        own = capabilities.voices if capabilities else ()
        taken = {fold_name(text) for voice in stored for text in (voice.voice_id, voice.name)}
        root = address_of(request, self._options.public_url)
        return [self._stored(voice, root) for voice in stored] + [
            self._premade(name, root)
            for name in dict.fromkeys((DEFAULT_VOICE, *own))
            if fold_name(name) not in taken
        ]

    async def _find(self, request: Request, voice_id: str) -> dict[str, Any]:
        stored = await self._services.voices.find(voice_id)
        if stored is not None:
            return self._stored(stored, address_of(request, self._options.public_url))
        wanted = fold_name(voice_id)
        for voice in await self._voices(request):
            if fold_name(voice["voice_id"]) == wanted and voice["category"] == "premade":
                return voice
        raise NotFoundError("there is no such voice", code="voice_not_found", param="voice")

    def _stored(self, voice: Voice, root: str) -> dict[str, Any]:
        labels = {key: text for key, _, text in (tag.partition("=") for tag in voice.tags)}
        if voice.language:
            labels.setdefault("language", voice.language)
        return {
            **self._common(voice.voice_id, voice.name, root),
            "category": "cloned",
            "labels": labels,
            "description": voice.description,
            "created_at_unix": voice.created,
            "is_owner": True,
            "samples": [
                {
                    "sample_id": str(number),
                    "file_name": sample.filename,
                    "size_bytes": sample.size_bytes,
                }
                for number, sample in enumerate(voice.samples)
            ],
        }

    def _premade(self, name: str, root: str) -> dict[str, Any]:
        return {
            **self._common(name, name, root),
            "category": "premade",
            "labels": {},
            "description": None,
            "created_at_unix": None,
            "is_owner": False,
            "samples": None,
        }

    def _common(self, voice_id: str, name: str, root: str) -> dict[str, Any]:
        return {
            "voice_id": voice_id,
            "name": name,
            "preview_url": preview_url(root, voice_id),
            "settings": self._settings(),
            "available_for_tiers": [],
            "high_quality_base_model_ids": [self._options.default_model],
        }


def elevenlabs_voices_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    voices = ElevenLabsVoices(services, options)
    router = GuardedRouter(tags=["ElevenLabs"])
    one = f"{_V1}/{{voice_id}}"
    routes: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
        ("GET", _V1, voices.list_voices, READ_VOICES),
        ("GET", _V2, voices.search_voices, READ_VOICES),
        ("POST", f"{_V1}/add", voices.add_voice, {**_FORM, **WRITE_VOICES}),
        ("GET", f"{_V1}/settings/default", voices.get_default_settings, READ_VOICES),
        ("GET", one, voices.get_voice, READ_VOICES),
        ("DELETE", one, voices.delete_voice, WRITE_VOICES),
        ("GET", f"{one}/settings", voices.get_settings, READ_VOICES),
    )
    for method, path, work, extra in routes:
        router.add_api_route(path, work, methods=[method], responses=ERRORS, openapi_extra=extra)
    router.add_api_route(
        f"{one}/settings/edit",
        voices.refuse_settings,
        methods=["POST"],
        include_in_schema=False,
        openapi_extra=WRITE_VOICES,
    )
    return router


async def _read_form(form: FormData) -> NewVoice:
    """Raises UserError `missing_name`, `validation_error`."""
    texts: dict[str, str] = {}
    samples: list[NewSample] = []
    for part, value in form.multi_items():
        if not isinstance(value, UploadFile):
            texts[part] = value
        elif part.removesuffix("[]") == "files":
            samples.append(NewSample(value.filename or "", await value.read()))
    name = one_line("name", texts.get("name", ""))
    if not name:
        raise UserError(
            "the form has no name: send how the voice is called as the part `name`",
            code="validation_error",
            param="name",
        )
    return NewVoice(
        name=name,
        description=texts.get("description") or None,
        tags=_tags(texts.get("labels", "")),
        samples=tuple(samples),
    )


def _tags(labels: str) -> tuple[str, ...]:
    """Labels as tags. Raises UserError."""
    try:
        given = json.loads(labels) if labels.strip() else {}
    except (ValueError, RecursionError):
        given = None
    if (
        not isinstance(given, dict)
        or not all(isinstance(text, str) for text in given.values())
        or len(given) > MAX_TAGS
    ):
        raise UserError(
            f"labels is no JSON object of at most {MAX_TAGS} texts, such as "
            '{"accent": "British"}',
            code="validation_error",
            param="labels",
        )
    return tuple(one_line("labels", f"{key}={text}") for key, text in given.items())


def _page_start(token: str | None) -> int:
    """Raises UserError."""
    if not token:
        return 0
    if not (token.isascii() and token.isdecimal()):
        raise UserError(
            "next_page_token is none that an answer had",
            code="validation_error",
            param="next_page_token",
        )
    return int(token)


def _matches(voice: dict[str, Any], query: VoiceQuery) -> bool:
    told = f"{voice['name']}\n{voice['description'] or ''}\n{voice['voice_id']}".casefold()
    return (
        query.search.casefold() in told
        and query.category in (None, voice["category"])
        and (not query.voice_ids or voice["voice_id"] in query.voice_ids)
    )


def _age(voice: dict[str, Any]) -> tuple[int, str]:
    return voice["created_at_unix"] or 0, voice["voice_id"]


def _name(voice: dict[str, Any]) -> tuple[str, str]:
    return fold_name(voice["name"]), voice["voice_id"]
