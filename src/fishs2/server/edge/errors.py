"""What an error tells a client, before it has the shape of a dialect.

A dialect gives it one: `Dialect.error_answer`. Nothing of the request is echoed: it may be private,
huge or not even Unicode.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Mount

from fishs2.errors import (
    BusyError,
    EngineError,
    EngineUnavailableError,
    Fishs2Error,
    ForbiddenError,
    ListenerMissingError,
    ListeningError,
    NoRoomError,
    NotFoundError,
    ShutdownError,
    StoreFullError,
    StoreUnavailableError,
    UnauthorizedError,
    UserError,
    WrongHostError,
)
from fishs2.server.edge.json_body import MAX_VALUES
from fishs2.server.wire import refusals

logger = logging.getLogger(__name__)

_HTTP_CODES = {
    HTTPStatus.BAD_REQUEST: "invalid_body",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}

_BAD_UPLOAD_CODES = frozenset({"missing_files", "invalid_audio", "invalid_voice_type"})
"""400 on the original wrapper, where every other wrong value is 422."""

_STORE_FULL = (
    "there is no room to keep this: the disk is full, a quota is used up, or a file may not grow "
    "so large; the server's log says where"
)
_STORE_LOST = "keys, voices or cached audio cannot be read or written; the server's log says why"
STORE_CODES = frozenset({"store_not_available", "store_full"})
"""Their statuses are the same everywhere, for whoever watches the server."""

_CONFLICT_CODES = frozenset({"voice_exists"})

_BROKEN: dict[type[UserError], HTTPStatus] = {
    **refusals.STATUSES,
    WrongHostError: HTTPStatus.MISDIRECTED_REQUEST,
}

_HTTP_MESSAGES = {
    HTTPStatus.BAD_REQUEST: (
        "the body cannot be read: send JSON in UTF-8, with numbers of a usual length, not nested "
        f"deeply, and with at most {MAX_VALUES:,} values"
    ),
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


Answer = Callable[[str, Problem], Response]
"""An error in the shape of the dialect that a path belongs to."""


def install_error_handlers(
    app: FastAPI, *, answer: Answer, note_store_error: Callable[[str], None]
) -> None:
    """Make `app` answer every error in the shape of its dialect.

    note_store_error: called with what is said of a store that cannot be used.
    """

    def answer_error(request: Request, error: Exception) -> Response:
        if isinstance(error, StoreUnavailableError):
            note_store_error(describe_error(error).message)
        problem = _describe(request, error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = _allowed_methods(request)
            if request.method == "OPTIONS":
                headers = {"Allow": ", ".join([*allowed, "OPTIONS"])}
                return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
            problem.headers["Allow"] = ", ".join(allowed)
        return answer(request.scope["path"], problem)

    for kind in (Fishs2Error, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, answer_error)


def _describe(request: Request, error: Exception) -> Problem:
    if isinstance(error, HTTPException) and isinstance(error.__cause__, Fishs2Error):
        # FastAPI says only that it met something while it read the body.
        error = error.__cause__
    if isinstance(error, RequestValidationError):
        return _describe_invalid(request, error)
    if isinstance(error, HTTPException):
        return _describe_http(request, error)
    assert isinstance(error, Fishs2Error)
    problem = describe_error(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request failed: %s", error, extra={"request_id": request.state.request_id})
    return problem


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


def describe_error(error: Fishs2Error) -> Problem:
    """What one of our own errors tells a client."""
    match error:
        case UserError():
            return _describe_user_error(error)
        case BusyError():
            return _describe_busy_error(error)
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
        case ListenerMissingError():
            is_absent = error.code == "asr_not_installed"
            status = HTTPStatus.NOT_IMPLEMENTED if is_absent else HTTPStatus.SERVICE_UNAVAILABLE
            headers = {"X-Should-Retry": "false"}
            return Problem(status, error.message, error.code, headers=headers)
        case ListeningError():
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            return Problem(status, error.message, "recognition_failed")
        case EngineError():
            message = "the engine failed at this text; the server's log says why"
            return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, message, "generation_failed")
    raise error


def _describe_busy_error(error: BusyError) -> Problem:
    wait = error.retry_after_s
    is_full = isinstance(error, NoRoomError)
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE if is_full else HTTPStatus.TOO_MANY_REQUESTS,
        error.message,
        error.code,
        headers={"X-Should-Retry": "false"} if wait is None else {"Retry-After": str(wait)},
    )


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
        case _ if type(error) in _BROKEN:
            status = _BROKEN[type(error)]
            # What is left of the request cannot be told from the next one.
            headers = {"Connection": "close"}
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


def _describe_http(request: Request, error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    message = _HTTP_MESSAGES.get(status, str(error.detail))
    if status == HTTPStatus.BAD_REQUEST and _media_type(request) == "multipart/form-data":
        message = f"the form cannot be read: {error.detail}"
    return Problem(
        status,
        message,
        _HTTP_CODES.get(status, "http_error"),
        detail=status.phrase,
        headers=dict(error.headers or {}),
    )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _is_json(request: Request) -> bool:
    media_type = _media_type(request)
    return media_type == "application/json" or media_type.endswith("+json")


def _field_path(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location[1:]) or "body"
