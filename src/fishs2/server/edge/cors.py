"""Which web pages may call the server from a browser.

Browsers ask before they let a page of one origin call another. Pages that were written for
fishaudio.net call speech from the browser, so that much is allowed to all unless a setting says
otherwise; what changes or deletes voices is not.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fishs2.errors import ForbiddenError, WrongHostError
from fishs2.server.edge.dialect import Dialects, is_in
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.server.edge.hosts import Hosts, is_browser, name_of

_OTHER_ORIGIN = Problem(
    HTTPStatus.FORBIDDEN,
    "web pages of other sites may not do this: the owner of this server can allow one by its "
    "origin, such as FISHS2_CORS_ORIGINS=https://example.com",
    "origin_not_allowed",
)
_EXPOSED = ("X-Request-ID", "X-Audio-Sample-Rate", "X-Audio-Channels", "X-Audio-Encoding")


class WebPages:
    """Answers browsers' questions.

    origins: who may call everything; empty is the default above. hosts: names that browsers may
    call the server by.
    """

    def __init__(
        self, app: ASGIApp, *, origins: tuple[str, ...], hosts: Hosts, dialects: Dialects
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._dialects = dialects
        self._is_for_every_route = bool(origins)
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins or ("*",),
            allow_methods=("*",),
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check_hosts(scope)
        except WrongHostError as error:
            await self._dialects.send_error(scope, receive, send, describe_error(error))
            return
        is_open = self._is_for_every_route or self._is_for_all(scope["path"])
        is_refused = not self._may_change(scope, is_open=is_open)
        if is_refused or (_is_question(scope) and not self._may_call(scope, is_open=is_open)):
            await self._dialects.send_error(scope, receive, send, _OTHER_ORIGIN)
        elif is_open and scope["type"] == "http" and not self._asks_for_itself(scope):
            await self._cors(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_hosts(self, scope: Scope) -> None:
        """Whether a browser may use this name for the server. Raises WrongHostError."""
        headers = Headers(scope=scope)
        # A page that may call everything gains nothing by another name.
        if not is_browser(headers) or self._is_named(headers.get("origin", "")):
            return
        # Both: a page in a browser on this machine could write the proxy's header itself.
        for host in {headers.get("host", ""), scope["state"].get("sent_host", "")}:
            self._hosts.check(host)

    def _is_named(self, origin: str) -> bool:
        return "*" in self._origins or origin in self._origins

    def _is_for_all(self, path: str) -> bool:
        return any(is_in(path, root) for root in self._dialects.of(path).for_pages)

    def _may_call(self, scope: Scope, *, is_open: bool) -> bool:
        """Whether the page that a browser asks for may call this at all."""
        headers = Headers(scope=scope)
        origin = headers["origin"]
        return (is_open and self._cors.is_allowed_origin(origin)) or _is_own(origin, scope)

    def _asks_for_itself(self, scope: Scope) -> bool:
        """Whether the question is of a page of this server, which no setting need name."""
        return _is_question(scope) and not self._cors.is_allowed_origin(
            Headers(scope=scope)["origin"]
        )

    def _may_change(self, scope: Scope, *, is_open: bool) -> bool:
        """Whether the page that sends this, if it is one, may; browsers do not ask before forms."""
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        # Browsers let every page open a WebSocket: the handshake is a GET that spends characters.
        is_reading = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        if is_reading or not _is_page(origin):
            return True
        if self._is_for_every_route:
            return self._cors.is_allowed_origin(origin) or _is_own(origin, scope)
        return is_open or _is_own(origin, scope)


def _is_question(scope: Scope) -> bool:
    """Whether a browser asks on behalf of a page before it calls."""
    headers = Headers(scope=scope)
    is_options = scope["type"] == "http" and scope["method"] == "OPTIONS"
    return is_options and {"origin", "access-control-request-method"} <= set(headers)


def check_link(headers: Headers, origins: tuple[str, ...]) -> None:
    """Whether the page that plays a link may, if it is one: a GET that costs something.

    Browsers name no origin where a page only embeds a link, but say that it is of another site.
    origins: those that may call everything. Raises ForbiddenError `origin_not_allowed`.
    """
    origin = headers.get("origin", "")
    is_foreign = headers.get("sec-fetch-site") == "cross-site"
    if is_foreign and not origin:
        page = urlsplit(headers.get("referer", ""))
        origin = f"{page.scheme}://{page.netloc}"
    elif not is_foreign and (not _is_page(origin) or _is_named(origin, headers)):
        return
    if origin not in origins and "*" not in origins:
        raise ForbiddenError(_OTHER_ORIGIN.message, code=_OTHER_ORIGIN.code)


def _is_page(origin: str) -> bool:
    """Whether it is a web page; other programs send no origin, or one of their own kind."""
    return origin == "null" or origin.startswith(("http://", "https://"))


def _is_own(origin: str, scope: Scope) -> bool:
    """Whether the page is one of this server, under any of its names."""
    headers = Headers(scope=scope)
    if not scope["state"].get("has_lost_port"):
        return _is_named(origin, headers)
    name = name_of(urlsplit(origin).netloc)
    return name != "" and name == name_of(headers.get("host", ""))


def _is_named(origin: str, headers: Headers) -> bool:
    host = urlsplit(origin).netloc
    return host != "" and host == headers.get("host")
