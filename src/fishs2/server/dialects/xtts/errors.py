"""The errors of XTTS servers: `{"detail"}`, as FastAPI writes them, with our code beside it."""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse

from fishs2.server.edge.errors import Problem

_FIELDS = {"voice": "speaker_wav", "input": "text"}
"""What the dialect calls fields that errors name as the other dialects do."""

_BAD_REQUEST_CODES = frozenset({"unsupported_language"})
"""400 on the original servers."""


class XttsErrorBody(BaseModel):
    """The body of every error answer of these routes."""

    detail: str
    code: str
    param: str | None = None


def xtts_error(problem: Problem) -> JSONResponse:
    """An error as XTTS servers answer it."""
    status = problem.status
    if problem.code in _BAD_REQUEST_CODES:
        status = HTTPStatus.BAD_REQUEST
    body = XttsErrorBody(
        detail=problem.message,
        code=problem.code,
        param=_FIELDS.get(problem.param, problem.param) if problem.param else None,
    )
    content = body.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=status, headers=problem.headers)
