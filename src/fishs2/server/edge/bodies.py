"""How bodies are read that may be MessagePack, JSON, or either kind of form.

Parts of forms that are over a megabyte wait in the system's temporary folder.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from fishs2.errors import UserError
from fishs2.server.edge import json_body, msgpack
from fishs2.server.edge.fields import JsonBody, whole_characters
from fishs2.store.failures import store_errors
from fishs2.store.voices.changes import NewSample

MSGPACK_TYPES = frozenset(
    {"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"}
)
MAX_FILES = 1_000
_MAX_FIELDS = 1_000
_MAX_FORM_BYTES = 1_048_576
_MAX_REPORTED = 5
"""Wrong fields that one error names."""

# The bytes of a surrogate, U+D800 to U+DFFF, in UTF-8.
_HALF_IN_LATIN_1 = re.compile("\xed[\xa0-\xbf][\x80-\xbf]")

_T = TypeVar("_T", bound=JsonBody)


async def read_body(
    request: Request,
    *,
    lists: frozenset[str] = frozenset(),
    max_files: int = 1,
    max_values: int = msgpack.MAX_VALUES,
) -> dict[str, Any]:
    """The fields of a body; files are `NewSample`.

    lists: fields that a form repeats; the last value counts of any other. max_values: of
    MessagePack. Raises HTTPException 400, 413 and 415; UserError `invalid_form`.
    """
    kind = media_type(request)
    if kind == "multipart/form-data":
        return _collect(await _read_multipart(request, max_files), lists)
    if kind == "application/x-www-form-urlencoded":
        try:
            return _collect(_read_form(await request.body()), lists)
        except ValueError:
            raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    return await read_object(request, max_values=max_values)


async def read_object(request: Request, *, max_values: int = msgpack.MAX_VALUES) -> dict[str, Any]:
    """The fields of a body that is JSON or MessagePack.

    Raises HTTPException 415, or 400 for what is no object.
    """
    kind = media_type(request)
    content = await request.body()
    try:
        if kind in MSGPACK_TYPES:
            given: object = msgpack.unpack(content, max_values=max_values)
        elif kind == "application/json":
            given = await json_body.read_aside(content, json_body.parse)
        else:
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    except (ValueError, RecursionError):
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    if not isinstance(given, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    return given


def media_type(request: Request) -> str:
    """What the body is, without parameters; "" where the client does not say."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def open_form(
    request: Request, *, max_files: int, max_fields: int
) -> AsyncIterator[FormData]:
    """The fields of a form; its files are gone when the block ends. Half characters are U+FFFD.

    Raises HTTPException 400 for what is none, StoreUnavailableError where files find no room.
    """
    with store_errors("files of the form"):
        form = await request.form(max_files=max_files, max_fields=max_fields)
    try:
        yield FormData([(name, _mend(value)) for name, value in form.multi_items()])
    finally:
        await form.close()


def _mend(value: UploadFile | str) -> UploadFile | str:
    """A field as JSON would have it: Starlette takes UTF-8 with half a character for Latin-1."""
    if isinstance(value, UploadFile) or not _HALF_IN_LATIN_1.search(value):
        return value
    try:
        return whole_characters(value.encode("latin-1").decode("utf-8", "surrogatepass"))
    except UnicodeError:
        return value


def validate(given: dict[str, Any], kind: type[_T]) -> _T:
    """The fields of a body. Raises RequestValidationError."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)
        located = [{**item, "loc": ("body", *item["loc"])} for item in items[:_MAX_REPORTED]]
        raise RequestValidationError(located) from None


def to_file(value: object) -> object:
    """A file however it came: as a part of a form, as bytes, or in base64."""
    if isinstance(value, bytes):
        return NewSample("", value)
    if isinstance(value, str):
        try:
            return NewSample("", json_body.decode_base64(value))
        except ValueError:
            raise ValueError("a file is expected: bytes, or base64 in JSON") from None
    return value


def one_as_list(value: object) -> object:
    """A list, also where one item came without one."""
    return [value] if isinstance(value, str | bytes | NewSample) else value


File = Annotated[NewSample, BeforeValidator(to_file)]
Files = Annotated[list[File], BeforeValidator(one_as_list), Field(max_length=MAX_FILES)]


async def _read_multipart(request: Request, max_files: int) -> list[tuple[str, str | NewSample]]:
    try:
        async with open_form(request, max_files=max_files, max_fields=_MAX_FIELDS) as form:
            return [
                (name, NewSample(value.filename or "", await value.read()))
                if isinstance(value, UploadFile)
                else (name, value)
                for name, value in form.multi_items()
            ]
    except HTTPException as error:
        if error.status_code != HTTPStatus.BAD_REQUEST:
            raise
        raise UserError(f"the form cannot be read: {error.detail}", code="invalid_form") from None


def _read_form(content: bytes) -> list[tuple[str, str | NewSample]]:
    if len(content) > _MAX_FORM_BYTES:
        raise HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the form is larger than the limit of {_MAX_FORM_BYTES:,} bytes",
        )
    return [
        *parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS),
    ]


def _collect(fields: list[tuple[str, str | NewSample]], lists: frozenset[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for part, value in fields:
        name = part.removesuffix("[]")
        if name in lists:
            given.setdefault(name, []).append(value)
        else:
            given[name] = value
    return given


def body_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """How the API page describes a body that is JSON or MessagePack."""
    schema = inline_schema(kind)
    content = {
        media_type: {"schema": schema}
        for media_type in ("application/json", *sorted(MSGPACK_TYPES))
    }
    return {"requestBody": {"required": True, "content": content}}


def inline_schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a model as it can stand anywhere: without references.

    A model may not contain itself. Each caller may change what it gets.
    """
    return deepcopy(_inline_schema(kind))


@cache
def _inline_schema(kind: type[BaseModel]) -> dict[str, Any]:
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
