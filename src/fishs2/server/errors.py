"""Every error as an HTTP answer, in the shape of the dialect that the path belongs to.

OpenAI routes, and everything that no other dialect claims: `{"error": {message, type, param,
code}}`; failed validation adds FastAPI's `detail` list, which the original wrapper's clients read.
Nothing of the request is echoed: it may be private, huge or not even Unicode.
"""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from fishs2.errors import (
    BusyError,
    EngineError,
    EngineUnavailableError,
    Fishs2Error,
    NotFoundError,
    UserError,
)

logger = logging.getLogger(__name__)

_HTTP_CODES = {
    HTTPStatus.BAD_REQUEST: "invalid_body",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
}

_HTTP_MESSAGES = {
    HTTPStatus.BAD_REQUEST: "the body cannot be read: send JSON in UTF-8",
    HTTPStatus.NOT_FOUND: "there is nothing at this path; /docs lists what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not know that method; see the Allow header",
}


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


def install_error_handlers(app: FastAPI) -> None:
    """Make `app` answer every error in the shape of its dialect."""
    app.add_exception_handler(Fishs2Error, _answer_own_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_http_error)


def error_response(
    status: int, message: str, *, code: str, param: str | None = None, **extra: Any
) -> JSONResponse:
    """Build an error answer; `extra` may hold `detail` and `headers`."""
    kind = "invalid_request_error"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        kind = "server_error"
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "rate_limit_error"
    headers = extra.pop("headers", None)
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error, **extra}, status_code=status, headers=headers)


def _answer_own_error(request: Request, error: Exception) -> Response:
    if isinstance(error, UserError):
        found = not isinstance(error, NotFoundError)
        status = HTTPStatus.UNPROCESSABLE_ENTITY if found else HTTPStatus.NOT_FOUND
        return error_response(status, error.message, code=error.code, param=error.param)
    if isinstance(error, BusyError):
        return error_response(
            HTTPStatus.TOO_MANY_REQUESTS,
            error.message,
            code="server_busy",
            headers={"Retry-After": str(error.retry_after_s)},
        )
    logger.error("speech failed: %s", error, extra={"request_id": request.state.request_id})
    if isinstance(error, EngineUnavailableError):
        return error_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the engine cannot work; the server's log says why",
            code="backend_not_available",
            # Nothing gets better by asking again: keep clients from their retry loops.
            headers={"X-Should-Retry": "false"},
        )
    if isinstance(error, EngineError):
        return error_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "the engine failed at this text; the server's log says why",
            code="generation_failed",
        )
    raise error


def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    items = [{key: item[key] for key in ("type", "loc", "msg")} for item in error.errors()]
    first = items[0]
    if first["type"] == "json_invalid":
        message = f"the body is not JSON: it breaks off or goes wrong at byte {first['loc'][-1]}"
        return error_response(
            HTTPStatus.UNPROCESSABLE_ENTITY, message, code="invalid_json", detail=items
        )
    if tuple(first["loc"]) == ("body",) and not _is_json(request) and first["type"] != "missing":
        return error_response(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON: send it with Content-Type: application/json",
            code="unsupported_media_type",
        )
    param = next((str(part) for part in first["loc"][1:]), None)
    message = "; ".join(f"{_field_path(item['loc'])}: {item['msg']}" for item in items)
    return error_response(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        message,
        code="validation_error",
        param=param,
        detail=items,
    )


def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    message = _HTTP_MESSAGES.get(status, str(error.detail))
    code = _HTTP_CODES.get(status, "http_error")
    return error_response(
        status, message, code=code, detail=status.phrase, headers=dict(error.headers or {})
    )


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _field_path(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location[1:]) or "body"
