"""Keys that are read when they are shown: how old, how many queries, whoever else asks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fishs2.errors import StoreUnavailableError
from fishs2.service.accounts.keyring import LIFE_S, MAX_KNOWN, PAUSE_S, Keyring
from fishs2.store.accounts.keys import NewKey, create_key, disable_key, rotate_key
from fishs2.store.database import Database


class Counting(Database):
    """Counts what is read, and fails while it is told to."""

    num_reads = 0
    is_broken = False

    @contextmanager
    def read(self) -> Any:
        self.num_reads += 1
        if self.is_broken:
            raise StoreUnavailableError("no answer")
        with super().read() as connection:
            yield connection


@pytest.fixture
def database(tmp_path: Path) -> Counting:
    made = Counting(f"sqlite:///{tmp_path / 'fishs2.db'}")
    made.migrate()
    return made


@asynccontextmanager
async def opened(database: Database, **how: float) -> AsyncIterator[Keyring]:
    keyring = Keyring(database, **how)
    try:
        yield keyring
    finally:
        await keyring.close()


async def test_key_is_read_once_while_it_holds(database: Counting) -> None:
    key, _ = create_key(database, NewKey("me"))
    async with opened(database, life_s=1_000) as keyring:
        assert not await keyring.is_open()
        before = database.num_reads
        for _ in range(100):
            assert await keyring.find(key.id) == key
            assert not await keyring.is_open()

    assert database.num_reads - before == 1
    assert LIFE_S < 2


async def test_all_who_show_a_key_at_once_wait_for_one_query(database: Counting) -> None:
    key, _ = create_key(database, NewKey("me"))
    async with opened(database, life_s=1_000) as keyring:
        before = database.num_reads
        found = await asyncio.gather(*(keyring.find(key.id) for _ in range(500)))

    assert found == [key] * 500
    assert database.num_reads - before == 1


async def test_keys_tried_at_random_get_few_queries(database: Counting) -> None:
    create_key(database, NewKey("me"))
    async with opened(database) as keyring:
        before, started_s = database.num_reads, time.monotonic()
        for wave in range(20):
            found = await asyncio.gather(
                *(keyring.find(f"{wave:02d}{n:06d}") for n in range(1_000))
            )
            assert found == [None] * 1_000
        took_s = time.monotonic() - started_s

    # However fast they come: one at a time, and none sooner than the pause after the one before.
    assert database.num_reads - before <= 1 + took_s / PAUSE_S


async def test_keys_tried_at_random_do_not_push_out_those_in_use(database: Counting) -> None:
    key, _ = create_key(database, NewKey("me"))
    async with opened(database, life_s=1_000) as keyring:
        await keyring.find(key.id)
        await asyncio.gather(*(keyring.find(f"{n:08d}") for n in range(MAX_KNOWN + 1)))
        before = database.num_reads

        assert await keyring.find(key.id) == key

    assert database.num_reads == before


@pytest.mark.parametrize("change", ["disabled", "rotated"])
async def test_change_by_another_is_seen_when_the_moment_is_over(
    database: Counting, tmp_path: Path, change: str
) -> None:
    key, _ = create_key(database, NewKey("me"))
    other = Database(f"sqlite:///{tmp_path / 'fishs2.db'}")
    async with opened(database, life_s=0) as keyring:
        assert await keyring.find(key.id) == key
        if change == "disabled":
            disable_key(other, key.id)
        else:
            rotate_key(other, key.id)
        found = await keyring.find(key.id)

    assert found is not None
    assert found.is_disabled == (change == "disabled")
    assert (found.secret_sha256 != key.secret_sha256) == (change == "rotated")


async def test_new_key_is_found_although_it_was_tried_before(database: Counting) -> None:
    async with opened(database) as keyring:
        assert await keyring.find("abcdefgh") is None
        key, _ = create_key(database, NewKey("me"))
        assert await keyring.find(key.id) == key


async def test_who_leaves_does_not_take_the_answer_from_others(database: Counting) -> None:
    key, _ = create_key(database, NewKey("me"))
    async with opened(database) as keyring:
        leaving = asyncio.create_task(keyring.find(key.id))
        staying = asyncio.create_task(keyring.find(key.id))
        await asyncio.sleep(0)
        leaving.cancel()

        assert await staying == key


async def test_database_that_fails_is_asked_again(database: Counting) -> None:
    key, _ = create_key(database, NewKey("me"))
    async with opened(database, life_s=0) as keyring:
        await keyring.find(key.id)
        database.is_broken = True
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await keyring.find(key.id)
            with pytest.raises(StoreUnavailableError):
                await keyring.is_open()
        database.is_broken = False

        assert await keyring.find(key.id) == key
        assert not await keyring.is_open()
