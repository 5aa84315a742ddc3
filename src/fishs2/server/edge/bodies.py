"""How the bodies of Fish Audio's own APIs are read: MessagePack, JSON, or either kind of form."""

import base64
import binascii
import json
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from fishs2.errors import UserError
from fishs2.server.dialects.fish_open.body import MSGPACK_TYPES
from fishs2.server.edge import json_body, msgpack
from fishs2.server.edge.fields import JsonBody
from fishs2.server.edge.forms import open_form
from fishs2.store.new_voices import NewSample

MAX_FILES = 1_000
_MAX_FIELDS = 1_000
_MAX_FORM_BYTES = 1_048_576
_MAX_REPORTED = 5
"""Wrong fields that one error names."""

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
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return _collect(await _read_multipart(request, max_files), lists)
    content = await request.body()
    try:
        if media_type in MSGPACK_TYPES:
            given: object = msgpack.unpack(content, max_values=max_values)
        elif media_type == "application/json":
            given = await json_body.read_aside(content, json.loads)
        elif media_type == "application/x-www-form-urlencoded":
            return _collect(_read_form(content), lists)
        else:
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    except (ValueError, RecursionError):
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    if not isinstance(given, dict):
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    return given


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
            return NewSample("", base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
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
