"""Fish Audio's errors: exactly `{"status", "message"}`, for its clients know no other key.

Source: Fish Audio API reference, errors; fish-audio-sdk, which takes no other keys.
"""

from dataclasses import replace
from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse

from fishs2.server.edge.error_bodies import error_answers, error_kind
from fishs2.server.edge.errors import Problem

_MESSAGES = {
    "invalid_body": "the body cannot be read: send MessagePack, JSON in UTF-8, or a form",
    "unsupported_media_type": "the body must be MessagePack, JSON or a form, named in Content-Type",
    "voice_not_found": "there is no voice of this id; GET /model lists them",
    "missing_prompt_text": "reference audio needs its transcript: send it as text in references; "
    "for a stored voice add it with PATCH /model/{id} and texts",
}
"""By code: how the remedy is called in the dialect, where others call it otherwise."""


class FishErrorBody(BaseModel):
    """The body of every error answer of Fish Audio's own APIs."""

    status: int
    message: str


FISH_ERRORS = error_answers(
    FishErrorBody,
    {
        400: "A parameter is missing or wrong.",
        401: "The key is missing or not valid.",
        403: "The key does not allow this.",
        404: "There is no such voice.",
        413: "The body is too large.",
        415: "The body is neither MessagePack nor JSON nor a form.",
        429: "The store is busy, or too many requests; Retry-After says when to try again.",
    },
)


def error_answer(problem: Problem) -> JSONResponse:
    """Wrong parameters are 400; no credit left is 402."""
    status = problem.status
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    elif problem.code == "insufficient_quota":
        status = HTTPStatus.PAYMENT_REQUIRED
    body = {"status": int(status), "message": fish_message(problem)}
    return JSONResponse(body, status_code=status, headers=problem.headers)


def speech_error_answer(problem: Problem) -> JSONResponse:
    """The same; an unknown voice is a wrong parameter of speech."""
    if problem.code == "voice_not_found":
        problem = replace(problem, status=HTTPStatus.BAD_REQUEST)
    return error_answer(problem)


def compat_error_answer(problem: Problem) -> JSONResponse:
    """OpenAI's shape, as the cloud has it: with the status as code."""
    status = problem.status
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    error = {"code": int(status), "message": problem.message, "type": error_kind(problem)}
    return JSONResponse({"error": error}, status_code=status, headers=problem.headers)


def fish_message(problem: Problem) -> str:
    """What Fish Audio's clients are told, with the remedy as their API calls it."""
    return _MESSAGES.get(problem.code, problem.message)
