"""`fishs2 serve`: run the server."""

import errno
import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer
from fastapi import FastAPI

from fishs2.bootstrap.plan import Plan, plan_here
from fishs2.cli.planning import describe_home
from fishs2.errors import SettingsError
from fishs2.runtime import check_database, log_files, open_here, server_options, wyoming_options
from fishs2.server.app import Companion, create_app
from fishs2.server.logs import log_to_files
from fishs2.server.wire import descriptors
from fishs2.server.wire.memory import giving_back
from fishs2.server.wire.protocols import WireConfig
from fishs2.server.wire.readers import keep_little
from fishs2.server.wire.stopping import DrainingServer
from fishs2.service.services import Services
from fishs2.settings import (
    Settings,
    describe_unknown,
    export_other_lines,
    load_settings,
    unknown_names,
)
from fishs2.settings_sources import ENV_PREFIX, read_sources

logger = logging.getLogger(__name__)

_LATE_S = 5
"""uvicorn's own limit, for what has not ended when it was cut."""

_PING_INTERVAL_S = 20
"""As Fish Audio's clients do it themselves."""

_KEEP_ALIVE_S = 65
"""Longer than the clients and proxies that reuse a connection for a minute, so that none of them
sends into one that is just being closed."""

_BACKLOG = 2048
"""Connections that may wait to be accepted, where there are descriptors for them."""

Host = Annotated[str | None, typer.Option(help="Address to listen on (FISHS2_HOST).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (FISHS2_PORT).")]
Engine = Annotated[str | None, typer.Option(help="auto, builtin, s2 or s2cpp (FISHS2_ENGINE).")]
Backend = Annotated[
    str | None, typer.Option(help="auto, cuda, vulkan, metal or cpu (FISHS2_BACKEND).")
]
Quant = Annotated[str | None, typer.Option(help="Quantisation of S2 Pro (FISHS2_MODEL_QUANT).")]


Wyoming = Annotated[
    bool,
    typer.Option("--wyoming", help="Serve Home Assistant too (FISHS2_WYOMING)."),
]


def serve(
    host: Host = None,
    port: Port = None,
    engine: Engine = None,
    backend: Backend = None,
    model_quant: Quant = None,
    wyoming: Wyoming = False,
) -> None:
    """Start the server and keep it running until Ctrl-C. Downloads nothing; run.py does."""
    export_other_lines()
    settings = load_settings(
        host=host,
        port=port,
        engine=engine,
        backend=backend,
        model_quant=model_quant,
        wyoming=wyoming or None,
    )
    run_server(settings, plan_here(settings))


def run_server(settings: Settings, plan: Plan) -> None:
    """Serve until a signal comes. Raises SettingsError if the server cannot start."""
    services = open_here(settings, plan)
    # Before the port opens: nobody is to see a server that is about to give up.
    check_database(settings)
    descriptors.raise_limit()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings))
        stack.enter_context(log_to_files(log_files(settings)))
        for name in unknown_names():
            logger.warning("%s", describe_unknown(name))
        for notice in read_sources().notices:
            logger.warning("%s", notice)
        logger.info("fishs2 listens on %s", _url(listener))
        logger.info("its files are in %s", describe_home(settings))
        companion = stack.enter_context(_wyoming(services, settings))
        app = create_app(services, server_options(settings), companion=companion)
        config = server_config(app, settings)
        server = DrainingServer(config, app.state.stopping, drain_s=settings.shutdown_s)
        services.when_misconfigured(lambda: setattr(server, "should_exit", True))
        stack.enter_context(giving_back(lambda: services.status().num_streams == 0))
        server.run(sockets=[listener])
    if isinstance(services.failure, SettingsError):
        raise services.failure


@contextmanager
def _wyoming(services: Services, settings: Settings) -> Iterator[Companion | None]:
    """The port of Wyoming in this block, if it is on. Raises SettingsError."""
    options = wyoming_options(settings)
    if options is None:
        yield None
        return
    # Most servers have no use for it, and it takes a while to load.
    from fishs2.wyoming.listener import WyomingListener

    with open_port(options.host, options.port, names="WYOMING_") as listener:
        host, port = listener.getsockname()[:2]
        logger.info("Home Assistant (Wyoming) is served on %s port %d", host, port)
        yield WyomingListener(listener, services, options)


def server_config(app: FastAPI, settings: Settings, *, shutdown_s: int | None = None) -> WireConfig:
    """How uvicorn is to serve the app."""
    return WireConfig(
        app,
        connections=app.state.connections,
        backlog=descriptors.backlog(_BACKLOG),
        # The largest is a start with recordings in it, which over HTTP would be a body.
        ws_max_size=server_options(settings).max_body_bytes,
        ws_ping_interval=_PING_INTERVAL_S,
        # Who reads nothing answers no pings either: both mean the same patience.
        ws_ping_timeout=settings.client_stall_s,
        # Audio does not get smaller.
        ws_per_message_deflate=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s) + _LATE_S
        if shutdown_s is None
        else shutdown_s,
    )


def listen(settings: Settings) -> socket.socket:
    """Open the port. Raises SettingsError that says who to blame and what to do."""
    listener = open_port(settings.host, settings.port)
    keep_little(listener)
    # Connections inherit it. asyncio sets it only where a socket was made with its protocol, and
    # without it a short answer on an open connection waits 40 ms for the client's kernel.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def open_port(host: str, port: int, *, names: str = "") -> socket.socket:
    """Listen there. names: how the settings of host and port begin, after our prefix.

    Raises SettingsError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsError(_why_not_listening(host, port, names, error)) from None
    listener.set_inheritable(False)
    return listener


def _why_not_listening(host: str, port: int, names: str, error: OSError) -> str:
    where = f"cannot listen on {host} port {port}"
    flags = ("", "") if names else ("--host or ", "--port or ")
    # create_server hands on the number of an error of the name service, not its class.
    if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN):
        return (
            f"{where}: this machine has no such address; choose another with {flags[0]}"
            f"{ENV_PREFIX}{names}HOST, for example 127.0.0.1"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{where}: {reason}; choose another port with {flags[1]}{ENV_PREFIX}{names}PORT"


def _url(listener: socket.socket) -> str:
    """The address to open on this machine, with the port that the system gave."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
