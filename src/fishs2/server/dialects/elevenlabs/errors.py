"""ElevenLabs' errors: `{"detail": {"status", "message"}}`, whose status is a word.

Source: ElevenLabs API reference, errors; Fish Audio's compatibility layer for the words.
"""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse

from fishs2.errors import Fishs2Error
from fishs2.server.edge.error_bodies import error_answers
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.server.edge.streaming import packed_json

_WORDS = {
    "body_too_large": "payload_too_large",
    "input_too_long": "text_too_long",
    "insufficient_quota": "quota_exceeded",
    "invalid_body": "invalid_request",
    "invalid_form": "invalid_request",
    "invalid_json": "invalid_request",
    "invalid_token": "unauthorized",
    "rate_limit_exceeded": "rate_limit_error",
    "too_many_streams": "too_many_concurrent_requests",
    "validation_error": "invalid_request",
}
"""By our code; what is not here has ours."""

_MESSAGES = {
    "invalid_token": "a valid key is needed: send it as the header xi-api-key",
    "voice_not_found": "there is no voice of this id; GET /v2/voices lists them",
}
"""By code: how the remedy is called in the dialect."""

_FIELDS = {
    "input": "text",
    "voice": "voice_id",
    "model": "model_id",
    "language": "language_code",
    "response_format": "output_format",
    "sample_rate": "output_format",
    "bit_rate": "output_format",
}
"""What the dialect calls fields that errors name as the other dialects do."""


class ElevenLabsErrorDetail(BaseModel):
    """What went wrong; `status` is a stable word, `param` the field at fault."""

    status: str
    message: str
    param: str | None = None


class ElevenLabsErrorBody(BaseModel):
    """The body of every error answer of these routes."""

    detail: ElevenLabsErrorDetail


ERRORS = error_answers(
    ElevenLabsErrorBody,
    {
        400: "A field is wrong, or the body cannot be read.",
        401: "The key is missing, not valid, or has no characters left.",
        403: "The key does not allow this.",
        404: "There is no such voice or model.",
        413: "The body is too large.",
        415: "The body is of another kind.",
        429: "The server is busy; Retry-After says when to try again.",
        500: "The engine failed.",
        503: "The engine cannot work.",
    },
)


def elevenlabs_error(problem: Problem) -> JSONResponse:
    """An error as ElevenLabs answers it: wrong fields are 400, a quota that is used up 401."""
    status = problem.status
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    elif problem.code == "insufficient_quota":
        status = HTTPStatus.UNAUTHORIZED
    detail = ElevenLabsErrorDetail(
        status=_word(problem),
        message=_MESSAGES.get(problem.code, problem.message),
        param=_FIELDS.get(problem.param, problem.param) if problem.param else None,
    )
    content = {"detail": detail.model_dump(exclude_none=True)}
    return JSONResponse(content, status_code=status, headers=problem.headers)


def error_frame(error: Fishs2Error, context_id: str | None = None) -> str:
    """What a WebSocket says of an error."""
    problem = describe_error(error)
    content: dict[str, object] = {
        "error": _MESSAGES.get(problem.code, problem.message),
        "code": _word(problem),
    }
    if context_id is not None:
        content["contextId"] = context_id
    return packed_json(content).decode()


def defect_frame(message: str) -> str:
    """What a WebSocket says when something breaks that nobody foresaw."""
    return packed_json({"error": message, "code": "internal_error"}).decode()


def _word(problem: Problem) -> str:
    return _WORDS.get(problem.code, problem.code)
