"""OpenAI's Realtime API as the edge sees it: at OpenAI's address and at those of Fish Audio's
cloud. Its errors are those of the house.
"""

from http import HTTPStatus

from fastapi import WebSocket
from starlette.responses import Response

from fishs2.errors import Fishs2Error
from fishs2.server.dialects.openai.realtime.session import RealtimeSession
from fishs2.server.dialects.openai.request import find_model
from fishs2.server.edge.auth import SPEECH, GuardedRouter
from fishs2.server.edge.dialect import Dialect
from fishs2.server.edge.error_bodies import house_error
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services

_FISH = ("/compat/v1/realtime", "/compat/api/v1/realtime", "/compat/openai/v1/realtime")
_PATHS = ("/v1/realtime", *_FISH)

_NO_WEBSOCKET = Problem(
    HTTPStatus.UPGRADE_REQUIRED,
    "this path is for a WebSocket: open it with ws:// or wss://",
    "websocket_required",
    headers={"Upgrade": "websocket"},
)


def realtime_router(services: Services, options: ServerOptions) -> GuardedRouter:
    """Build the WebSocket routes, and what tells others what they are."""
    router = GuardedRouter()

    async def converse(socket: WebSocket) -> None:
        named = socket.query_params.get("model") or options.default_model
        if socket.scope["path"] in _FISH:
            # Its models have names of their own, which mean nothing here.
            named = options.default_model
        try:
            model = find_model(named, options)
        except Fishs2Error as error:
            await socket.send_denial_response(house_error(describe_error(error)))
            return
        await RealtimeSession(socket, services, options, model).run()

    async def refuse() -> Response:
        return house_error(_NO_WEBSOCKET)

    for path in _PATHS:
        router.add_socket(path, converse, SPEECH)
        router.add_api_route(
            path, refuse, methods=["GET"], include_in_schema=False, openapi_extra=SPEECH
        )
    return router


REALTIME = Dialect("openai_realtime", _PATHS, (realtime_router,))
