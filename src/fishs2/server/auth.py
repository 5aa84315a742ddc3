"""Keys at the door: every path needs one, once there is any, but those that are listed here."""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from fishs2.errors import Fishs2Error
from fishs2.server.errors import OPEN_API_PREFIX, describe_error, is_below, send_error
from fishs2.service.accounts import Accounts, Principal

PUBLIC_PATHS = frozenset({"/", "/docs", "/openapi.json", "/favicon.ico", "/health", "/v1/health"})
PUBLIC_PREFIXES = ("/docs/files/", "/clips/")
"""Clips have names that nobody can guess; their links are to work without a key."""

_VOICE_PATHS = ("/voices", "/files")
_FISH_VOICE_PATHS = ("/model", "/v1/references")
_WALLET_PATH = "/wallet"
_KEY_HEADERS = ("api-key", "xi-api-key")


class Guard:
    """Leaves `state.principal` for the routes behind it, or refuses.

    The open API is let through: its key may be in the body, so its routes ask `authenticate`.
    """

    def __init__(self, app: ASGIApp, *, accounts: Accounts) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not _is_public(scope):
            try:
                principal = await self._accounts.authenticate(read_token(Headers(scope=scope)))
                if needed := _needed_scope(scope):
                    self._accounts.require(principal, needed)
            except Fishs2Error as error:
                await send_error(scope, receive, send, describe_error(error))
                return
            scope["state"]["principal"] = principal
        await self._app(scope, receive, send)


def read_token(headers: Headers) -> str | None:
    """The key that a request carries, wherever clients put it in the headers."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return next((headers[name] for name in _KEY_HEADERS if headers.get(name)), None)


async def authenticate(
    connection: HTTPConnection, accounts: Accounts, body_token: str | None
) -> Principal:
    """Who asks, for routes behind the open API's prefix; a key in the headers wins.

    Raises UnauthorizedError.
    """
    return await accounts.authenticate(read_token(connection.headers) or body_token)


def _is_public(scope: Scope) -> bool:
    path = scope["path"]
    if scope["type"] == "websocket":
        return False
    return (
        path in PUBLIC_PATHS
        or path.startswith((*PUBLIC_PREFIXES, OPEN_API_PREFIX))
        or scope["method"] == "OPTIONS"
    )


def _needed_scope(scope: Scope) -> str | None:
    """The scope that a path asks for; None lets every key in."""
    path = scope["path"].removeprefix("/v1")
    if is_below(path, _WALLET_PATH):
        return None
    is_voices = path.startswith(("/audio/voices", *_VOICE_PATHS))
    is_voices |= any(is_below(scope["path"], root) for root in _FISH_VOICE_PATHS)
    changes = scope["type"] == "http" and scope["method"] != "GET"
    return "voices:write" if is_voices and changes else "speech"
