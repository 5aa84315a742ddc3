"""What keys reserve and spend, written by one thread in the order in which it was asked for.

What it is told to end is ended whatever becomes of the task that asked, and is tried again while
the database does not answer. What waits for that is bounded: when it is much, nothing is reserved
until it has been written.
"""

import asyncio
import logging
import math
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fishs2.errors import StoreUnavailableError
from fishs2.store.accounts.keys import note_uses
from fishs2.store.accounts.usage import (
    Outcome,
    Refusal,
    forget,
    release_dead,
    reserve,
    reserve_more,
    say_alive,
    settle,
    shorten_leases,
)
from fishs2.store.database import Database

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long work waits for its turn, while another program holds the database."""

MAX_UNENDED = 10_000
"""Requests that wait to be settled; with so many of them no other begins. 4 MB."""

_T = TypeVar("_T")


class Ledger:
    """The database's thread. For one event loop."""

    def __init__(
        self,
        database: Database,
        *,
        lease_s: float,
        max_unended: int = MAX_UNENDED,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """lease_s: silent for so long, we are dead, and what we have reserved is void.

        max_unended: requests that may wait to be settled before others are refused.
        patience_s: how long a request waits for the work of those before it.
        clock: seconds, which nobody sets; it tells when the machine's time was set.
        """
        self._clock = clock
        self._patience_s = patience_s
        self._database = database
        self._lease_s = lease_s
        self._owner_id = uuid.uuid4().hex
        # One thread: transactions of one process never wait for each other's locks. Its queue is
        # as short as the number of requests: each has one piece of work in it.
        self._thread: ThreadPoolExecutor | None = None
        # Only the thread touches these.
        self._alive_until_s = -math.inf
        self._time_less_clock_s: float | None = None
        self._spares_others_until_s = -math.inf
        # Bounded by `max_unended` and the requests in progress, each of which ends once.
        self._max_unended = max_unended
        self._unended: deque[Callable[[], None]] = deque()

    @property
    def num_unended(self) -> int:
        """Requests that wait to be settled, as the database did not answer."""
        return len(self._unended)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do this in the thread. It is done also if the caller is cancelled meanwhile.

        Raises what `work` raises, and StoreUnavailableError if its turn does not come soon.
        """
        return await self._do(_in_time(work, self._patience_s))

    async def _do(self, work: Callable[[], _T]) -> _T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[_T] = loop.create_future()
        self._submit(work).add_done_callback(
            lambda done: loop.call_soon_threadsafe(_pass_on, done, answer)
        )
        return await answer

    async def reserve(self, key_id: str, num_chars: int, reservation_id: str) -> Refusal | None:
        """Set characters aside under a new id. Returns why not, if not.

        Raises StoreUnavailableError. Nothing stays reserved if it raises or is cancelled.
        """

        is_tried = False

        def work() -> Refusal | None:
            nonlocal is_tried
            if len(self._unended) >= self._max_unended:
                # Raises as long as the database fails, so that no more of them come.
                self._end_unended()
            if time.time() >= self._alive_until_s:
                # Others would take what we reserve for a dead server's.
                self._say_alive()
            is_tried = True
            return reserve(
                self._database,
                key_id,
                num_chars,
                owner_id=self._owner_id,
                reservation_id=reservation_id,
            )

        def undo() -> None:
            def work() -> None:
                forget(self._database, key_id, reservation_id)

            if is_tried:
                self._end(work, or_later=work)

        try:
            return await self.run(work)
        except (asyncio.CancelledError, StoreUnavailableError):
            # It may be reserved by now or in a moment, also if only the answer was lost.
            self._submit(undo)
            raise

    async def reserve_more(
        self, key_id: str, num_chars: int, reservation_id: str
    ) -> Refusal | None:
        """Set more characters aside under an id. Returns why not, if not.

        Raises StoreUnavailableError.
        """

        def work() -> Refusal | None:
            return reserve_more(self._database, key_id, num_chars, reservation_id=reservation_id)

        return await self.run(work)

    async def settle(self, key_id: str, reservation_id: str, outcome: Outcome) -> None:
        """Charge what a request cost; later, if the database does not answer now."""

        def work() -> None:
            settle(self._database, key_id, reservation_id, outcome)

        in_time = _in_time(work, self._patience_s)

        def end() -> None:
            self._end(in_time, or_later=work)

        await self._do(end)

    async def beat(self, uses: dict[str, int]) -> None:
        """Say that we are alive, end what could not be ended, and keep when keys were last used.

        To be called a few times per lease. uses: Unix seconds by key.
        """

        def work() -> None:
            self._say_alive()
            self._end_unended()
            if uses:
                note_uses(self._database, uses)

        await self.run(work)

    async def close(self) -> None:
        """Finish the work that is waiting, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    def _submit(self, work: Callable[[], _T]) -> Future[_T]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="fishs2-database")
        return self._thread.submit(work)

    def _end(self, work: Callable[[], None], *, or_later: Callable[[], None]) -> None:
        try:
            work()
        except StoreUnavailableError as error:
            logger.error("a request will be settled later: %s", error.message)
            self._unended.append(or_later)

    def _end_unended(self) -> None:
        while self._unended:
            self._unended[0]()
            self._unended.popleft()

    def _say_alive(self) -> None:
        now_s = time.time()
        alive_until_s = math.ceil(now_s + self._lease_s)
        say_alive(self._database, self._owner_id, alive_until_s)
        self._alive_until_s = alive_until_s
        # Said before the time was set back, it would keep what the dead have reserved for as long.
        shorten_leases(self._database, alive_until_s)
        if self._may_judge_others(now_s):
            num = release_dead(self._database, now_s)
            if num:
                logger.warning("gave back what %d requests of a dead server had reserved", num)

    def _may_judge_others(self, now_s: float) -> bool:
        """False for a lease after the time was set forth: others have to say that they live."""
        clock_s = self._clock()
        before_s, self._time_less_clock_s = self._time_less_clock_s, now_s - clock_s
        if before_s is not None and now_s - clock_s - before_s > self._lease_s / 2:
            self._spares_others_until_s = clock_s + self._lease_s
        return clock_s >= self._spares_others_until_s


def _in_time(work: Callable[[], _T], patience_s: float) -> Callable[[], _T]:
    """The same work, which fails if it comes to its turn too late."""
    deadline_s = time.monotonic() + patience_s

    def call() -> _T:
        if time.monotonic() > deadline_s:
            raise StoreUnavailableError(
                f"the database has kept those before this one waiting for {patience_s:g} s"
            )
        return work()

    return call


def _pass_on(done: Future[_T], answer: asyncio.Future[_T]) -> None:
    if answer.cancelled():
        return
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
