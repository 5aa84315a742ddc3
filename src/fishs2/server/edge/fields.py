"""What the fields of bodies may hold in every dialect, and which values are the same as none."""

import re
from datetime import UTC, datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from fishs2.text.directing.pauses import MAX_PAUSE_S

MAX_REFERENCES = 16

UNLIMITED = 999_999_999
"""What a quota without limit is on the wire, where it must be a number."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SCHEMA_NAMES = {"ge": "minimum", "le": "maximum"}


def no_bool(value: object) -> object:
    """Refuse true and false, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


def auto_as_none(value: object) -> object:
    """`auto` and "" as None: the language is to be found out, so none is asked for."""
    is_auto = isinstance(value, str) and value.strip().lower() in ("", "auto")
    return None if is_auto else value


def blank_as_no(value: object) -> object:
    """A switch in a query that is named and not set is off, as empty fields of forms have it."""
    is_blank = isinstance(value, str) and not value.strip()
    return False if is_blank else value


Switch = Annotated[bool, BeforeValidator(blank_as_no)]
Language = Annotated[str | None, BeforeValidator(auto_as_none)]
Number = Annotated[float, BeforeValidator(no_bool), Field(allow_inf_nan=False)]
Integer = Annotated[int, BeforeValidator(no_bool)]
PauseS = Annotated[Number, Field(ge=0, le=MAX_PAUSE_S)] | None


def whole_characters(text: str) -> str:
    """Half a character, a lone surrogate, becomes U+FFFD, which nobody speaks.

    JSON can hold one, where a client has cut a text; what is stored and sent as UTF-8 cannot.
    """
    # Ten megabytes of base64 are ASCII, which is seen in no time.
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _mended(value: object) -> object:
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    return value


class JsonBody(BaseModel):
    """A body, an object in it, or a query. Unknown fields are ignored.

    What clients write for a field that they do not set is the same as none: null everywhere, and
    "" in an optional field that holds no text, as empty fields of forms have it. The schema has
    limits in JSON Schema's words: pydantic leaves its own where a validator of ours comes before
    the limit.
    """

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_the_absent(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        textless = _textless_fields(cls)
        return {
            name: _mended(item)
            for name, item in value.items()
            if item is not None and not (name in textless and _is_blank(item))
        }

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for field in properties.values():
            for kind in (field, *field.get("anyOf", ())):
                for name in _SCHEMA_NAMES.keys() & kind.keys():
                    kind[_SCHEMA_NAMES[name]] = kind.pop(name)
        return schema


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


@cache
def _textless_fields(body: type[BaseModel]) -> frozenset[str]:
    """Optional fields that hold a number, a choice, an object or the like, as clients name them."""
    return frozenset(
        field.alias or name
        for name, field in body.model_fields.items()
        if not field.is_required() and not _holds_text(field.annotation)
    )


def _holds_text(annotation: Any) -> bool:
    """Whether a type, or what it is a list of, takes any string."""
    if annotation in (str, bytes, Any):
        return True
    if get_origin(annotation) is Annotated:
        return _holds_text(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType, list):
        return any(_holds_text(part) for part in get_args(annotation))
    return False


def iso_time(seconds: int) -> str:
    """Unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
