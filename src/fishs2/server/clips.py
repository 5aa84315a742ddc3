"""`/clips/`: cached audio under names that nobody can guess, so that links work without a key.

Source: RFC 9110, sections 13 (conditions) and 14 (ranges). Several ranges at once, other units and
ranges that make no sense are answered with the whole, as it allows. Starlette's FileResponse
answers these with 400, and finds out that a file has gone when it has promised it.
"""

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fishs2.errors import NotFoundError
from fishs2.server.edge.auth import PUBLIC, GuardedRouter
from fishs2.server.edge.dialect import Dialect
from fishs2.server.edge.error_bodies import ErrorBody, error_answers, house_error
from fishs2.server.edge.errors import Problem
from fishs2.server.edge.proxies import base_url
from fishs2.server.edge.streaming import CONTENT_TYPES, audio_content
from fishs2.server.examples import Example
from fishs2.server.options import ServerOptions
from fishs2.service.clips import Clips
from fishs2.service.services import Services
from fishs2.store.clips import Clip, OpenClip

logger = logging.getLogger(__name__)

PCM_RATE_HZ = 44_100
"""Of the open API's PCM, the only one that is cached."""

_PIECE_BYTES = 262_144
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_ETAGS = re.compile(r'(?:W/)?("[^"]*")')

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The audio.",
        "content": audio_content(CONTENT_TYPES.values()),
    },
    206: {"description": "The part of it that Range asks for."},
    304: {"description": "The client has it already."},
    **error_answers(
        ErrorBody,
        {
            404: "There is no such audio, or not any more.",
            416: "The range begins behind the end.",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes `start` to before `end` of a clip."""

    start: int
    end: int


def clips_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the route. It needs no key."""
    router = GuardedRouter(tags=["Clips"])

    @router.get("/clips/{name}", response_class=Response, responses=_ANSWERS, openapi_extra=PUBLIC)
    async def get_clip(request: Request, name: str) -> Response:
        """Send cached audio, whole or a range of it."""
        opened = await services.clips.open(name)
        if opened is None:
            raise NotFoundError(
                "there is no such audio, or not any more; ask for the speech again",
                code="audio_not_found",
            )
        return _ClipResponse(request, services.clips, opened, client_stall_s=options.client_stall_s)

    return router


class _ClipResponse(Response):
    """Sends an open clip, or what its conditions ask for instead, and closes it."""

    def __init__(
        self, request: Request, clips: Clips, opened: OpenClip, *, client_stall_s: float
    ) -> None:
        super().__init__()
        self._request = request
        self._clips = clips
        self._opened = opened
        self._client_stall_s = client_stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        clip = self._opened.clip
        headers = _headers(clip)
        asked = self._request.headers
        try:
            if _is_known(asked.get("if-none-match"), headers["ETag"]):
                response = Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
                await response(scope, receive, send)
                return
            part = None
            if asked.get("if-range") in (None, headers["ETag"], headers["Last-Modified"]):
                part = _find_part(asked.get("range"), clip.size_bytes)
            if part is not None and part.start >= part.end:
                response = house_error(_unsatisfiable(clip.size_bytes))
                await response(scope, receive, send)
                return
            await self._send_part(send, headers, part)
        finally:
            self._opened.file.close()

    async def _send_part(self, send: Send, headers: dict[str, str], part: _Part | None) -> None:
        clip = self._opened.clip
        status = HTTPStatus.OK
        if part is None:
            part = _Part(0, clip.size_bytes)
        else:
            status = HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{clip.size_bytes}"
        headers["Content-Length"] = str(part.end - part.start)
        headers["Content-Type"] = CONTENT_TYPES[clip.format]
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        # Read first: if the disk fails, there is still an honest status.
        piece = await self._clips.read(self._opened, part.start, _piece_bytes(part))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        while True:
            part = _Part(part.start + len(piece), part.end)
            has_more = bool(piece) and part.start < part.end
            try:
                async with asyncio.timeout(self._client_stall_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": has_more})
            except TimeoutError:
                # An answer that never ends properly is what is left to send.
                logger.warning("a client took nothing of a clip for %g s", self._client_stall_s)
                return
            if not has_more:
                return
            piece = await self._clips.read(self._opened, part.start, _piece_bytes(part))


def _headers(clip: Clip) -> dict[str, str]:
    """What every answer with or about a clip says of it."""
    life_s = max(0, int(clip.expires_s - time.time()))
    headers = {
        "ETag": f'"{clip.etag}"',
        "Last-Modified": formatdate(clip.created_s, usegmt=True),
        "Accept-Ranges": "bytes",
        # Whoever has the address may have the audio, but nothing in between need keep it.
        "Cache-Control": f"private, max-age={life_s}, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    if clip.format == "pcm":
        headers["X-Audio-Sample-Rate"] = str(PCM_RATE_HZ)
        headers["X-Audio-Channels"] = "1"
        headers["X-Audio-Encoding"] = "pcm_s16le"
    return headers


def _is_known(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in _ETAGS.findall(if_none_match)


def _find_part(asked: str | None, size_bytes: int) -> _Part | None:
    """The part that a Range header asks for; None is the whole, an empty part is no part."""
    match = _RANGE.fullmatch((asked or "").strip())
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:
        return _Part(max(0, size_bytes - int(match[2])), size_bytes)
    start = int(match[1])
    end = int(match[2]) + 1 if match[2] else size_bytes
    if match[2] and end <= start:
        return None
    return _Part(start, min(end, size_bytes))


def _piece_bytes(part: _Part) -> int:
    return min(_PIECE_BYTES, part.end - part.start)


def _unsatisfiable(size_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        f"the range is behind the end: the audio has {size_bytes:,} bytes",
        "range_not_satisfiable",
        headers={"Content-Range": f"bytes */{size_bytes}"},
    )


def clip_url(request: Request, clip: Clip, public_url: str | None) -> str:
    """The absolute address of a clip: under the setting, or as the client reached us."""
    return f"{(public_url or base_url(request)).rstrip('/')}/clips/{clip.name}"


_EXAMPLES = {("get", "/clips/{name}"): Example(given={"name": "0123456789abcdef.mp3"})}
CLIPS = Dialect("clips", ("/clips/",), (clips_router,), for_pages=("/clips/",), examples=_EXAMPLES)
