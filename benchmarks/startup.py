"""How long a start takes: importing the server, and `bash run.sh` until the port answers.

    .venv/bin/python -m benchmarks.startup

The environment exists already, as on every start but the first.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import httpx

from tests.serving import free_port

NUM_RUNS = 5


def measure_import() -> float:
    """Seconds that `import fishs2.server.app` adds to a start of Python."""

    def run(code: str) -> float:
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - started_s

    return run("import fishs2.server.app") - run("pass")


def measure_start(home: str) -> tuple[float, float]:
    """Seconds from `bash run.sh` to the first answer, and to `ready`."""
    port = free_port()
    environment = {**os.environ, "FISHS2_HOME": home, "FISHS2_HOST": "127.0.0.1"}
    started_s = time.perf_counter()
    server = subprocess.Popen(
        ["bash", "run.sh", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL
    )
    answered_s = None
    try:
        while True:
            try:
                health = httpx.get(f"http://127.0.0.1:{port}/health").json()
            except httpx.TransportError:
                time.sleep(0.005)
                continue
            answered_s = answered_s or time.perf_counter() - started_s
            if health["ready"]:
                return answered_s, time.perf_counter() - started_s
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measure several times and print medians."""
    with tempfile.TemporaryDirectory() as home:
        imports = [measure_import() for _ in range(NUM_RUNS)]
        starts = [measure_start(home) for _ in range(NUM_RUNS)]
    print(f"import fishs2.server.app  {statistics.median(imports):.2f} s")
    print(f"run.sh to first answer    {statistics.median(start[0] for start in starts):.2f} s")
    print(f"run.sh to ready           {statistics.median(start[1] for start in starts):.2f} s")


if __name__ == "__main__":
    main()
