"""The bodies of the fishaudio.net open API: their fields, and how they are read."""

import json
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from fishs2.server.edge import msgpack
from fishs2.server.edge.fields import JsonBody, Number
from fishs2.text.emoji import EmojiReading

MSGPACK_TYPES = frozenset(
    {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
)

_MAX_PAGE_SIZE = 1_000


class Body(JsonBody):
    """What every body of the dialect may hold."""

    token: Any = Field(None, description="The key, for clients that cannot send a header.")


class OpenSpeech(Body):
    """The body of POST /api/open/tts. Unknown fields are ignored."""

    reference_id: str = Field(description="A voice model id, or default.")
    text: str = Field(description="The text to speak.")
    speed: Annotated[Number, Field(ge=0.5, le=2.0)] = 1.0
    volume: Annotated[Number, Field(ge=-20, le=20, description="Gain in dB.")] = 0.0
    version: Literal["v1", "v2", "s1", "v3-turbo", "v3-hd"] = "v1"
    format: Literal["mp3", "wav", "pcm"] = "mp3"
    emotion: Literal[
        "auto", "happy", "sad", "angry", "fearful", "disgusted", "surprised", "calm"
    ] = "auto"
    language: Literal["auto", "zh", "en"] = "auto"
    emoji: EmojiReading | None = Field(None, description="Read emoji by name, or skip them.")
    cache: bool = Field(False, description="True answers JSON with a link to the audio.")


class ListModels(Body):
    """The body of POST /api/open/list-models."""

    modelType: str = "all"
    includePersonal: bool = True
    page: int = Field(1, ge=1, le=1_000_000)
    pageSize: int = Field(10, ge=1, le=_MAX_PAGE_SIZE)


class DeleteModel(Body):
    """The body of POST /api/open/delete-model."""

    modelId: str


_T = TypeVar("_T", bound=Body)


def body_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """How the API page describes a body that is JSON or MessagePack."""
    schema = inline_schema(kind)
    content = {
        media_type: {"schema": schema} for media_type in ("application/json", *MSGPACK_TYPES)
    }
    return {"requestBody": {"required": True, "content": content}}


def inline_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model as it can stand anywhere: without references.

    A model may not contain itself.
    """
    schema = kind.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inline(value: object) -> Any:
        if isinstance(value, list):
            return [inline(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            rest = {name: item for name, item in value.items() if name != "$ref"}
            return inline({**definitions[value["$ref"].rpartition("/")[2]], **rest})
        return {name: inline(item) for name, item in value.items()}

    inlined: dict[str, Any] = inline(schema)
    return inlined


async def unpack(request: Request) -> dict[str, Any]:
    """Read JSON or MessagePack. Raises HTTPException 415, or 400 for what is no object."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content = await request.body()
    try:
        if media_type in MSGPACK_TYPES:
            given = msgpack.unpack(content)
        elif media_type == "application/json":
            given = json.loads(content)
        else:
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    except (ValueError, RecursionError):
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    if not isinstance(given, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    return given


def token_in(given: dict[str, Any]) -> str | None:
    """The key, if the body has one."""
    token = given.get("token")
    return token if isinstance(token, str) else None


def validate(given: dict[str, Any], kind: type[_T]) -> _T:
    """The fields of a body. Raises RequestValidationError."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        items = [{**item, "loc": ("body", *item["loc"])} for item in error.errors()]
        raise RequestValidationError(items) from None
