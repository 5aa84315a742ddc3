"""Which web pages may call the server from a browser.

Browsers ask before they let a page of one origin call another. Pages that were written for
fishaudio.net call speech from the browser, so that much is allowed to all unless a setting says
otherwise; what changes or deletes voices is not.
"""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from fishs2.server.errors import OPEN_API_PREFIX

_FOR_ALL_PAGES = frozenset(
    {f"{OPEN_API_PREFIX}{name}" for name in ("tts", "list-models", "profile")}
)
_EXPOSED = ("X-Request-ID", "X-Audio-Sample-Rate", "X-Audio-Channels", "X-Audio-Encoding")


class WebPages:
    """Answers browsers' questions. origins: who may call everything; empty is the default above."""

    def __init__(self, app: ASGIApp, *, origins: tuple[str, ...]) -> None:
        self._app = app
        self._is_for_every_route = bool(origins)
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins or ("*",),
            allow_methods=("*",),
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (self._is_for_every_route or _is_for_all(scope["path"])):
            await self._cors(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_for_all(path: str) -> bool:
    return path in _FOR_ALL_PAGES or path.startswith("/clips/")
