"""Every error as an HTTP answer, in the shape of the dialect that the path belongs to.

`/api/open/`: `{"error", "code", "details"}`. Fish Audio's own paths: exactly `{"status",
"message"}`, for its clients know no other key; its `/compat`: `{"error": {code, message, type}}`
with the status as code. Everything else: OpenAI's `{"error": {message, type,
param, code}}`; failed validation adds FastAPI's `detail` list, which the original wrapper's clients
read. Nothing of the request is echoed: it may be private, huge or not even Unicode.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from fishs2.errors import (
    BusyError,
    EngineError,
    EngineUnavailableError,
    Fishs2Error,
    ForbiddenError,
    NotFoundError,
    ShutdownError,
    StoreFullError,
    StoreUnavailableError,
    UnauthorizedError,
    UserError,
)

logger = logging.getLogger(__name__)

OPEN_API_PREFIX = "/api/open/"
"""Paths of the fishaudio.net open API."""

FISH_PATHS = (
    "/v1/tts",
    "/v1/health",
    "/model",
    "/wallet",
    "/v1/asr",
    "/v1/references",
    "/v1/vqgan",
    "/v1/voice-design",
    "/v1/agent",
    "/v1/agents",
)
"""Paths of Fish Audio's own APIs, cloud and self-hosted, each with everything below it."""

COMPAT_PATH = "/compat"
"""Fish Audio's own OpenAI-compatible routes lie below it."""

_SPEECH_PATH = "/v1/tts"

_HTTP_CODES = {
    HTTPStatus.BAD_REQUEST: "invalid_body",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}

_OPEN_FIELDS = {
    "voice": "reference_id",
    "input": "text",
    "voice_id": "modelId",
    "files": "audioFiles",
}
"""What the open API calls fields that errors name as the other dialects do."""

_FISH_MESSAGES = {
    "invalid_body": "the body cannot be read: send MessagePack, JSON in UTF-8, or a form",
    "unsupported_media_type": "the body must be MessagePack, JSON or a form, named in Content-Type",
    "voice_not_found": "there is no voice of this id; GET /model lists them",
    "missing_prompt_text": "reference audio needs its transcript: send it as text in references; "
    "for a stored voice add it with PATCH /model/{id} and texts",
}
"""By code: how the remedy is called in the dialect, where others call it otherwise."""

_BAD_UPLOAD_CODES = frozenset({"missing_files", "invalid_audio"})
"""400 on the original wrapper, where every other wrong value is 422."""

_STORE_FULL = (
    "there is no room to keep this: the disk is full, a quota is used up, or a file may not grow "
    "so large; the server's log says where"
)
_STORE_LOST = "keys, voices or cached audio cannot be read or written; the server's log says why"
_STORE_CODES = frozenset({"store_not_available", "store_full"})
"""Their statuses are the same everywhere, for whoever watches the server."""

_CONFLICT_CODES = frozenset({"voice_exists"})

_HTTP_MESSAGES = {
    HTTPStatus.BAD_REQUEST: "the body cannot be read: send JSON in UTF-8",
    HTTPStatus.NOT_FOUND: "there is nothing at this path; /docs lists what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not know that method; see the Allow header",
}


LOG_SAYS_WHY = "the server's log says why"


@dataclass(frozen=True, slots=True)
class Problem:
    """An error on its way to a client, in no dialect yet.

    param: the field at fault. detail: FastAPI's list of failed fields, or a word.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    detail: list[dict[str, Any]] | str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def install_error_handlers(app: FastAPI, *, note_store_error: Callable[[str], None]) -> None:
    """Make `app` answer every error in the shape of its dialect.

    note_store_error: called with what is said of a store that cannot be used.
    """

    def answer_store_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, StoreUnavailableError)
        note_store_error(describe_error(error).message)
        return _answer(request, error)

    app.add_exception_handler(StoreUnavailableError, answer_store_error)
    app.add_exception_handler(Fishs2Error, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)


def _answer(request: Request, error: Exception) -> Response:
    path = request.scope["path"]
    if isinstance(error, RequestValidationError):
        return error_response(path, _describe_invalid(request, error))
    if isinstance(error, HTTPException):
        problem = _describe_http(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = _allowed_methods(request)
            if request.method == "OPTIONS":
                headers = {"Allow": ", ".join([*allowed, "OPTIONS"])}
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
            problem.headers["Allow"] = ", ".join(allowed)
        return error_response(path, problem)
    assert isinstance(error, Fishs2Error)
    problem = describe_error(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed: %s", error, extra={"request_id": request.state.request_id})
    return error_response(path, problem)


def _allowed_methods(request: Request) -> list[str]:
    """What the path knows, by whichever of its routes: the router names those of the first only."""
    return [
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        # HEAD is answered like GET.
        if _is_known(request, "GET" if method == "HEAD" else method)
    ]


def _is_known(request: Request, method: str) -> bool:
    # Folders of files see themselves as the root.
    scope = {**request.scope, "root_path": "", "method": method}
    matching = (route for route in request.app.routes if route.matches(scope)[0] == Match.FULL)
    # Folders of files say that they match whatever the method.
    return any(method == "GET" or not isinstance(route, Mount) for route in matching)


def error_response(path: str, problem: Problem) -> JSONResponse:
    """Build the answer in the dialect of `path`."""
    if path.startswith(OPEN_API_PREFIX):
        return _open_response(problem)
    if is_fish_path(path):
        return _fish_response(path, problem)
    if is_below(path, COMPAT_PATH):
        return _compat_response(problem)
    body: dict[str, Any] = {
        "error": {
            "message": problem.message,
            "type": _kind(problem),
            "param": problem.param,
            "code": problem.code,
        }
    }
    if problem.detail is not None:
        body["detail"] = problem.detail
    return JSONResponse(body, status_code=problem.status, headers=problem.headers)


async def send_error(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """Answer a request, or the handshake of a WebSocket, with an error."""
    response = error_response(scope["path"], problem)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def _kind(problem: Problem) -> str:
    """The word of OpenAI for errors of this status."""
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    is_limit = problem.status == HTTPStatus.TOO_MANY_REQUESTS
    return "rate_limit_error" if is_limit else "invalid_request_error"


def _compat_response(problem: Problem) -> JSONResponse:
    status = problem.status
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    error = {"code": int(status), "message": problem.message, "type": _kind(problem)}
    return JSONResponse({"error": error}, status_code=status, headers=problem.headers)


def is_fish_path(path: str) -> bool:
    """Whether the path belongs to Fish Audio's own APIs."""
    return any(is_below(path, root) for root in FISH_PATHS)


def is_below(path: str, root: str) -> bool:
    """Whether `path` is `root` or in it."""
    return path == root or path.startswith(f"{root}/")


def _fish_response(path: str, problem: Problem) -> JSONResponse:
    """Wrong parameters are 400, unknown voices too where they are one; no credit left is 402.

    Source: Fish Audio API reference, errors; fish-audio-sdk, which takes no other keys.
    """
    status = problem.status
    is_unknown_voice = problem.code == "voice_not_found" and is_below(path, _SPEECH_PATH)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY or is_unknown_voice:
        status = HTTPStatus.BAD_REQUEST
    elif problem.code == "insufficient_quota":
        status = HTTPStatus.PAYMENT_REQUIRED
    body = {"status": int(status), "message": fish_message(problem)}
    return JSONResponse(body, status_code=status, headers=problem.headers)


def fish_message(problem: Problem) -> str:
    """What Fish Audio's clients are told, with the remedy as their API calls it."""
    return _FISH_MESSAGES.get(problem.code, problem.message)


def _open_response(problem: Problem) -> JSONResponse:
    """The open API's page knows 400 for wrong parameters and 500 for all that is our fault."""
    status, code = problem.status, problem.code
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    if status == HTTPStatus.SERVICE_UNAVAILABLE and code not in _STORE_CODES:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    if code == "validation_error":
        missing = isinstance(problem.detail, list) and problem.detail[0]["type"] == "missing"
        code = "missing_parameter" if missing else "invalid_parameter"
    elif code == "voice_not_found":
        code = "model_not_found"
    body = {"error": problem.message, "code": code}
    if problem.param is not None:
        body["details"] = _OPEN_FIELDS.get(problem.param, problem.param)
    return JSONResponse(body, status_code=status, headers=problem.headers)


def describe_error(error: Fishs2Error) -> Problem:
    """What one of our own errors tells a client."""
    match error:
        case UserError():
            return _describe_user_error(error)
        case BusyError():
            wait = error.retry_after_s
            return Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                error.message,
                error.code,
                headers={"X-Should-Retry": "false"} if wait is None else {"Retry-After": str(wait)},
            )
        case EngineUnavailableError():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the engine cannot work; {error.reason or LOG_SAYS_WHY}",
                "backend_not_available",
                # Nothing gets better by asking again: keep clients from their retry loops.
                headers={"X-Should-Retry": "false"},
            )
        case StoreFullError():
            # Nothing gets better until somebody makes room.
            headers = {"X-Should-Retry": "false"}
            status = HTTPStatus.INSUFFICIENT_STORAGE
            return Problem(status, _STORE_FULL, "store_full", headers=headers)
        case ShutdownError():
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                error.message,
                "shutting_down",
                headers={"Retry-After": "5"},
            )
        case StoreUnavailableError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
            headers = {"Retry-After": "5"}
            return Problem(status, _STORE_LOST, "store_not_available", headers=headers)
        case EngineError():
            message = "the engine failed at this text; the server's log says why"
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, message, "generation_failed")
    raise error


def _describe_user_error(error: UserError) -> Problem:
    headers: dict[str, str] = {}
    match error:
        case NotFoundError():
            status = HTTPStatus.NOT_FOUND
        case UnauthorizedError():
            status = HTTPStatus.UNAUTHORIZED
            headers = {"WWW-Authenticate": "Bearer"}
        case ForbiddenError():
            status = HTTPStatus.FORBIDDEN
        case _ if error.code in _CONFLICT_CODES:
            status = HTTPStatus.CONFLICT
        case _ if error.code in _BAD_UPLOAD_CODES:
            status = HTTPStatus.BAD_REQUEST
        case _:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
    return Problem(status, error.message, error.code, error.param, headers=headers)


def _describe_invalid(request: Request, error: RequestValidationError) -> Problem:
    items = [{key: item[key] for key in ("type", "loc", "msg")} for item in error.errors()]
    first = items[0]
    if first["type"] == "json_invalid":
        message = f"the body is not JSON: it breaks off or goes wrong at byte {first['loc'][-1]}"
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, message, "invalid_json", detail=items)
    if tuple(first["loc"]) == ("body",) and not _is_json(request) and first["type"] != "missing":
        return Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON: send it with Content-Type: application/json",
            "unsupported_media_type",
        )
    param = next((str(part) for part in first["loc"][1:]), None)
    message = describe_fields(error)
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, message, "validation_error", param, detail=items
    )


def describe_fields(error: RequestValidationError) -> str:
    """Which fields are wrong and why, for people; without their values."""
    return "; ".join(f"{_field_path(item['loc'])}: {item['msg']}" for item in error.errors())


def _describe_http(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    return Problem(
        status,
        _HTTP_MESSAGES.get(status, str(error.detail)),
        _HTTP_CODES.get(status, "http_error"),
        detail=status.phrase,
        headers=dict(error.headers or {}),
    )


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _field_path(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location[1:]) or "body"
