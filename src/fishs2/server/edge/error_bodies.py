"""The bodies of error answers, as the page that describes the API shows them.

What is in them, and when, is in `errors`.
"""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_REFERENCE = "#/components/schemas/{model}"


class ErrorDetail(BaseModel):
    """What went wrong; `code` is stable, `param` is the field at fault."""

    message: str
    type: str
    param: str | None
    code: str


class ValidationItem(BaseModel):
    """One field that failed validation, as FastAPI describes it."""

    type: str
    loc: list[str | int]
    msg: str


class ErrorBody(BaseModel):
    """The body of every error answer."""

    error: ErrorDetail
    detail: list[ValidationItem] | str | None = None


class FishErrorBody(BaseModel):
    """The body of every error answer of Fish Audio's own APIs."""

    status: int
    message: str


class OpenErrorBody(BaseModel):
    """The body of every error answer of the fishaudio.net open API."""

    error: str
    code: str
    details: str | None = None


_BODIES = (ErrorBody, FishErrorBody, OpenErrorBody)


def error_answers(body: type[BaseModel], descriptions: dict[int, str]) -> dict[int | str, Any]:
    """The `responses` of a route that may answer with these errors.

    By reference, which `describe_errors` resolves: a model would be compiled anew for every status
    of every route, which would take more time than all else that `create_app` does.
    """
    schema = {"$ref": _REFERENCE.format(model=body.__name__)}
    content = {"application/json": {"schema": schema}}
    return {
        status: {"description": description, "content": content}
        for status, description in descriptions.items()
    }


def describe_errors(app: FastAPI) -> None:
    """Put what `error_answers` refers to on the page that describes `app`."""
    build = app.openapi

    def build_with_errors() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        page = build()
        if is_new:
            _, bodies = models_json_schema(
                [(body, "serialization") for body in _BODIES], ref_template=_REFERENCE
            )
            page["components"]["schemas"].update(bodies["$defs"])
        return page

    app.openapi = build_with_errors  # type: ignore[method-assign]
