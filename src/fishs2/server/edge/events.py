"""An answer of server-sent events, one by one; `edge.streaming` has those of speech."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fishs2.errors import Fishs2Error, StalledReaderError
from fishs2.server.edge.errors import Problem, describe_error
from fishs2.server.edge.streaming import while_connected


class EventResponse(Response):
    """Sends events as they come; a client that leaves, or takes nothing, ends the work.

    Its status is decided by the first event: what is raised before is raised by `begin`.
    """

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes, None],
        *,
        client_stall_s: float,
        tell_error: Callable[[Problem], bytes],
        headers: dict[str, str] | None = None,
    ) -> None:
        """tell_error: the event of an error after the first."""
        more = {"Cache-Control": "no-cache", **(headers or {})}
        super().__init__(media_type="text/event-stream", headers=more)
        del self.headers["content-length"]
        self._first = first
        self._rest = rest
        self._client_stall_s = client_stall_s
        self._tell_error = tell_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest):
            await while_connected(receive, self._send_all(send))

    async def _send_all(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await self._send_event(send, self._first)
        try:
            async for event in self._rest:
                await self._send_event(send, event)
        except StalledReaderError:
            raise
        except Fishs2Error as error:
            await self._send_event(send, self._tell_error(describe_error(error)))
        await send({"type": "http.response.body", "body": b""})

    async def _send_event(self, send: Send, event: bytes) -> None:
        try:
            async with asyncio.timeout(self._client_stall_s):
                await send({"type": "http.response.body", "body": event, "more_body": True})
        except TimeoutError:
            raise StalledReaderError(
                f"the client took nothing for {self._client_stall_s:g} s"
            ) from None
