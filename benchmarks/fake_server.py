"""A server process around the fake engine, for the benchmarks: what is left is our own cost.

Run by benchmarks.server_cost: `python -m benchmarks.fake_server PORT RTF`. On SIGTERM it prints the
delays of a 5 ms timer on its event loop, in ms: p50, p99 and the largest.
"""

import asyncio
import signal
import sys
import time

import numpy as np
import uvicorn

from fishs2.cli.serve import listen, server_config
from fishs2.runtime import open_services, server_options
from fishs2.server.app import create_app
from fishs2.service.services import EngineChoice
from fishs2.settings import load_settings
from tests.fakes import FakeEngine, Timing

_TIMER_S = 0.005


async def watch_loop(delays_s: list[float]) -> None:
    """Append how late each tick of a timer is."""
    while True:
        due_s = time.perf_counter() + _TIMER_S
        await asyncio.sleep(_TIMER_S)
        delays_s.append(time.perf_counter() - due_s)


async def serve(port: int, rtf: float) -> list[float]:
    """Serve until SIGTERM; returns the timer's delays in seconds."""
    engine = FakeEngine(timing=Timing(rtf=rtf, chunk_s=0.1 if rtf else 5.0), num_turns=64)
    settings = load_settings(host="127.0.0.1", port=port)
    services = open_services(settings, EngineChoice(engine, "the benchmark chose it"))
    config = server_config(create_app(services, server_options(settings)), settings)
    delays_s: list[float] = []
    watch = asyncio.create_task(watch_loop(delays_s))
    with listen(settings) as listener:
        await uvicorn.Server(config).serve(sockets=[listener])
    watch.cancel()
    return delays_s


def main() -> None:
    """Serve, then report."""
    # uvicorn raises the signal again when it has shut down; there is a report to make first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    loop = uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop) as runner:
        delays_ms = 1000 * np.array(runner.run(serve(int(sys.argv[1]), float(sys.argv[2]))))
    p50, p99 = np.percentile(delays_ms, [50, 99])
    print(f"{p50:.2f} {p99:.2f} {delays_ms.max():.2f}", flush=True)


if __name__ == "__main__":
    main()
