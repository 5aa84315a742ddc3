"""Speech in a link: the fields of the speech body as a query, for players that only take a URL.

Source: HTML `<audio src>`; docs/api.md says what differs from the POST.
"""

import json
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from fishs2.server.dialects.openai.body import SpeechBody
from fishs2.server.edge.bodies import inline_schema

_JSON_FIELDS = frozenset(
    {"voice", "cast", "fishs2", "prosody", "references", "speaker_wav"}
    | {"lexicons", "pronunciations"}
)
"""Fields that may be objects or lists; a query has JSON for these."""

_SCALARS = frozenset({"string", "number", "integer", "boolean"})


def read_query(query: QueryParams) -> SpeechBody:
    """The body that a query is; of a field that is repeated the last counts.

    Raises RequestValidationError.
    """
    try:
        return SpeechBody.model_validate({name: _value(name, query[name]) for name in query})
    except ValidationError as error:
        items = [{**item, "loc": ("query", *item["loc"])} for item in error.errors()]
        raise RequestValidationError(items) from None


def _value(name: str, given: str) -> Any:
    if name not in _JSON_FIELDS or given[:1] not in ("{", "["):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        wrong = {"type": "value_error", "loc": ("query", name), "msg": "it is not valid JSON"}
        raise RequestValidationError([wrong]) from None


def query_parameters() -> list[dict[str, Any]]:
    """How the API page describes the query; objects are left to docs/api.md."""
    schema = inline_schema(SpeechBody)
    parameters = []
    for name, field in schema["properties"].items():
        kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") in _SCALARS]
        if not kinds:
            continue
        kept = ("default", "enum")
        shown = {key: field[key] for key in kept if field.get(key) is not None}
        kind = {
            key: value for key, value in kinds[0].items() if key not in ("title", "description")
        }
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema["required"],
                "description": field.get("description", ""),
                "schema": {**kind, **shown},
            }
        )
    return parameters
