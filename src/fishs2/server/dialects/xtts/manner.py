"""Settings that are global on XTTS servers: here each client has its own, and none is on disk."""

from collections import OrderedDict
from typing import Annotated

from fastapi import Request
from pydantic import Field

from fishs2.engines.base import Sampling
from fishs2.server.edge.fields import Integer, JsonBody, Number

_MAX_CLIENTS = 1_000
"""Clients whose settings are kept; whoever has not spoken for longest has to send them again."""

_WITHOUT_EFFECT = ("stream_chunk_size", "length_penalty", "enable_text_splitting")


class Manner(JsonBody):
    """How a client wants to be spoken to. None is ours."""

    stream_chunk_size: Annotated[Integer, Field(ge=1, le=10_000)] | None = Field(
        None, description="Accepted; sound is sent as it is made."
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(
        None, description="0 always takes the likeliest token."
    )
    speed: Annotated[Number, Field(ge=0.25, le=4)] | None = Field(None, description="Pace.")
    length_penalty: Annotated[Number, Field(ge=-100, le=100)] | None = Field(
        None, description="Accepted; S2 Pro has none."
    )
    repetition_penalty: Annotated[Number, Field(ge=0, le=10)] | None = Field(
        None, description="Above 1 avoids repeated tokens."
    )
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Share of the likeliest tokens to draw from."
    )
    top_k: Annotated[Integer, Field(ge=0, le=1_000)] | None = Field(
        None, description="How many of the likeliest tokens; 0 is all."
    )
    enable_text_splitting: bool | None = Field(
        None, description="Accepted; texts are always split at their sentences."
    )

    @property
    def sampling(self) -> Sampling:
        """What of it the engine draws by."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
        )

    @property
    def unheeded(self) -> tuple[str, ...]:
        """What of it changes nothing."""
        return tuple(name for name in _WITHOUT_EFFECT if getattr(self, name) is not None)


class Manners:
    """Of all clients: by key, or by address where there are no keys. One event loop."""

    def __init__(self) -> None:
        # Bounded by _MAX_CLIENTS.
        self._known: OrderedDict[str, Manner] = OrderedDict()

    def of(self, request: Request) -> Manner:
        """What a client has set."""
        manner = self._known.get(client := _client(request))
        if manner is None:
            return Manner()
        self._known.move_to_end(client)
        return manner

    def set(self, request: Request, manner: Manner) -> None:
        """Keep what a client sets, in place of all that it had set."""
        self._known[client := _client(request)] = manner
        self._known.move_to_end(client)
        while len(self._known) > _MAX_CLIENTS:
            self._known.popitem(last=False)


def _client(request: Request) -> str:
    key = request.state.principal.key
    if key is not None:
        return f"key {key.id}"
    return f"address {request.client.host if request.client else ''}"
