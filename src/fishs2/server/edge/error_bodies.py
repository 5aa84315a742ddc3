"""The errors of the house, and how the page that describes the API shows those of every dialect.

OpenAI's shape is the house's own: whatever belongs to no dialect has it, and the dialects that
bring none. Failed validation adds FastAPI's `detail` list, which the original wrapper's clients
read.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse

from fishs2.server.edge.errors import Problem

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


def house_error(problem: Problem) -> JSONResponse:
    """An error as the house answers it."""
    body: dict[str, Any] = {
        "error": {
            "message": problem.message,
            "type": error_kind(problem),
            "param": problem.param,
            "code": problem.code,
        }
    }
    if problem.detail is not None:
        body["detail"] = problem.detail
    return JSONResponse(body, status_code=problem.status, headers=problem.headers)


def error_kind(problem: Problem) -> str:
    """The word of OpenAI for errors of this status."""
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    is_limit = problem.status == HTTPStatus.TOO_MANY_REQUESTS
    return "rate_limit_error" if is_limit else "invalid_request_error"


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


def describe_errors(app: FastAPI, bodies: Iterable[type[BaseModel]]) -> None:
    """Put what `error_answers` refers to on the page that describes `app`."""
    build, wanted = app.openapi, list(dict.fromkeys(bodies))

    def build_with_errors() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        page = build()
        if is_new:
            _, schemas = models_json_schema(
                [(body, "serialization") for body in wanted], ref_template=_REFERENCE
            )
            page["components"]["schemas"].update(schemas["$defs"])
        return page

    app.openapi = build_with_errors  # type: ignore[method-assign]
