"""Overrides inside `instructions`: a JSON object in a field that OpenAI clients can always set.

Source: the original wrapper's override language. `request` merges the result with the body,
whose own fields win.
"""

import json
from typing import Any, NoReturn

from pydantic import ValidationError

from fishs2.errors import UserError
from fishs2.server.dialects.openai.body import Control, SamplingBody, Transcript
from fishs2.server.edge.fields import JsonBody

_TEXTS = ("prompt_text", "reference_text", "control")


class Overrides(JsonBody):
    """What the object may set; None was not given."""

    fishs2: SamplingBody = SamplingBody()
    prompt_text: Transcript = None
    reference_text: Transcript = None
    control: Control = None


def read_overrides(instructions: str | None) -> Overrides | None:
    """Read the object; None for plain text.

    Raises UserError `invalid_instructions_json`, `_fishs2`, `_prompt_text`, `_reference_text`,
    `_control` for a value of the wrong type and `_payload` for one out of range.
    """
    text = (instructions or "").strip()
    if not text.startswith("{"):
        return None
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        _refuse("json", "instructions starts like JSON and is none: send valid JSON, or plain text")
    nested = given.get("fishs2")
    if not isinstance(nested, dict | None):
        _refuse("fishs2", "fishs2 in instructions must be an object")
    for name in _TEXTS:
        if not isinstance(given.get(name), str | None):
            _refuse(name, f"{name} in instructions must be a string")
    at_top = {
        name: given[name] for name in SamplingBody.model_fields if given.get(name) is not None
    }
    texts: dict[str, Any] = {name: given.get(name) for name in _TEXTS}
    try:
        return Overrides(fishs2=SamplingBody(**{**(nested or {}), **at_top}), **texts)
    except ValidationError as error:
        first = error.errors()[0]
        _refuse("payload", f"{first['loc'][0]} in instructions: {first['msg']}")


def _refuse(what: str, message: str) -> NoReturn:
    raise UserError(message, code=f"invalid_instructions_{what}", param="instructions")
