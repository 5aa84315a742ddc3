"""`/clips/`: cached audio under names that nobody can guess, so that links work without a key."""

import re
import time
from email.utils import formatdate
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from fishs2.errors import NotFoundError
from fishs2.server.errors import ErrorBody
from fishs2.service.runtime import Runtime
from fishs2.store.clips import Clip

CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
}

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in CONTENT_TYPES.values()}},
    206: {"description": "The range that was asked for."},
    304: {"description": "It has not changed."},
    404: {"model": ErrorBody, "description": "There is no such audio, or not any more."},
    416: {"description": "The range lies behind the end."},
}


def clips_router(runtime: Runtime) -> APIRouter:
    """Build the route. It needs no key."""
    router = APIRouter(tags=["Clips"])

    @router.get("/clips/{name}", response_class=Response, responses=_ANSWERS)
    async def get_clip(request: Request, name: str) -> Response:
        """Send cached audio, whole or in ranges."""
        clip = await runtime.clips.open(name)
        if clip is None:
            raise NotFoundError(
                "there is no such audio, or not any more; ask for the speech again",
                code="audio_not_found",
            )
        headers = {
            "ETag": f'"{clip.name[:32]}"',
            "Last-Modified": formatdate(clip.created_s, usegmt=True),
            "Cache-Control": f"private, max-age={max(0, int(clip.expires_s - time.time()))}",
            "X-Content-Type-Options": "nosniff",
        }
        if clip.format == "pcm":
            headers["X-Audio-Channels"] = "1"
            headers["X-Audio-Encoding"] = "pcm_s16le"
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return FileResponse(clip.path, media_type=CONTENT_TYPES[clip.format], headers=headers)

    return router


def clip_url(request: Request, clip: Clip, public_url: str | None) -> str:
    """The absolute address of a clip: under the setting, or as the client reached us.

    What a client writes into Host is checked: it goes back into JSON that others may trust.
    """
    if public_url is not None:
        return f"{public_url.rstrip('/')}/clips/{clip.name}"
    headers = request.headers
    given = (headers.get("x-forwarded-host", "").partition(",")[0].strip(), headers.get("host", ""))
    host = next((name for name in given if _HOST.fullmatch(name)), None)
    if host is None:
        server = request.scope.get("server") or ("127.0.0.1", 80)
        host = f"{server[0]}:{server[1]}"
    scheme = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = scheme if scheme in ("http", "https") else request.url.scheme
    return f"{scheme}://{host}/clips/{clip.name}"
