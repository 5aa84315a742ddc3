"""What the edge knows of a dialect, and which dialect a path belongs to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from fishs2.server.edge.error_bodies import ErrorBody, house_error
from fishs2.server.edge.errors import Problem
from fishs2.server.examples import Examples
from fishs2.server.options import ServerOptions
from fishs2.service.services import Services


@dataclass(frozen=True, slots=True)
class Dialect:
    """An API as its clients know it: which paths are its own, and what is special about them.

    prefixes: each with everything below it; one that ends in a slash without itself. error_answer:
    any error on these paths as an answer, of which error_body tells the page that describes the
    API. socket_error: what an open WebSocket is told before it is closed. uploads: paths that take
    files. for_pages: paths that web pages of any origin may call. has_key_in_body: a request that
    has no key in its headers is let through to its route, which reads the body and asks itself;
    has_key_in_frames: the same for WebSockets, whose frames may bring it.
    examples: of all operations that the page shows.
    """

    name: str
    prefixes: tuple[str, ...]
    routers: tuple[Callable[[Services, ServerOptions], APIRouter], ...] = ()
    error_answer: Callable[[Problem], Response] = house_error
    error_body: type[BaseModel] = ErrorBody
    socket_error: Callable[[str], bytes | str] | None = None
    uploads: frozenset[str] = frozenset()
    for_pages: tuple[str, ...] = ()
    has_key_in_body: bool = False
    has_key_in_frames: bool = False
    examples: Examples = field(default_factory=dict)


class Dialects:
    """All dialects of a server. What belongs to none has the errors of the house."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self.all = (*dialects, _HOUSE)
        self._prefixes = [(prefix, each) for each in dialects for prefix in each.prefixes]

    def of(self, path: str) -> Dialect:
        """The dialect of a path."""
        return next((each for prefix, each in self._prefixes if is_in(path, prefix)), _HOUSE)

    def examples(self) -> Examples:
        """What the API page shows for the operations of all dialects."""
        return {key: example for each in self.all for key, example in each.examples.items()}

    def error_answer(self, path: str, problem: Problem) -> Response:
        """An error in the shape of the dialect of `path`."""
        return self.of(path).error_answer(problem)

    async def send_error(
        self, scope: Scope, receive: Receive, send: Send, problem: Problem
    ) -> None:
        """Answer a request, or the handshake of a WebSocket, with an error."""
        response = self.error_answer(scope["path"], problem)
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(response)
        else:
            await response(scope, receive, send)


_HOUSE = Dialect("house", ())


def is_in(path: str, prefix: str) -> bool:
    """Whether a path is `prefix` or below it; below it only, where that ends in a slash."""
    if prefix.endswith("/"):
        return path.startswith(prefix)
    return path == prefix or path.startswith(f"{prefix}/")
