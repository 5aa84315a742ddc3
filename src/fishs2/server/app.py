"""The ASGI app, built by a function: tests make as many as they like."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import FastAPI

from fishs2 import __version__
from fishs2.server.clips import CLIPS
from fishs2.server.dialects.elevenlabs.dialect import ELEVENLABS
from fishs2.server.dialects.fish_cloud.dialect import FISH_CLOUD, FISH_COMPAT, FISH_SPEECH
from fishs2.server.dialects.fish_open.dialect import FISH_OPEN
from fishs2.server.dialects.fish_selfhosted.dialect import FISH_SELFHOSTED
from fishs2.server.dialects.lexicons.dialect import LEXICONS
from fishs2.server.dialects.openai.dialect import OPENAI
from fishs2.server.dialects.openai.realtime.dialect import REALTIME
from fishs2.server.dialects.wrapper.dialect import WRAPPER
from fishs2.server.dialects.xtts.dialect import XTTS
from fishs2.server.edge.auth import Doors, Guard
from fishs2.server.edge.cors import WebPages
from fishs2.server.edge.dialect import Dialects
from fishs2.server.edge.error_bodies import describe_errors
from fishs2.server.edge.errors import install_error_handlers
from fishs2.server.edge.hosts import Hosts
from fishs2.server.edge.middleware import BodyLimits, Edge
from fishs2.server.edge.paths import Paths
from fishs2.server.edge.proxies import Proxies, prefix_of
from fishs2.server.examples import show_examples
from fishs2.server.options import ServerOptions
from fishs2.server.status import EXAMPLES as STATUS_EXAMPLES
from fishs2.server.status import docs_router, install_docs_files, status_router
from fishs2.server.wire.addresses import Addresses
from fishs2.server.wire.connections import Connections, WireLimits
from fishs2.server.wire.stopping import Stopping
from fishs2.service.services import Services

DIALECTS = Dialects(
    [
        OPENAI,
        REALTIME,
        WRAPPER,
        FISH_OPEN,
        FISH_SPEECH,
        FISH_CLOUD,
        FISH_SELFHOSTED,
        FISH_COMPAT,
        XTTS,
        ELEVENLABS,
        CLIPS,
        LEXICONS,
    ]
)


_STALL_MARGIN = 1.25
"""Whoever sends speech cuts off who stalls, and says so in the log; this is for all the rest."""

_ALWAYS = frozenset({"/health", "/v1/health", "/metrics"})
"""What is answered although there is no room: whoever watches the server asks just then."""


class Companion(Protocol):
    """A port of another protocol, which starts and ends with the app."""

    async def start(self, ending: Stopping) -> None: ...

    async def close(self) -> None:
        """Return when all that it still does has ended."""
        ...


def create_app(
    services: Services,
    options: ServerOptions,
    *,
    limits: WireLimits | None = None,
    companion: Companion | None = None,
) -> FastAPI:
    """Build the app around `services`, which it starts and closes.

    Whoever serves it needs `state.stopping` and `state.connections`. limits: of connections; None
    means ours. companion: what else serves them.
    """

    app = _bare_app(services, companion)
    doors = Doors()
    app.state.accounts = services.accounts
    app.add_middleware(Guard, accounts=services.accounts, dialects=DIALECTS, doors=doors)
    hosts = Hosts(options.allowed_hosts, public_url=options.public_url)
    app.add_middleware(WebPages, origins=options.cors_origins, hosts=hosts, dialects=DIALECTS)
    app.state.stopping = Stopping()
    connections = app.state.connections = _connections(options, limits or WireLimits())
    app.add_middleware(
        Edge,
        body_stall_s=connections.limits.body_stall_s,
        always=_ALWAYS,
        dialects=DIALECTS,
        stopping=app.state.stopping,
        limits=_body_limits(options),
        request_id_header=options.request_id_header,
    )
    # The last is the first to see a request.
    app.add_middleware(Paths)
    prefix = prefix_of(options.public_url)
    app.add_middleware(Proxies, trusted=options.trusted_proxies, prefix=prefix)
    install_error_handlers(app, answer=DIALECTS.error_answer, note_store_error=services.store.note)
    describe_errors(app, (each.error_body for each in DIALECTS.all))
    show_examples(app, {**DIALECTS.examples(), **STATUS_EXAMPLES})
    routers = [make(services, options) for dialect in DIALECTS.all for make in dialect.routers]
    for router in (*routers, status_router(services, options), docs_router(app)):
        doors.add(router)
        # Not `include_router`, which would work out every route a second time.
        app.router.routes.extend(router.routes)
    install_docs_files(app, doors)
    return app


def _bare_app(services: Services, companion: Companion | None) -> FastAPI:
    """An app without routes, which starts and closes `services` and their companion."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services.start()
        services.prepare_stores()
        try:
            if companion is not None:
                await companion.start(app.state.stopping)
            yield
            if companion is not None:
                await companion.close()
        finally:
            await services.close()

    return FastAPI(
        title="fishs2",
        version=__version__,
        description="Text to speech on your own machine.",
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # One spelling is left of each path.
        redirect_slashes=False,
    )


def _connections(options: ServerOptions, limits: WireLimits) -> Connections:
    return Connections(
        most=options.max_connections,
        most_per_address=options.max_connections_per_address,
        exempt=Addresses(options.trusted_proxies),
        stall_s=_STALL_MARGIN * options.client_stall_s,
        limits=limits,
    )


def _body_limits(options: ServerOptions) -> BodyLimits:
    # A character takes at most twelve bytes, as two escapes in JSON; the rest is for other fields.
    text = 12 * options.max_input_chars + 65_536
    return BodyLimits(options.max_body_bytes, options.max_upload_bytes, text)
