"""Threads for codecs and filters: whoever has the least sound in hand goes first."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fishs2.service.speech.admission import SoundInHand, nothing_in_hand

_T = TypeVar("_T")


class CodingThreads:
    """For the audio paths of one engine. Event loop only; no locks."""

    def __init__(self, num_threads: int) -> None:
        self._free = num_threads
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="fishs2-audio")
        # Bounded: each answer in progress waits for one piece of work.
        self._waiting: dict[asyncio.Future[None], SoundInHand] = {}

    @property
    def threads(self) -> ThreadPoolExecutor:
        """For work that waits for no turn."""
        return self._threads

    async def run(self, work: Callable[[], _T], in_hand: SoundInHand = nothing_in_hand) -> _T:
        """Do this in a thread, once it is the turn of who has so much sound. Raises what it raises.

        Of those who have the same, who asked first goes first.
        """
        await self._take(in_hand)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._hand_over()

    def close(self) -> None:
        """End the threads. No work may be in progress."""
        self._threads.shutdown()

    async def _take(self, in_hand: SoundInHand) -> None:
        if self._free:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = in_hand
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._waiting.pop(waiter, None)
            else:
                # The turn came just before the cancellation: pass it on.
                self._hand_over()
            raise

    def _hand_over(self) -> None:
        waiting = [each for each in self._waiting if not each.done()]
        if waiting:
            waiter = min(waiting, key=lambda each: self._waiting[each]())
            del self._waiting[waiter]
            waiter.set_result(None)
        else:
            self._free += 1
