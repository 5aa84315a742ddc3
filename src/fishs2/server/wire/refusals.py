"""What is refused before anybody looks at a request; the plain answer where it has no path."""

from http import HTTPStatus

from fishs2.errors import (
    LargeHeadError,
    LongTargetError,
    NoRoomError,
    SlowRequestError,
    UserError,
)

STATUSES: dict[type[UserError], HTTPStatus] = {
    LargeHeadError: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    LongTargetError: HTTPStatus.REQUEST_URI_TOO_LONG,
    SlowRequestError: HTTPStatus.REQUEST_TIMEOUT,
}
"""Source: RFC 9110 section 15.5, RFC 6585 section 5."""

_NO_HTTP = "Invalid HTTP request received."


def too_many_bytes(limit: int) -> LargeHeadError:
    """Of the request line and all headers."""
    return LargeHeadError(
        f"the request line and headers have more than {limit:,} bytes; send less in them",
        code="headers_too_large",
    )


def too_many_fields(limit: int) -> LargeHeadError:
    """Of the headers."""
    return LargeHeadError(
        f"the request has more than {limit} headers; send fewer", code="headers_too_large"
    )


def too_long_target(limit: int) -> LongTargetError:
    """Of the path and query."""
    return LongTargetError(
        f"the path and query have more than {limit:,} bytes: send what is long in the body of a "
        "POST",
        code="target_too_long",
    )


def late_head() -> SlowRequestError:
    """Of a head that did not end."""
    return SlowRequestError(
        "the headers of the request did not come in time: send them in one go",
        code="request_timeout",
    )


def late_body(stall_s: float) -> SlowRequestError:
    """Of a body that did not go on."""
    return SlowRequestError(
        f"no more of the body came for {stall_s:g} s: send it without pauses, and as long as "
        "Content-Length says",
        code="request_timeout",
    )


def plain_answer(error: UserError | None) -> bytes:
    """An answer in plain text. error: None is what is no HTTP at all."""
    status = HTTPStatus.BAD_REQUEST if error is None else STATUSES[type(error)]
    return _answer(status, error.message if error else _NO_HTTP)


def no_room(error: NoRoomError) -> bytes:
    """An answer in plain text for a connection whose request is not even read."""
    return _answer(HTTPStatus.SERVICE_UNAVAILABLE, error.message, error.retry_after_s)


def _answer(status: HTTPStatus, message: str, retry_after_s: int | None = None) -> bytes:
    content = message.encode()
    more = b"" if retry_after_s is None else b"retry-after: %d\r\n" % retry_after_s
    return (
        b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\n%s"
        b"content-length: %d\r\nconnection: close\r\n\r\n%s"
        % (status, status.phrase.encode(), more, len(content), content)
    )
