"""What is reserved and settled while the database fails, and when it is there again."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from fishs2.errors import StoreFullError, StoreUnavailableError
from fishs2.service.accounts.ledger import Ledger
from fishs2.store.accounts.keys import Key, NewKey, create_key, find_key
from fishs2.store.accounts.usage import Outcome
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
