"""What is reserved and settled while the database fails, and when it is there again."""

import asyncio
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fishs2.errors import StoreFullError, StoreUnavailableError
from fishs2.service.accounts.ledger import Ledger
from fishs2.store.accounts.keys import Key, NewKey, create_key, find_key
from fishs2.store.accounts.usage import Outcome, read_usage, today
from fishs2.store.database import Database, Run

MAX_UNENDED = 20


class Failing(Database):
    """Says that the disk is full, while it is told to: at once, or when all has been written."""

    is_full = False
    loses_answers = False
    num_tries = 0

    @contextmanager
    def write_prepared(self) -> Iterator[Run]:
        self.num_tries += 1
        if self.is_full:
            raise StoreFullError("the disk is full")
        with super().write_prepared() as run:
            yield run
        if self.loses_answers:
            raise StoreUnavailableError("the connection broke")


@pytest.fixture
def database(tmp_path: Path) -> Failing:
    made = Failing(f"sqlite:///{tmp_path / 'fishs2.db'}")
    made.migrate()
    return made


@asynccontextmanager
async def opened(database: Database) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, lease_s=1_000, max_unended=MAX_UNENDED)
    try:
        yield ledger
    finally:
        await ledger.close()


def state(database: Database, key: Key) -> tuple[int, int, int]:
    """spent, reserved, active."""
    found = find_key(database, key.id)
    assert found is not None
    return found.spent, found.reserved, found.active


async def test_what_waits_is_bounded_while_the_disk_stays_full(database: Failing) -> None:
    key, _ = create_key(database, NewKey("me", granted=1_000))
    async with opened(database) as ledger:
        database.is_full = True
        for _ in range(10 * MAX_UNENDED):
            with pytest.raises(StoreFullError):
                await ledger.reserve(key.id, 10, uuid.uuid4().hex)

        # Each was told to end what it may have reserved, until there were too many of them.
        await ledger.run(lambda: None)
        assert ledger.num_unended == MAX_UNENDED
        database.is_full = False
        assert await ledger.reserve(key.id, 10, "last") is None
        assert ledger.num_unended == 0
        await ledger.settle(key.id, "last", Outcome(10))

    assert state(database, key) == (10, 0, 0)


async def test_requests_in_progress_are_settled_when_there_is_room_again(
    database: Failing,
) -> None:
    key, _ = create_key(database, NewKey("me", granted=10_000))
    async with opened(database) as ledger:
        ids = [uuid.uuid4().hex for _ in range(3 * MAX_UNENDED)]
        for each in ids:
            assert await ledger.reserve(key.id, 10, each) is None
        database.is_full = True
        await asyncio.gather(*(ledger.settle(key.id, each, Outcome(7)) for each in ids))

        # None of these is lost: they had been let in.
        assert ledger.num_unended == len(ids)
        with pytest.raises(StoreFullError):
            await ledger.reserve(key.id, 10, "refused")
        assert ledger.num_unended == len(ids)
        database.is_full = False
        await ledger.beat({})
        assert ledger.num_unended == 0

    assert state(database, key) == (7 * len(ids), 0, 0)


async def test_reservations_whose_answers_are_lost_are_given_back(database: Failing) -> None:
    key, _ = create_key(database, NewKey("me", granted=100))
    async with opened(database) as ledger:
        database.loses_answers = True
        for _ in range(5):
            with pytest.raises(StoreUnavailableError):
                await ledger.reserve(key.id, 10, uuid.uuid4().hex)
        database.loses_answers = False
        await ledger.beat({})

    assert state(database, key) == (0, 0, 0)


async def test_reservation_that_was_never_tried_leaves_nothing_to_end(database: Failing) -> None:
    key, _ = create_key(database, NewKey("me", granted=100))
    async with opened(database) as ledger:
        database.is_full = True
        for _ in range(MAX_UNENDED):
            with pytest.raises(StoreFullError):
                await ledger.reserve(key.id, 10, uuid.uuid4().hex)
        await ledger.run(lambda: None)
        before = database.num_tries
        with pytest.raises(StoreFullError):
            await ledger.reserve(key.id, 10, uuid.uuid4().hex)
        await ledger.run(lambda: None)

    # Once, to end the first of those that wait.
    assert database.num_tries == before + 1


async def test_lock_that_another_program_holds_loses_and_doubles_nothing(tmp_path: Path) -> None:
    file = tmp_path / "fishs2.db"
    database = Database(f"sqlite:///{file}", busy_timeout_s=0.02)
    database.migrate()
    key, _ = create_key(database, NewKey("me", granted=1_000))
    async with opened(database) as ledger:
        for each in ("a", "b"):
            assert await ledger.reserve(key.id, 10, each) is None
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match="locked"):
                await ledger.reserve(key.id, 10, "refused")
            for each in ("a", "b", "a"):
                await ledger.settle(key.id, each, Outcome(7))
            with pytest.raises(StoreUnavailableError, match="locked"):
                await ledger.beat({})
            assert state(database, key) == (0, 20, 2)
        await ledger.beat({})
        await ledger.settle(key.id, "b", Outcome(7))

    [day] = read_usage(database, key.id, today())
    assert state(database, key) == (14, 0, 0)
    assert (day.num_requests, day.num_chars) == (2, 14)
    database.close()


LEASE_S = 30.0


@dataclass(slots=True)
class Times:
    """The machine's time, which may be set, and a clock that nobody sets; both in seconds."""

    time_s: float = 1.8e9
    clock_s: float = 500.0

    def pass_by(self, seconds: float) -> None:
        self.time_s += seconds
        self.clock_s += seconds


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Times:
    made = Times()
    monkeypatch.setattr(time, "time", lambda: made.time_s)
    return made


@pytest.fixture
def open_ledger(database: Failing, times: Times) -> Callable[[], Ledger]:
    return lambda: Ledger(database, lease_s=LEASE_S, clock=lambda: times.clock_s)


@pytest.mark.parametrize("set_by_s", [-3_600, 0, 3_600])
async def test_what_a_dead_server_had_reserved_is_back_after_a_lease_whatever_the_time(
    database: Failing, times: Times, open_ledger: Callable[[], Ledger], set_by_s: float
) -> None:
    key, _ = create_key(database, NewKey("me", granted=100))
    dead, living = open_ledger(), open_ledger()
    await living.beat({})
    assert await dead.reserve(key.id, 60, "lost") is None
    await dead.close()

    times.time_s += set_by_s
    for _ in range(5):
        await living.beat({})
        times.pass_by(LEASE_S / 3)
    await living.beat({})

    assert state(database, key) == (0, 0, 0)
    await living.close()


@pytest.mark.parametrize("set_by_s", [-3_600, 3_600])
async def test_server_that_lives_is_taken_for_dead_by_no_other_when_the_time_is_set(
    database: Failing, times: Times, open_ledger: Callable[[], Ledger], set_by_s: float
) -> None:
    key, _ = create_key(database, NewKey("me", granted=100))
    one, other = open_ledger(), open_ledger()
    for ledger in (one, other):
        await ledger.beat({})
        assert await ledger.reserve(key.id, 20, uuid.uuid4().hex) is None

    for change_s in (set_by_s, -set_by_s):
        times.time_s += change_s
        for _ in range(10):
            # The one always first, the other just before it would be late.
            await one.beat({})
            assert state(database, key) == (0, 40, 2)
            times.pass_by(LEASE_S / 3)
            await other.beat({})
            assert state(database, key) == (0, 40, 2)
    await one.close()
    await other.close()
