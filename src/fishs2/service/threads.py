"""Threads for what blocks, begun when they are needed first."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class Threads:
    """At most so many threads. For one event loop."""

    def __init__(self, num_threads: int, name: str) -> None:
        """name: what their names begin with, for whoever looks at the process."""
        self._num_threads = num_threads
        self._name = name
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do this in a thread. Raises what `work` raises."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix=self._name)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for the work in progress, and end the threads; the next call begins new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
