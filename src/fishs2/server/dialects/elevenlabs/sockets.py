"""The routes of ElevenLabs' WebSockets, and what tells others what they are."""

from http import HTTPStatus

from fastapi import WebSocket
from starlette.responses import Response

from fishs2.server.dialects.elevenlabs.errors import elevenlabs_error
from fishs2.server.dialects.elevenlabs.live import LiveSession
from fishs2.server.dialects.elevenlabs.speech import PATH
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.errors import Problem
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services

_NO_WEBSOCKET = Problem(
    HTTPStatus.UPGRADE_REQUIRED,
    "this path is for a WebSocket: open it with ws:// or wss://",
    "websocket_required",
    headers={"Upgrade": "websocket"},
)


def elevenlabs_sockets_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the WebSocket routes."""
    router = GuardedRouter()

    async def speak(socket: WebSocket) -> None:
        await LiveSession(socket, services, options, is_multi=False).run()

    async def speak_contexts(socket: WebSocket) -> None:
        await LiveSession(socket, services, options, is_multi=True).run()

    async def refuse() -> Response:
        return elevenlabs_error(_NO_WEBSOCKET)

    for name, work in (("stream-input", speak), ("multi-stream-input", speak_contexts)):
        path = f"{PATH}/{name}"
        router.add_socket(path, work, SPEECH)
        router.add_api_route(
            path, refuse, methods=["GET"], include_in_schema=False, openapi_extra=SPEECH
        )
    return router
