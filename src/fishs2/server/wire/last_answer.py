"""An answer after which nothing more is read of its client."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class LastAnswer:
    """The answer after which the connection ends, whatever the client goes on to send."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            if is_start:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)
            if is_start:
                # uvicorn would close at once: `HttpProtocol` does it, when the answer has arrived.
                self._cycle.keep_alive = True

        await self._app(scope, receive, send_last)
