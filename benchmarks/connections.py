"""How soon /health answers while others hold connections, and what they cost the server.

    .venv/bin/python -m benchmarks.connections [CASE...]

A server of its own with the builtin engine; whoever attacks is another process, on this machine.
/health is asked for on new connections, one after the other. `alone` is the same without anybody.
"""

import argparse
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import psutil

from tests.serving import running_server

_SECONDS = 12.0
_REQUEST = b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
_MEGABYTE = 1_000_000
_PATIENCE_S = 60.0


def _alone(_: int, end: Event) -> str:
    end.wait(_SECONDS)
    return ""


def _idle(port: int, end: Event) -> str:
    """2,000 connections that send nothing."""
    return _hold(port, end, 2_000, b"", b"")


def _slowloris(port: int, end: Event) -> str:
    """700 connections with a head that never ends."""
    return _hold(port, end, 700, b"GET /health HTTP/1.1\r\nHost: test\r\n", b"X-A: 1\r\n")


def _hold(port: int, end: Event, number: int, start: bytes, more: bytes) -> str:
    held = [_connect(port) for _ in range(number)]
    for each in held:
        _send(each, start)
    until_s = time.monotonic() + _SECONDS
    while time.monotonic() < until_s and not end.is_set():
        time.sleep(1)
        for each in held:
            _send(each, more)
    num_open = sum(_is_open(each) for each in held)
    return f"{num_open} of {number} still open after {_SECONDS:.0f} s"


def _large_header(port: int, _: Event) -> str:
    """One header of 100 MB."""
    connection = _connect(port)
    _send(connection, b"GET /health HTTP/1.1\r\nHost: test\r\nX-Large: ")
    return _pour(connection, (b"x" * _MEGABYTE for _ in range(100)))


def _many_headers(port: int, _: Event) -> str:
    """20 MB of small headers."""
    connection = _connect(port)
    _send(connection, b"GET /health HTTP/1.1\r\nHost: test\r\n")
    return _pour(connection, (b"X-A: 1234\r\n" * 90_000 for _ in range(20)))


def _long_target(port: int, _: Event) -> str:
    """A request target of 20 MB."""
    connection = _connect(port)
    _send(connection, b"GET /v1/audio/speech?input=")
    return _pour(connection, (b"x" * _MEGABYTE for _ in range(20)))


def _stalled_bodies(port: int, end: Event) -> str:
    """200 bodies that never come."""
    start = b"POST /v1/audio/speech HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n{"
    return _hold(port, end, 200, start, b"")


_CASES: dict[str, Callable[[int, Event], str]] = {
    "alone": _alone,
    "idle": _idle,
    "slowloris": _slowloris,
    "large-header": _large_header,
    "many-headers": _many_headers,
    "long-target": _long_target,
    "stalled-bodies": _stalled_bodies,
}


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)


def _send(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):
        connection.sendall(content)


def _is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65_536):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _pour(connection: socket.socket, pieces: Iterator[bytes]) -> str:
    sent = 0
    try:
        for piece in pieces:
            connection.sendall(piece)
            sent += len(piece)
        connection.sendall(b"\r\n\r\n")
    except OSError as error:
        sent_until = f"cut after {sent / _MEGABYTE:.0f} MB ({type(error).__name__})"
    else:
        sent_until = "all was taken"
    with suppress(OSError):
        status = connection.recv(200).partition(b"\r\n")[0].decode()
        return f"{sent_until}, answer: {status or 'none'}"
    return f"{sent_until}, no answer"


def _attack(
    name: str, port: int, end: Event, told: "multiprocessing.SimpleQueue[str]", begin: Event
) -> None:
    begin.wait()
    told.put(_CASES[name](port, end))


def _ask(port: int) -> float:
    """Seconds until /health has answered, connection included."""
    started_s = time.perf_counter()
    with _connect(port) as connection:
        connection.sendall(_REQUEST)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(answer[:80].decode(errors="replace") or "closed without an answer")
    return time.perf_counter() - started_s


def measure(name: str, folder: Path) -> str:
    """One line of the table."""
    with running_server(folder, FISHS2_ENGINE="builtin") as (url, process):
        port = int(url.rpartition(":")[2])
        server = psutil.Process(process.pid)
        before = server.memory_info().rss
        context = multiprocessing.get_context("spawn")
        end, begin, told = context.Event(), context.Event(), context.SimpleQueue()
        attacker = context.Process(target=_attack, args=(name, port, end, told, begin))
        attacker.start()
        begin.set()
        waits_s, num_failed, most = [], 0, before
        while attacker.is_alive():
            try:
                waits_s.append(_ask(port))
            except OSError:
                num_failed += 1
            most = max(most, server.memory_info().rss)
            time.sleep(0.01)
        outcome = told.get() if not told.empty() else "it ended itself"
        p50, p99 = np.percentile(1000 * np.array(waits_s), [50, 99])
        return (
            f"| {name} | {len(waits_s)} | {num_failed} | {p50:.1f} | {p99:.1f} "
            f"| {1000 * max(waits_s):.0f} | {(most - before) / _MEGABYTE:.0f} | {outcome} |"
        )


def main() -> None:
    """Print a table, case by case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(_CASES)}; all")
    chosen = parser.parse_args().cases or list(_CASES)
    if hasattr(os, "sysconf") and sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| case | asked | failed | p50 ms | p99 ms | largest ms | memory MB | outcome |")
    print("|---|---|---|---|---|---|---|---|")
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(name, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
