"""Keys at the door: every path needs one, once there is any, but routes that say they are public.

A route says what it asks of a key where it is registered, or it cannot be registered.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from fishs2.errors import Fishs2Error
from fishs2.server.edge.dialect import Dialects
from fishs2.server.edge.errors import describe_error
from fishs2.server.edge.json_body import LargeJsonRequest
from fishs2.service.accounts.accounts import Accounts, Principal

SCOPE = "x-fishs2-scope"
"""What a route asks of a key, among the `openapi_extra` that it is registered with."""

PUBLIC: dict[str, Any] = {SCOPE: "public"}
ANY_KEY: dict[str, Any] = {SCOPE: "any key"}
SPEECH: dict[str, Any] = {SCOPE: ["speech"]}
READ_VOICES: dict[str, Any] = {SCOPE: ["speech", "voices:write"]}
"""Either lets a key read the stored voices."""
WRITE_VOICES: dict[str, Any] = {SCOPE: ["voices:write"]}

_IN_PROTOCOL = "openai-insecure-api-key."
_IN_QUERY = "api_key"
_KEY_HEADERS = ("api-key", "xi-api-key")


class GuardedRoute(APIRoute):
    """A route that says what it asks of a key, and asks for it before the body is read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        """Raises ValueError where `openapi_extra` does not name a scope."""
        asked = (more.get("openapi_extra") or {}).get(SCOPE)
        if not asked:
            raise ValueError(f"{path} does not say which scope it asks for")
        self.is_public = asked == "public"
        self.scopes: tuple[str, ...] = () if isinstance(asked, str) else tuple(asked)
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        if self.is_public:
            return answer

        async def answer_guarded(request: Request) -> Response:
            request.state.scopes = self.scopes
            # Set by `Guard`; None where the key may be in the body.
            if (principal := request.state.principal) is not None:
                _require(request.app.state.accounts, principal, self.scopes)
            return await answer(LargeJsonRequest(request.scope, request.receive))

        return answer_guarded


class GuardedRouter(APIRouter):
    """Routes that say what they ask of a key: others are not taken."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more, route_class=GuardedRoute)
        self.sockets: dict[str, tuple[str, ...]] = {}

    def add_socket(
        self, path: str, endpoint: Callable[[WebSocket], Awaitable[None]], asked: dict[str, Any]
    ) -> None:
        """Add a WebSocket."""
        self.sockets[path] = tuple(asked[SCOPE])
        self.add_api_websocket_route(path, endpoint)


class Doors:
    """What must be known of the routes before one is found: who needs no key, what sockets ask."""

    def __init__(self) -> None:
        self._paths: set[str] = set()
        self._prefixes: tuple[str, ...] = ()
        self._sockets: list[tuple[re.Pattern[str], tuple[str, ...]]] = []

    def add(self, router: APIRouter) -> None:
        """Take in a router. Raises ValueError for one whose routes name no scopes."""
        if not isinstance(router, GuardedRouter):
            raise ValueError("a router is not guarded: its routes do not name their scopes")
        for route in router.routes:
            if isinstance(route, GuardedRoute):
                if route.is_public:
                    self.open(route.path)
            elif getattr(route, "path", None) not in router.sockets:
                raise ValueError(f"{route} does not say which scope it asks for")
        self._sockets += [(compile_path(path)[0], asked) for path, asked in router.sockets.items()]

    def open(self, path: str) -> None:
        """Let everybody in here; with a parameter, everywhere below what is before it."""
        before, parameter, _ = path.partition("{")
        if parameter:
            self._prefixes += (before,)
        else:
            self._paths.add(path)

    def is_open(self, scope: Scope) -> bool:
        """Whether a request needs no key."""
        path = scope["path"]
        if scope["type"] == "websocket":
            return False
        is_public = path in self._paths or path.startswith(self._prefixes)
        return is_public or scope["method"] == "OPTIONS"

    def scopes_of_socket(self, scope: Scope) -> tuple[str, ...]:
        """What a handshake asks of a key; routes ask for themselves."""
        if scope["type"] != "websocket":
            return ()
        path = scope["path"]
        return next((asked for known, asked in self._sockets if known.match(path)), ())


class Guard:
    """Leaves `state.principal` for the routes behind it, or refuses.

    Every request is counted here, before anything of its body is read, so that those that are
    refused for what is in it count like others. Two are counted where they can be: those whose key
    is in the body, by `let_in`, and speech over a WebSocket, when it starts. A WebSocket whose key
    may be in its frames asks for it when the first comes.
    """

    def __init__(
        self, app: ASGIApp, *, accounts: Accounts, dialects: Dialects, doors: Doors
    ) -> None:
        self._app = app
        self._dialects = dialects
        self._doors = doors
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._doors.is_open(scope):
            token = read_token(Headers(scope=scope)) or _token_of_socket(scope)
            principal = None
            if token is not None or not self._asks_later(scope):
                try:
                    principal = await self._let_in(scope, token)
                except Fishs2Error as error:
                    await self._dialects.send_error(scope, receive, send, describe_error(error))
                    return
            scope["state"]["principal"] = principal
        await self._app(scope, receive, send)

    def _asks_later(self, scope: Scope) -> bool:
        """Whether the key may be in what follows the headers."""
        dialect = self._dialects.of(scope["path"])
        is_socket = scope["type"] == "websocket"
        return dialect.has_key_in_frames if is_socket else dialect.has_key_in_body

    async def _let_in(self, scope: Scope, token: str | None) -> Principal:
        principal = await self._accounts.authenticate(token)
        if scope["type"] == "http":
            principal = await self._accounts.count(principal)
        _require(self._accounts, principal, self._doors.scopes_of_socket(scope))
        return principal


def read_token(headers: Headers) -> str | None:
    """The key that a request carries, wherever clients put it in the headers."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return next((headers[name] for name in _KEY_HEADERS if headers.get(name)), None)


def _token_of_socket(scope: Scope) -> str | None:
    """The key of a handshake from a browser, whose scripts cannot set headers.

    Source: OpenAI's and Fish Audio's guides to their Realtime APIs.
    """
    if scope["type"] != "websocket":
        return None
    offered = (name.partition(_IN_PROTOCOL) for name in scope.get("subprotocols") or ())
    tokens = [token for before, _, token in offered if token and not before]
    query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100)
    return next(iter(tokens + query.get(_IN_QUERY, [])), None)


async def let_in(
    connection: HTTPConnection, accounts: Accounts, body_token: str | None
) -> Principal:
    """Who asks, where the key may be in the body; a key in the headers has won by now.

    Raises UnauthorizedError, QuotaError `rate_limit_exceeded`, ForbiddenError `missing_scope`.
    """
    known: Principal | None = connection.state.principal
    if known is not None:
        return known
    principal = await accounts.authenticate(body_token)
    principal = await accounts.count(principal)
    _require(accounts, principal, connection.state.scopes)
    return principal


def _require(accounts: Accounts, principal: Principal, scopes: tuple[str, ...]) -> None:
    """Raise ForbiddenError unless the key has one of the scopes; none of them is any key's."""
    if scopes:
        accounts.require(principal, *scopes)
