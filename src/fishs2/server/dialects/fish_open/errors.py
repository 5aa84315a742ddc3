"""The errors of the open API: `{"error", "code", "details"}`."""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse

from fishs2.server.edge.errors import STORE_CODES, Problem

_FIELDS = {
    "voice": "reference_id",
    "input": "text",
    "voice_id": "modelId",
    "files": "audioFiles",
}
"""What the dialect calls fields that errors name as the other dialects do."""


class OpenErrorBody(BaseModel):
    """The body of every error answer of the fishaudio.net open API."""

    error: str
    code: str
    details: str | None = None


def error_answer(problem: Problem) -> JSONResponse:
    """The open API's page knows 400 for wrong parameters and 500 for all that is our fault."""
    status, code = problem.status, problem.code
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    if status == HTTPStatus.SERVICE_UNAVAILABLE and code not in STORE_CODES:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    if code == "validation_error":
        missing = isinstance(problem.detail, list) and problem.detail[0]["type"] == "missing"
        code = "missing_parameter" if missing else "invalid_parameter"
    elif code == "voice_not_found":
        code = "model_not_found"
    body = {"error": problem.message, "code": code}
    if problem.param is not None:
        body["details"] = _FIELDS.get(problem.param, problem.param)
    return JSONResponse(body, status_code=status, headers=problem.headers)
