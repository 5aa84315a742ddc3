"""What a fast reader waits beside many who read one byte a second.

    .venv/bin/python -m benchmarks.slow_readers [--number 500] [--own-limits]

A server of its own with the builtin engine. All of them ask for long speech as streamed mp3; the
fast one asks for a sentence again and again. `arriving` is while the others' speech begins,
`settled` is afterwards. The server takes them all, or with --own-limits as many as it takes by
itself; the last column is how often it refused the fast one with 429.
"""

import argparse
import json
import multiprocessing
import resource
import socket
import tempfile
import time
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.serving import running_server

_TEXT = "A sentence that is asked for again and again, while others read slowly."
_LONG = " ".join(f"Sentence number {n} goes on for a while." for n in range(280))
_PHASE_S = 15.0
_PATIENCE_S = 60.0


def _request(text: str) -> bytes:
    fields = {"model": "fishs2", "input": text, "response_format": "mp3", "stream": True}
    body = json.dumps(fields).encode()
    return (
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def read_slowly(port: int, number: int, begin: Event, end: Event) -> None:
    """Ask for speech `number` times and read a byte of each every second."""
    begin.wait()
    readers = []
    for _ in range(number):
        each = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        each.sendall(_request(_LONG))
        each.setblocking(False)
        readers.append(each)
    while not end.wait(1.0):
        for each in readers:
            with suppress(OSError):
                each.recv(1)


def ask(port: int) -> tuple[float, float] | None:
    """Seconds until the first bytes of sound and until the last; None where it is refused."""
    started_s = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as connection:
        connection.sendall(_request(_TEXT))
        content = b""
        first_s = None
        while piece := connection.recv(65_536):
            content += piece
            if first_s is None and len(content.partition(b"\r\n\r\n")[2]) > 0:
                first_s = time.perf_counter() - started_s
    if content.startswith(b"HTTP/1.1 429"):
        return None
    assert content.startswith(b"HTTP/1.1 200"), content[:200]
    assert first_s is not None
    return first_s, time.perf_counter() - started_s


def measure(port: int, name: str, seconds: float) -> None:
    """Ask for so long, then print one line of the table."""
    answers = []
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        answers.append(ask(port))
        time.sleep(0.05)
    waits_s = [each for each in answers if each is not None]
    first_ms, whole_ms = 1000 * np.array(waits_s).T
    figures = [*np.percentile(first_ms, [50, 99, 100]), *np.percentile(whole_ms, [50, 100])]
    cells = [name, str(len(waits_s)), *(f"{x:.1f}" for x in figures)]
    print(f"| {' | '.join(cells)} | {len(answers) - len(waits_s)} |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--own-limits", action="store_true")
    given = parser.parse_args()
    number = given.number
    most = {"FISHS2_MAX_STREAMS": "1000", "FISHS2_MAX_QUEUE": "1000"}
    limits: dict[str, Any] = {} if given.own_limits else most
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), FISHS2_ENGINE="builtin", **limits) as (url, process),
    ):
        port = int(url.rpartition(":")[2])
        server = psutil.Process(process.pid)
        context = multiprocessing.get_context("spawn")
        begin, end = context.Event(), context.Event()
        others = context.Process(target=read_slowly, args=(port, number, begin, end))
        others.start()
        print("| when | asked | first p50 ms | p99 | largest | whole p50 | largest | 429 |")
        print("|---|---|---|---|---|---|---|---|")
        ask(port)
        measure(port, "alone", _PHASE_S / 2)
        begin.set()
        measure(port, f"{number} arriving", _PHASE_S)
        measure(port, f"{number} settling", _PHASE_S)
        measure(port, f"{number} settled", _PHASE_S)
        print(f"memory {server.memory_info().rss / 1e6:.0f} MB, {server.num_fds()} descriptors")
        end.set()
        others.join()


if __name__ == "__main__":
    main()
