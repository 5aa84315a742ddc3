"""How a server ends: what has begun may finish, for a while; a second signal ends it at once."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import ormsgpack
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fishs2.audio.decode import decode_audio
from fishs2.cli.serve import listen, server_config
from fishs2.server.wire.stopping import DrainingServer
from tests.fakes import FakeEngine
from tests.serving import (
    PATIENCE_S,
    free_port,
    make_app,
    make_services,
    make_settings,
    until,
    wait_until_up,
)

LONG = " ".join(f"Sentence number {n} goes on for a while." for n in range(60))
BODY = {"model": "fishs2", "input": LONG, "response_format": "wav", "stream": True}
SIGNALS = [signal.SIGTERM, signal.SIGINT]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    process: subprocess.Popen[str]
    folder: Path

    def end(self) -> str:
        """Wait until it has ended by itself; its access log."""
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in output, output
        assert "Traceback" not in (self.folder / "logs" / "errors.log").read_text()
        return (self.folder / "logs" / "access.log").read_text()


@contextmanager
def running(folder: Path, *, shutdown_s: int) -> Iterator[Running]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "fishs2", "serve", "--engine", "builtin"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "FISHS2_HOME": str(folder),
            "FISHS2_HOST": "127.0.0.1",
            "FISHS2_PORT": str(port),
            "FISHS2_SHUTDOWN_S": str(shutdown_s),
            "FISHS2_MAX_INPUT_CHARS": "1000000",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_up(url, process)
        yield Running(url, process, folder)
    finally:
        process.kill()
        process.communicate()


def wait_until_refused(url: str) -> None:
    """Wait until nothing new is taken; the test's own limit bounds it."""
    while True:
        try:
            httpx.get(f"{url}/health")
        except httpx.TransportError:
            return


@pytest.mark.parametrize("number", SIGNALS)
def test_a_stream_that_has_begun_is_finished(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path, shutdown_s=300) as server:
        with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=BODY) as answer:
            pieces = answer.iter_raw()
            audio = next(pieces)
            server.process.send_signal(number)
            wait_until_refused(server.url)
            audio += b"".join(pieces)
        log = server.end()

    assert len(decode_audio(audio, max_seconds=3_600).pcm)
    assert "cut by shutdown" not in log
    assert server.process.returncode == 0


def test_a_reader_that_stalls_is_cut_and_logged(tmp_path: Path) -> None:
    with running(tmp_path, shutdown_s=1) as server:
        with httpx.stream(
            "POST", f"{server.url}/v1/audio/speech", json={**BODY, "input": LONG * 60}
        ) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            server.process.send_signal(signal.SIGTERM)
            log = server.end()
            with pytest.raises(httpx.TransportError):
                list(pieces)

    assert 'end="cut by shutdown"' in log


def test_a_second_signal_ends_it_although_a_reader_stalls(tmp_path: Path) -> None:
    with running(tmp_path, shutdown_s=3_000) as server:
        with httpx.stream(
            "POST", f"{server.url}/v1/audio/speech", json={**BODY, "input": LONG * 60}
        ) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            server.process.send_signal(signal.SIGTERM)
            wait_until_refused(server.url)
            server.process.send_signal(signal.SIGTERM)
            log = server.end()

    assert "cut by shutdown" in log


def test_idle_connections_are_closed_at_once(tmp_path: Path) -> None:
    with running(tmp_path, shutdown_s=3_000) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/health").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        server.end()

    assert server.process.returncode == 0


def receive_all(socket: ClientConnection, events: list[dict[str, Any]]) -> None:
    """Add events until the connection is closed. Raises ConnectionClosed."""
    while True:
        events.append(ormsgpack.unpackb(socket.recv(decode=False)))


@pytest.mark.parametrize("has_start", [True, False])
def test_a_websocket_is_told_to_come_again(has_start: bool, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    with running(tmp_path, shutdown_s=3_000) as server:
        url = f"{server.url.replace('http', 'ws')}/v1/tts/live"
        with connect(url, open_timeout=PATIENCE_S) as socket:
            if has_start:
                text = {"text": "", "format": "pcm"}
                socket.send(ormsgpack.packb({"event": "start", "request": text}))
                socket.send(ormsgpack.packb({"event": "text", "text": "Hello there. And"}))
                events.append(ormsgpack.unpackb(socket.recv(decode=False)))
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                receive_all(socket, events)
        server.end()

    assert events[-1]["event"] == "finish"
    assert events[-1]["reason"] == "error"
    assert "shutting down" in events[-1]["message"]
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


@asynccontextmanager
async def draining(
    engine: FakeEngine, folder: Path, *, drain_s: float
) -> AsyncIterator[tuple[httpx.AsyncClient, DrainingServer]]:
    """A server in this event loop that ends as a real one does."""
    settings = make_settings(data_dir=folder / "data", voices_dir=folder / "voices")
    app = make_app(make_services(engine, settings), settings)
    server = DrainingServer(server_config(app, settings), app.state.stopping, drain_s=drain_s)
    with listen(make_settings(host="127.0.0.1", port=0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
            yield client, server
        server.should_exit = True
        await task


REQUESTS = {
    "cached": ("/api/open/tts", {"reference_id": "default", "text": LONG[:300], "cache": True}),
    "whole": ("/v1/audio/speech", {**BODY, "stream": False}),
}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_who_has_no_answer_when_the_time_is_over_gets_an_error(
    kind: str, tmp_path: Path
) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    path, body = REQUESTS[kind]
    async with draining(engine, tmp_path, drain_s=0.0) as (client, server):
        asking = asyncio.create_task(client.post(path, json=body))
        await until(lambda: engine.num_active > 0)
        server.should_exit = True
        answer = await asking

    assert answer.status_code == (500 if kind == "cached" else 503)
    error = answer.json() if kind == "cached" else answer.json()["error"]
    assert error["code"] == "shutting_down"
    assert answer.headers["retry-after"]
    assert engine.num_active == 0


@pytest.mark.parametrize("kind", REQUESTS)
async def test_who_waits_is_answered_before_the_server_ends(kind: str, tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    path, body = REQUESTS[kind]
    async with draining(engine, tmp_path, drain_s=300.0) as (client, server):
        asking = asyncio.create_task(client.post(path, json=body))
        await until(lambda: engine.num_active > 0)
        server.should_exit = True
        engine.gate.set()
        answer = await asking

    assert answer.status_code == 200
