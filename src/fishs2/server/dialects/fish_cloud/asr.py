"""Fish Audio's `/v1/asr`: a recording in, what was said out. Source: its API reference, asr.

Seconds, as the API's page has them, also where comments of its SDK speak of milliseconds.
"""

from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from fishs2.listening.base import Heard, Wish
from fishs2.server.dialects.fish_cloud.errors import FISH_ERRORS, FishErrorBody
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.bodies import File, inline_schema, read_body, validate
from fishs2.server.edge.error_bodies import error_answers
from fishs2.server.edge.fields import JsonBody, Language
from fishs2.server.edge.streaming import while_connected
from fishs2.server.options import ServerOptions
from fishs2.service.accounts.accounts import Principal
from fishs2.service.services import Services


class AsrBody(JsonBody):
    """The body of POST /v1/asr."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    audio: File
    language: Language = Field(None, max_length=35)
    ignore_timestamps: bool = True


class _AsrFields(JsonBody):
    """The same for the page that describes the API."""

    audio: bytes = Field(json_schema_extra={"format": "binary"})
    language: Language = Field(None, description="A code such as en; unset, it is found out.")
    ignore_timestamps: bool = Field(True, description="Leave segments empty.")


class AsrSegment(BaseModel):
    """A piece of what was said; seconds."""

    text: str
    start: float
    end: float


class AsrAnswer(BaseModel):
    """What was said. duration: of the recording, in seconds."""

    text: str
    duration: float
    segments: list[AsrSegment]


_ERRORS = {
    **FISH_ERRORS,
    **error_answers(
        FishErrorBody,
        {
            500: "The recording could not be heard.",
            501: "Nothing recognises speech here.",
            503: "The model is not here.",
        },
    ),
}


def fish_asr_router(services: Services, _: ServerOptions) -> GuardedRouter:
    """Build the route."""
    router = GuardedRouter(tags=["Fish Audio"])

    async def recognise(request: Request) -> AsrAnswer:
        """Say what is said in a recording."""
        given = await read_body(request)
        services.listening.check()
        body = validate(given, AsrBody)
        principal = request.state.principal
        heard = await while_connected(request.receive, _hear(services, principal, body))
        segments = () if body.ignore_timestamps else heard.segments
        return AsrAnswer(
            text=heard.text,
            duration=round(heard.seconds, 3),
            segments=[
                AsrSegment(text=each.text.strip(), start=each.start_s, end=each.end_s)
                for each in segments
            ],
        )

    router.add_api_route(
        "/v1/asr",
        recognise,
        methods=["POST"],
        responses=_ERRORS,
        openapi_extra={**_describe_body(), **SPEECH},
    )
    return router


async def _hear(services: Services, principal: Principal, body: AsrBody) -> Heard:
    language = services.listening.find_language(body.language) if body.language else None

    async def read() -> bytes:
        return body.audio.content

    async with services.desk.listen(principal) as charge:
        heard = await services.listening.transcribe(read, Wish(language))
        await charge.add(heard.text, until_s=heard.seconds)
    return heard


def _describe_body() -> dict[str, Any]:
    schema = inline_schema(_AsrFields)
    kinds = ("multipart/form-data", "application/msgpack", "application/json")
    return {"requestBody": {"required": True, "content": {k: {"schema": schema} for k in kinds}}}
