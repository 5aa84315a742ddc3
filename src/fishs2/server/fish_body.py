"""How the bodies of Fish Audio's own APIs are read: MessagePack, JSON, or either kind of form."""

import base64
import binascii
import json
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import ormsgpack
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from fishs2.errors import UserError
from fishs2.server.fish_open_body import MSGPACK_TYPES
from fishs2.store.new_voices import NewSample

MAX_VALUES = 100_000
"""In one MessagePack body: a hundred megabytes of them would become gigabytes of objects."""

MAX_FILES = 1_000
_MAX_FIELDS = 1_000
_MAX_FORM_BYTES = 1_048_576
_MAX_REPORTED = 5
"""Wrong fields that one error names."""

_T = TypeVar("_T", bound=BaseModel)


async def read_body(
    request: Request, *, lists: frozenset[str] = frozenset(), max_files: int = 1
) -> dict[str, Any]:
    """The fields of a body; files are `NewSample`.

    lists: fields that a form repeats; the last value counts of any other. Raises HTTPException 400,
    413 and 415; UserError `invalid_form`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return _collect(await _read_multipart(request, max_files), lists)
    content = await request.body()
    try:
        if media_type in MSGPACK_TYPES:
            given = unpack_msgpack(content)
        elif media_type == "application/json":
            given = json.loads(content)
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
    """The fields of a body; null is the same as none. Raises RequestValidationError."""
    try:
        return kind.model_validate({k: v for k, v in given.items() if v is not None})
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


def unpack_msgpack(content: bytes) -> Any:
    """What a MessagePack body holds. Raises ValueError if it is damaged or has too many values."""
    position, num_values = 0, 0
    while position < len(content):
        num_values += 1
        if num_values > MAX_VALUES:
            raise ValueError("it has too many values")
        position += _size_at(content, position)
    return ormsgpack.unpackb(content)


def _size_at(content: bytes, position: int) -> int:
    """Bytes of the value that begins here, without those inside a list or map.

    Source: MessagePack specification, formats.
    """
    kind = content[position]
    if 0xA0 <= kind <= 0xBF:  # short text
        return 1 + (kind & 0x1F)
    if kind in _COUNTED:
        num_count_bytes, extra = _COUNTED[kind]
        count = content[position + 1 : position + 1 + num_count_bytes]
        return 1 + num_count_bytes + extra + int.from_bytes(count, "big")
    return 1 + _FIXED.get(kind, 0)


_COUNTED = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),  # bytes
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),  # text
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),  # extension
}
"""Kinds that say how long they are: bytes of the count, and bytes beside it."""

_FIXED = {
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,  # numbers
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
    0xD4: 2,
    0xD5: 3,
    0xD6: 5,
    0xD7: 9,
    0xD8: 17,  # extensions
    0xDC: 2,
    0xDD: 4,
    0xDE: 2,
    0xDF: 4,  # counts of lists and maps
}
"""Bytes after the first; none for all other kinds."""


async def _read_multipart(request: Request, max_files: int) -> list[tuple[str, str | NewSample]]:
    try:
        async with request.form(max_files=max_files, max_fields=_MAX_FIELDS) as form:
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
