"""What the server process holds over time, as the system and the server itself see it."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx2
import psutil

from benchmarks.campaign.served import Server
from benchmarks.soak import read_metrics


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. children_bytes: the resident memory of the engine's processes together.

    health_s: how long /health took beside everything else. num_tasks: of the event loop.
    """

    at_s: float
    memory_bytes: int
    children_bytes: int
    num_children: int
    num_files: int
    num_threads: int
    num_tasks: int
    health_s: float


class Watch:
    """Looks at the server again and again."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"}
        self.samples: list[Sample] = []

    async def work(self, every_s: float, ends_s: float) -> None:
        """Look until this moment of the monotonic clock."""
        while time.monotonic() < ends_s:
            self.samples.append(await self.look())
            await asyncio.sleep(every_s)

    async def look(self) -> Sample:
        """One sample, on a connection of its own."""
        async with httpx2.AsyncClient(
            base_url=self._server.url, timeout=60, trust_env=False, headers=self._headers
        ) as client:
            asked_s = time.perf_counter()
            (await client.get("/health")).raise_for_status()
            health_s = time.perf_counter() - asked_s
            metrics = read_metrics((await client.get("/metrics")).raise_for_status().text)
        process, children_bytes, num_children = self._server.process, 0, 0
        for child in self._server.living_children():
            with suppress(psutil.NoSuchProcess):
                children_bytes += child.memory_info().rss
                num_children += 1
        return Sample(
            time.monotonic(),
            process.memory_info().rss,
            children_bytes,
            num_children,
            process.num_fds(),
            process.num_threads(),
            int(metrics["fishs2_tasks"]),
            health_s,
        )


def memory_drift(samples: Sequence[Sample]) -> float:
    """By how much more memory the last tenth of a run takes than the second, as a share of it.

    Each is the median of its samples. What the requests of a moment hold is in it: it wanders by
    some percent. The first tenth is left out, in which pools and caches fill.
    """
    tenth = max(1, len(samples) // 10)
    second, last = samples[tenth : 2 * tenth] or samples, samples[-tenth:]
    before, after = (
        statistics.median(each.memory_bytes for each in part) for part in (second, last)
    )
    return after / before - 1


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else 0.0
