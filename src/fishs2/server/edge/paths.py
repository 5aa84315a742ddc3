"""One spelling for each path, before anything else looks at it.

People write base URLs with a slash at the end, with `/v1` where the client adds its own, or without
`/v1` at all. Keys, limits, error shapes and routes all see the path that this module leaves, so
that no other spelling gets around one of them.
"""

import re
from urllib.parse import quote, unquote

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_V1 = "/v1"

TWINS = frozenset(
    {
        "agent",
        "agents",
        "asr",
        "audio",
        "files",
        "lexicons",
        "models",
        "realtime",
        "references",
        "text",
        "text-to-speech",
        "tts",
        "user",
        "voice-design",
        "voices",
        "vqgan",
    }
)
"""First segments below `/v1` that mean the same without it; `/health` and `/v1/health` differ."""

_BARE = frozenset({"model", "wallet"})
"""First segments of Fish Audio's paths that have no `/v1`: its SDK asks for both kinds."""

_ELEVENLABS = "/elevenlabs"
_THEIRS = re.compile(rf"{_V1}/(?:text-to-speech|user)(?:/|$)|/v2/voices$")
"""ElevenLabs' paths that nobody else has; its clients ask for them at the root."""
_SHARED = re.compile(rf"{_V1}/(?:models$|voices/)")
"""Those that others have too: whoever has the key in ElevenLabs' header means its own."""
_THEIR_HEADER = "xi-api-key"
_COMPAT = "/compat"

_SLASHES = re.compile(r"/{2,}")
_DOUBLED = re.compile(rf"^((?:/compat(?:/api|/openai)?)?(?:{_ELEVENLABS})?)(?:{_V1}){{2,}}(?=/|$)")


class Paths:
    """Rewrites the path of every request and handshake."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            raw_path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
            written = clean_path(raw_path.decode("latin-1"))
            written = to_elevenlabs(written, has_header=_THEIR_HEADER in Headers(scope=scope))
            state = {**scope.get("state", {}), "has_slash": raw_path.endswith(b"/")}
            path = unquote(written)
            if path.endswith("\n"):
                # Routes end with `$`, which overlooks one line feed; keys do not.
                path += "\n"
            clean = {"path": path, "raw_path": written.encode("latin-1")}
            scope = {**scope, **clean, "state": state}
        await self._app(scope, receive, send)


def clean_path(written: str) -> str:
    """The one spelling of a path, which is percent-encoded, as it came.

    An encoded slash is part of a name: nothing becomes another name by being cleaned.
    """
    path = _SLASHES.sub("/", written)
    if path != "/":
        path = path.removesuffix("/")
    path = _DOUBLED.sub(rf"\1{_V1}", path)
    first, _, rest = path.removeprefix("/").partition("/")
    if first in TWINS:
        return _V1 + path
    if path.startswith(f"{_V1}/") and rest.partition("/")[0] in _BARE:
        return path.removeprefix(_V1)
    return path


def to_elevenlabs(path: str, *, has_header: bool) -> str:
    """Where ElevenLabs' clients are served, if a clean path is one of theirs.

    has_header: the key came in the header that only they use.
    """
    if path.startswith(f"{_COMPAT}{_ELEVENLABS}/"):
        return path.removeprefix(_COMPAT)
    if _THEIRS.match(path) or (has_header and _SHARED.match(path)):
        return _ELEVENLABS + path
    return path
