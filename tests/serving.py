"""Real servers on loopback: in this event loop around a fake, or as a process of their own."""

import asyncio
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
from fastapi import FastAPI

from fishs2.cli.serve import listen, server_config
from fishs2.engines.base import SpeechEngine
from fishs2.listening.base import Listener
from fishs2.runtime import open_services, server_options
from fishs2.server.app import create_app
from fishs2.server.wire.connections import WireLimits
from fishs2.service.services import EngineChoice, Services
from fishs2.settings import Settings
from tests.fakes import FakeEngine
from tests.listeners import AbsentListener

# Other tests set the seed of the usual one.
_random = random.SystemRandom()

PATIENCE_S = 200.0
"""Against what hangs for ever, for those who must name a limit; no machine is too busy for it."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server around a fake engine. client: an HTTP client whose base URL is the server's."""

    url: str
    client: httpx.AsyncClient
    engine: FakeEngine
    services: Services
    settings: Settings


@asynccontextmanager
async def serving(
    engine: SpeechEngine | None = None,
    *,
    limits: WireLimits | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> AsyncIterator[Served]:
    """Run a server in this event loop; yields when the port is open.

    limits: of connections; None means the server's own. listener: None is one that is not here.
    """
    # Tests that bring an engine of their own do not look at it as a fake one.
    fake = cast(FakeEngine, engine or FakeEngine())
    files = tempfile.TemporaryDirectory(prefix="fishs2-")
    folder = Path(files.name)
    folders = {"voices_dir": folder / "voices", "data_dir": folder / "data"}
    made = make_settings(**{**folders, **settings})
    services = make_services(fake, made, listener)
    app = create_app(services, server_options(made), limits=limits)
    config = server_config(app, made, shutdown_s=1)
    server = _Server(config)
    with listen(make_settings(host="127.0.0.1", port=0)) as port:
        url = f"http://127.0.0.1:{port.getsockname()[1]}"
        task = asyncio.create_task(server.serve(sockets=[port]))
        try:
            await until(lambda: server.started)
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False) as client:
                yield Served(url, client, fake, services, made)
        finally:
            server.stopping.set()
            await task
            files.cleanup()


class _Server(uvicorn.Server):
    """Ends at once: uvicorn's own looks ten times a second whether it should, and sleeps then."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while tasks := list(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=self.config.timeout_graceful_shutdown)
            for task in late:
                task.cancel()
        while self.server_state.connections:  # noqa: ASYNC110 - they take themselves off the list
            await asyncio.sleep(0.002)
        await self.lifespan.shutdown()


async def until(is_true: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own time limit bounds it."""
    while not is_true():  # noqa: ASYNC110 - what is watched has no event to wait for
        await asyncio.sleep(0.002)


def make_services(
    engine: SpeechEngine, settings: Settings, listener: Listener | None = None
) -> Services:
    """Services around an engine, not yet started."""
    choice = EngineChoice(engine, "the test chose it")
    return open_services(settings, choice, listener=listener or AbsentListener())


def make_app(services: Services, settings: Settings) -> FastAPI:
    """The app around services, which it starts and closes."""
    return create_app(services, server_options(settings))


def make_settings(**settings: Any) -> Settings:
    """Settings that no environment and no `.env` has a say in; the values are not checked."""
    return Settings.model_construct(**settings)


@contextmanager
def server_process(
    folder: Path,
    *,
    module: str = "fishs2",
    arguments: tuple[str, ...] = ("serve",),
    wait_for_engine: bool = True,
    **env: str,
) -> Iterator[str]:
    """Run `fishs2 serve` on a free port, with its files in `folder`; yields its URL."""
    started = running_server(
        folder, module=module, arguments=arguments, wait_for_engine=wait_for_engine, **env
    )
    with started as (url, _):
        yield url


@contextmanager
def running_server(
    folder: Path,
    *,
    module: str = "fishs2",
    arguments: tuple[str, ...] = ("serve",),
    wait_for_engine: bool = True,
    **env: str,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Like `server_process`; yields the process too, which may be ended by whoever has it."""
    port = free_port()
    given = {
        "FISHS2_HOME": str(folder),
        "FISHS2_HOST": "127.0.0.1",
        "FISHS2_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        # The modules that this process has, also where it was told to look elsewhere for them.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **given, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(url, process, engine=wait_for_engine)
        yield url, process
    finally:
        process.terminate()
        try:
            output, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"the server did not end after SIGTERM:\n{output}") from None
    assert "Traceback" not in output, output


def wait_until_up(url: str, process: subprocess.Popen[str], *, engine: bool = True) -> None:
    """Wait for /health, and for the engine. Raises AssertionError when the server ends.

    The test's own time limit bounds it.
    """
    # One client, and one that reads no certificates: that takes longer than a hundred requests.
    with httpx.Client(timeout=PATIENCE_S, verify=False) as client:
        while True:
            if process.poll() is not None:
                raise AssertionError(f"the server ended: {process.communicate()[0]}")
            try:
                if client.get(f"{url}/health").json()["ready"] or not engine:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)


def free_port() -> int:
    """A TCP port that nobody has, and that no system gives to whoever asks for any."""
    while True:
        port = _random.randrange(10_000, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
