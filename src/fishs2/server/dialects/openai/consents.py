"""`/v1/audio/voice_consents`: recordings in which people allow their voices to be used.

Source: OpenAI API reference, voice consents.
"""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile

from fishs2.server.edge.auth import READ_VOICES, WRITE_VOICES, GuardedRouter
from fishs2.server.edge.bodies import open_form
from fishs2.server.edge.error_bodies import ErrorBody, error_answers
from fishs2.server.edge.fields import JsonBody
from fishs2.server.edge.streaming import while_connected
from fishs2.server.options import ServerOptions
from fishs2.service.consents import DEFAULT_PAGE, MAX_PAGE
from fishs2.service.services import Services
from fishs2.store.consents import Consent

CONSENTS_PATH = "/v1/audio/voice_consents"
_CONSENT_PATH = f"{CONSENTS_PATH}/{{consent_id:path}}"
_MAX_FIELDS = 100

_UPLOAD_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "language", "recording"],
                    "properties": {
                        "name": {"type": "string"},
                        "language": {"type": "string"},
                        "recording": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


class ConsentAnswer(BaseModel):
    """One consent; created_at is Unix time in seconds."""

    id: str
    object: Literal["audio.voice_consent"] = "audio.voice_consent"
    name: str
    language: str
    created_at: int


class ConsentList(BaseModel):
    """The body of GET /v1/audio/voice_consents, the newest first."""

    object: Literal["list"] = "list"
    data: list[ConsentAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConsent(BaseModel):
    """The answer to a delete."""

    id: str
    object: Literal["audio.voice_consent"] = "audio.voice_consent"
    deleted: Literal[True] = True


class ConsentChanges(JsonBody):
    """What can be changed of a consent."""

    name: str = Field(description="The label that it is to have.")


_ERRORS = error_answers(
    ErrorBody,
    {
        400: "No recording, or one that is not audio.",
        404: "There is no such consent.",
        413: "The upload is too large.",
        415: "The body is not JSON.",
        422: "A field is wrong.",
        429: "The consents are being changed; try again.",
        503: "The consents cannot be read or written.",
    },
)


def consents_router(services: Services, _: ServerOptions) -> GuardedRouter:
    """Build the routes."""
    router = GuardedRouter(tags=["OpenAI"])
    consents = services.consents

    async def list_consents(
        after: str = "", limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE
    ) -> ConsentList:
        """List the consents, the newest first."""
        found, has_more = await consents.page(after, limit)
        data = [_answer(each) for each in found]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return ConsentList(data=data, first_id=first, last_id=last, has_more=has_more)

    async def get_consent(consent_id: str) -> ConsentAnswer:
        """Show one consent."""
        return _answer(await consents.get(consent_id))

    async def update_consent(consent_id: str, body: ConsentChanges) -> ConsentAnswer:
        """Give a consent another name."""
        return _answer(await consents.rename(consent_id, body.name))

    async def delete_consent(consent_id: str) -> DeletedConsent:
        """Delete a consent and its recording; voices that name it stay."""
        await consents.remove(consent_id)
        return DeletedConsent(id=consent_id)

    def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
        return {status: _ERRORS[status] for status in statuses}

    _add_create(router, services)
    for path, route, method, scope, statuses in (
        (CONSENTS_PATH, list_consents, "GET", READ_VOICES, (422, 503)),
        (_CONSENT_PATH, get_consent, "GET", READ_VOICES, (404, 503)),
        (_CONSENT_PATH, update_consent, "POST", WRITE_VOICES, (400, 404, 413, 415, 422, 429, 503)),
        (_CONSENT_PATH, delete_consent, "DELETE", WRITE_VOICES, (404, 429, 503)),
    ):
        router.add_api_route(
            path, route, methods=[method], responses=errors(*statuses), openapi_extra=scope
        )
    return router


def _add_create(router: GuardedRouter, services: Services) -> None:
    async def create_consent(request: Request) -> ConsentAnswer:
        """Store a recording in which somebody allows that their voice is used."""
        texts: dict[str, str] = {}
        recording = b""
        async with open_form(request, max_files=1, max_fields=_MAX_FIELDS) as form:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    texts[name] = value
                elif name == "recording":
                    recording = await value.read()
        work = services.consents.add(
            recording,
            name=texts.get("name", ""),
            language=texts.get("language", ""),
            check_audio=services.voices.decode,
        )
        return _answer(await while_connected(request.receive, work))

    router.add_api_route(
        CONSENTS_PATH,
        create_consent,
        methods=["POST"],
        responses={status: _ERRORS[status] for status in (400, 413, 422, 429, 503)},
        openapi_extra={**_UPLOAD_SCHEMA, **WRITE_VOICES},
    )


def _answer(consent: Consent) -> ConsentAnswer:
    return ConsentAnswer(
        id=consent.consent_id,
        name=consent.name,
        language=consent.language,
        created_at=consent.created,
    )
