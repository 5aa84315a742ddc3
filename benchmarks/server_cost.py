"""What the server itself costs: per request, and to the event loop while 32 streams run.

    .venv/bin/python -m benchmarks.server_cost

Requests: a fake engine that answers at once, a 5-second whole WAV, one keep-alive connection. CPU
is the server process's own, wall time is the client's. Loop: 32 clients read mp3 streams that are
made at four times real time; a 5 ms timer in the server tells how late it is.
"""

import concurrent.futures
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import psutil

from tests.serving import free_port

NUM_REQUESTS = 2_000
NUM_STREAMS = 32
NUM_RUNS = 3
TEXT = "A sentence of seventy-five characters, which is five seconds for the fake."
LONG_TEXT = f"{TEXT} " * 6


@contextlib.contextmanager
def fake_server(rtf: float) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run benchmarks.fake_server; yields its port and process once it answers."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fake_server", str(port), str(rtf)],
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(200):
        with contextlib.suppress(OSError):
            speak(http.client.HTTPConnection("127.0.0.1", port), response_format="wav")
            break
        time.sleep(0.05)
    try:
        yield port, process
    finally:
        process.terminate()
        process.wait()


def speak(connection: http.client.HTTPConnection, **fields: object) -> int:
    """Ask for speech and read all of it; returns its bytes."""
    body = json.dumps({"model": "fishs2", "input": TEXT, **fields})
    connection.request(
        "POST", "/v1/audio/speech", body, headers={"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    return len(answer.read())


def measure_requests() -> tuple[float, float, float]:
    """CPU per request, and wall p50 and p99, in ms."""
    with fake_server(rtf=0.0) as (port, process):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(200):
            speak(connection, response_format="wav")
        before = psutil.Process(process.pid).cpu_times()
        wall_ms = []
        for _ in range(NUM_REQUESTS):
            started_s = time.perf_counter()
            speak(connection, response_format="wav")
            wall_ms.append(1000 * (time.perf_counter() - started_s))
        after = psutil.Process(process.pid).cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    p50, p99 = np.percentile(wall_ms, [50, 99])
    return 1000 * cpu_s / NUM_REQUESTS, float(p50), float(p99)


def measure_loop() -> tuple[float, float, float]:
    """Delay of the server's event loop in ms while streams run: p50, p99, largest."""
    with fake_server(rtf=0.25) as (port, process):

        def read_stream(_: int) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            return speak(connection, input=LONG_TEXT, response_format="mp3", stream=True)

        with concurrent.futures.ThreadPoolExecutor(NUM_STREAMS) as pool:
            list(pool.map(read_stream, range(NUM_STREAMS)))
        process.terminate()
        assert process.stdout is not None
        p50, p99, largest = map(float, process.stdout.read().split())
    return p50, p99, largest


def main() -> None:
    """Measure several times and print medians."""
    requests = [measure_requests() for _ in range(NUM_RUNS)]
    loops = [measure_loop() for _ in range(NUM_RUNS)]
    for name, runs, column in (
        ("CPU per request", requests, 0),
        ("wall per request, p50", requests, 1),
        ("wall per request, p99", requests, 2),
        ("event loop delay, p50", loops, 0),
        ("event loop delay, p99", loops, 1),
        ("event loop delay, largest", loops, 2),
    ):
        values = [run[column] for run in runs]
        print(
            f"{name:<28} {statistics.median(values):8.2f} ms"
            f"   ({min(values):.2f} to {max(values):.2f}, {NUM_RUNS} runs)"
        )


if __name__ == "__main__":
    main()
