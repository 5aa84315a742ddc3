"""Keys at the door: every path needs one, once there is any, but those that are listed here."""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from fishs2.errors import Fishs2Error
from fishs2.server.edge.dialect import Dialects, is_in
from fishs2.server.edge.errors import describe_error
from fishs2.service.accounts import Accounts, Principal

PUBLIC_PATHS = frozenset({"/", "/docs", "/openapi.json", "/favicon.ico", "/health", "/v1/health"})
PUBLIC_PREFIXES = ("/docs/files/", "/clips/")
"""Clips have names that nobody can guess; their links are to work without a key."""

READ_VOICES = ("speech", "voices:write")
"""Either lets a key read the stored voices."""

_VOICE_PATHS = ("/voices", "/files")
_FISH_VOICE_PATHS = ("/model", "/v1/references")
_WALLET_PATH = "/wallet"
_KEY_HEADERS = ("api-key", "xi-api-key")


class Guard:
    """Leaves `state.principal` for the routes behind it, or refuses.

    Every request is counted here, before anything of its body is read, so that those that are
    refused for what is in it count like others. Two are counted where they can be: those whose key
    is in the body, by `let_in`, and speech over a WebSocket, when it starts.
    """

    def __init__(self, app: ASGIApp, *, accounts: Accounts, dialects: Dialects) -> None:
        self._app = app
        self._dialects = dialects
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not _is_public(scope):
            token = read_token(Headers(scope=scope))
            if token is not None or not self._may_have_key_in_body(scope):
                try:
                    principal = await self._let_in(scope, token)
                except Fishs2Error as error:
                    await self._dialects.send_error(scope, receive, send, describe_error(error))
                    return
                scope["state"]["principal"] = principal
        await self._app(scope, receive, send)

    async def _let_in(self, scope: Scope, token: str | None) -> Principal:
        principal = await self._accounts.authenticate(token)
        if scope["type"] == "http":
            await self._accounts.count(principal)
        # Routes whose key may be in the body say themselves what they need.
        needed = () if self._may_have_key_in_body(scope) else _needed_scopes(scope)
        if needed:
            self._accounts.require(principal, *needed)
        return principal

    def _may_have_key_in_body(self, scope: Scope) -> bool:
        return self._dialects.of(scope["path"]).has_key_in_body


def read_token(headers: Headers) -> str | None:
    """The key that a request carries, wherever clients put it in the headers."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return next((headers[name] for name in _KEY_HEADERS if headers.get(name)), None)


async def let_in(
    connection: HTTPConnection, accounts: Accounts, body_token: str | None
) -> Principal:
    """Who asks, where the key may be in the body; a key in the headers has won by now.

    Raises UnauthorizedError, QuotaError `rate_limit_exceeded`.
    """
    known: Principal | None = getattr(connection.state, "principal", None)
    if known is not None:
        return known
    principal = await accounts.authenticate(body_token)
    await accounts.count(principal)
    return principal


def _is_public(scope: Scope) -> bool:
    path = scope["path"]
    if scope["type"] == "websocket":
        return False
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES) or scope["method"] == "OPTIONS"


def _needed_scopes(scope: Scope) -> tuple[str, ...]:
    """The scopes of which a path asks for one; none lets every key in."""
    path = scope["path"].removeprefix("/v1")
    if is_in(path, _WALLET_PATH):
        return ()
    is_voices = path.startswith(("/audio/voices", *_VOICE_PATHS))
    is_voices |= any(is_in(scope["path"], root) for root in _FISH_VOICE_PATHS)
    changes = scope["type"] == "http" and scope["method"] != "GET"
    if not is_voices:
        return ("speech",)
    return ("voices:write",) if changes else READ_VOICES
