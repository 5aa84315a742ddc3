"""Who may, how often, and what it costs, whatever becomes of the request."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fishs2.errors import (
    BusyError,
    ForbiddenError,
    QuotaError,
    StoreUnavailableError,
    UnauthorizedError,
)
from fishs2.service.accounts import ledger as ledger_module
from fishs2.service.accounts.accounts import Accounts, Principal
from fishs2.store.accounts.keys import Key, NewKey, create_key, disable_key, find_key
from fishs2.store.accounts.usage import Outcome, release_dead, reserve
from fishs2.store.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'fishs2.db'}")


@asynccontextmanager
async def opened(database: Database, **how: float) -> AsyncIterator[Accounts]:
    accounts = Accounts(database, **how)  # type: ignore[arg-type]
    await accounts.start()
    try:
        yield accounts
    finally:
        await accounts.close()


def make_key(database: Database, **limits: int) -> tuple[Key, str]:
    database.migrate()
    return create_key(database, NewKey("me", **limits))  # type: ignore[arg-type]


def state(database: Database, key: Key) -> tuple[int, int, int]:
    """spent, reserved, active."""
    found = find_key(database, key.id)
    assert found is not None
    return found.spent, found.reserved, found.active


async def test_without_a_key_everybody_may_and_no_file_is_made(
    database: Database, tmp_path: Path
) -> None:
    async with opened(database) as accounts:
        for token in (None, "", "sk-placeholder", "x" * 10_000):
            principal = await accounts.authenticate(token)
            accounts.require(principal, "voices:write")
            async with accounts.reserve(principal, 10**9):
                pass
            assert await accounts.remaining(principal) is None

    assert not os.listdir(tmp_path)


async def test_first_key_takes_effect_while_the_server_runs(database: Database) -> None:
    async with opened(database, keys_life_s=0) as accounts:
        await accounts.authenticate(None)
        key, token = make_key(database)

        with pytest.raises(UnauthorizedError):
            await accounts.authenticate(None)
        assert (await accounts.authenticate(token)).key == key

        disable_key(database, key.id)
        with pytest.raises(UnauthorizedError):
            await accounts.authenticate(token)


async def test_every_wrong_token_gets_the_same_answer(database: Database) -> None:
    key, token = make_key(database)
    _, expired = make_key(database, expires_s=int(time.time()) - 1)
    messages = set()
    async with opened(database) as accounts:
        for wrong in (
            None,
            "",
            token[:-1],
            token + "x",
            token.upper(),
            expired,
            f"fs2_{key.id}_",
            "fs2_nobodyxx_secret",
            "x" * 100_000,
            "\ud800",
        ):
            with pytest.raises(UnauthorizedError) as caught:
                await accounts.authenticate(wrong)
            messages.add((caught.value.code, caught.value.message))

    assert len(messages) == 1
    assert messages.pop()[0] == "invalid_token"


async def test_scopes_are_needed_and_admin_has_them_all(database: Database) -> None:
    async with opened(database) as accounts:
        speaker = Principal(scopes=frozenset({"speech"}))
        accounts.require(speaker, "speech")
        with pytest.raises(ForbiddenError) as caught:
            accounts.require(speaker, "voices:write")
        accounts.require(Principal(scopes=frozenset({"admin"})), "voices:write")

    assert caught.value.code == "missing_scope"


async def test_reservation_grows_with_the_text_and_is_settled_once(database: Database) -> None:
    key, token = make_key(database, granted=100)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        async with accounts.reserve(principal, 0) as reservation:
            await reservation.grow(60)
            assert await accounts.remaining(principal) == 40
            with pytest.raises(QuotaError) as caught:
                await reservation.grow(41)
            await reservation.grow(40)
            reservation.outcome = Outcome(70, 1.0)
        profile = await accounts.profile(principal)

    assert caught.value.code == "insufficient_quota"
    assert state(database, key) == (70, 0, 0)
    assert (profile.today.num_requests, profile.today.num_chars) == (1, 70)


async def test_reservation_of_a_server_that_seemed_dead_is_charged_when_it_ends(
    database: Database,
) -> None:
    key, token = make_key(database, granted=100)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        async with accounts.reserve(principal, 10) as reservation:
            release_dead(database, time.time() + 100)
            await reservation.grow(20)
            reservation.outcome = Outcome(30, 1.0)

    assert state(database, key) == (30, 0, 0)


@pytest.mark.parametrize(
    ("outcome", "spent"),
    [(Outcome(40, 2.0), 40), (Outcome(15), 15), (Outcome(is_error=True), 0), (None, 0)],
)
async def test_end_of_a_request_settles_what_it_cost(
    database: Database, outcome: Outcome | None, spent: int
) -> None:
    key, token = make_key(database, granted=100)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        async with accounts.reserve(principal, 40) as reservation:
            assert await accounts.remaining(principal) == 60
            reservation.outcome = outcome
        assert await accounts.remaining(principal) == 100 - spent
        profile = await accounts.profile(principal)

    assert state(database, key) == (spent, 0, 0)
    assert (profile.today.num_requests, profile.today.num_chars) == (1, spent)


async def test_error_in_the_block_costs_nothing_and_passes_on(database: Database) -> None:
    key, token = make_key(database, granted=100)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        with pytest.raises(ZeroDivisionError):
            async with accounts.reserve(principal, 40):
                raise ZeroDivisionError

    assert state(database, key) == (0, 0, 0)


async def test_cancelled_requests_settle_at_whatever_moment(database: Database) -> None:
    key, token = make_key(database, granted=10_000)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)

        async def ask() -> None:
            async with accounts.reserve(principal, 10):
                await asyncio.sleep(10)

        for num_steps in range(25):
            task = asyncio.create_task(ask())
            for _ in range(num_steps):
                await asyncio.sleep(0)
            if num_steps > 20:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    assert state(database, key) == (0, 0, 0)


async def test_200_at_once_get_exactly_what_there_is(database: Database) -> None:
    key, token = make_key(database, granted=500)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)

        async def ask() -> str:
            try:
                async with accounts.reserve(principal, 10) as reservation:
                    reservation.outcome = Outcome(10)
            except QuotaError as error:
                return error.code
            return "spoken"

        answers = await asyncio.gather(*(ask() for _ in range(200)))

    assert answers.count("spoken") == 50
    assert answers.count("insufficient_quota") == 150
    assert state(database, key) == (500, 0, 0)


async def test_rate_is_a_moving_window_and_refusals_cost_nothing(database: Database) -> None:
    key, token = make_key(database, granted=100, per_minute=3)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        for _ in range(3):
            await accounts.count(principal)
        with pytest.raises(QuotaError) as caught:
            await accounts.count(principal)

    assert caught.value.code == "rate_limit_exceeded"
    assert caught.value.retry_after_s is not None
    assert 1 <= caught.value.retry_after_s <= 61
    assert state(database, key) == (0, 0, 0)


async def test_busy_server_is_no_error_of_the_key(database: Database) -> None:
    key, token = make_key(database, granted=100)
    busy = BusyError("the server is busy", retry_after_s=1)
    gone = QuotaError("no more", retry_after_s=None, code="insufficient_quota")
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)

        async def fail(error: Exception) -> None:
            async with accounts.reserve(principal, 10) as reservation:
                reservation.outcome = Outcome(is_error=True)
                raise error

        for error in (busy, gone, RuntimeError()):
            with pytest.raises(type(error)):
                await fail(error)
        profile = await accounts.profile(principal)

    assert (profile.today.num_requests, profile.today.num_errors) == (3, 2)
    assert state(database, key) == (0, 0, 0)


async def test_streams_at_once_are_bounded(database: Database) -> None:
    key, token = make_key(database, streams=1)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        async with accounts.reserve(principal, 1):
            with pytest.raises(QuotaError) as caught:
                async with accounts.reserve(principal, 1):
                    pass
        async with accounts.reserve(principal, 1):
            pass

    assert caught.value.code == "too_many_streams"
    assert state(database, key) == (0, 0, 0)


async def test_what_cannot_be_settled_now_is_settled_later(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key, token = make_key(database, granted=100)

    def fail(*_: object) -> None:
        raise StoreUnavailableError("no answer")

    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        async with accounts.reserve(principal, 40) as reservation:
            reservation.outcome = Outcome(30)
            monkeypatch.setattr(ledger_module, "settle", fail)
        assert state(database, key) == (0, 40, 1)
        monkeypatch.undo()

    assert state(database, key) == (30, 0, 0)
    assert "will be settled later" in caplog.text


async def test_reservation_whose_answer_was_lost_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = make_key(database, granted=100)
    do_reserve = reserve

    def lose_the_answer(*args: Any, **kwargs: Any) -> None:
        do_reserve(*args, **kwargs)
        raise StoreUnavailableError("the connection broke")

    monkeypatch.setattr(ledger_module, "reserve", lose_the_answer)
    async with opened(database) as accounts:
        principal = await accounts.authenticate(token)
        with pytest.raises(StoreUnavailableError):
            async with accounts.reserve(principal, 40):
                raise AssertionError

    assert state(database, key) == (0, 0, 0)


async def test_database_that_another_holds_fails_all_soon_and_keys_are_still_known(
    database: Database, tmp_path: Path
) -> None:
    _, token = make_key(database, granted=100)
    impatient = Database(f"sqlite:///{tmp_path / 'fishs2.db'}", busy_timeout_s=0.2)
    other = sqlite3.connect(tmp_path / "fishs2.db", isolation_level=None)
    async with opened(impatient, keys_life_s=0, patience_s=0.1) as accounts:
        principal = await accounts.authenticate(token)
        other.execute("BEGIN IMMEDIATE")

        async def ask() -> None:
            async with accounts.reserve(principal, 1):
                raise AssertionError

        asking = asyncio.gather(*(ask() for _ in range(5)), return_exceptions=True)
        assert (await accounts.authenticate(token)).key is not None
        outcomes = await asking
        other.execute("ROLLBACK")
        other.close()

    assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
    # Those behind the first did not each wait for the lock as well.
    assert sum("waiting" in str(outcome) for outcome in outcomes) == 4


async def test_key_expires_by_the_time_that_is_set(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = int(time.time())
    _, token = make_key(database, expires_s=now_s + 600)
    async with opened(database) as accounts:
        for set_by_s in (0, -3_600, 599):
            monkeypatch.setattr(time, "time", lambda set_by_s=set_by_s: now_s + set_by_s)
            await accounts.authenticate(token)
        for set_by_s in (600, 3_600):
            monkeypatch.setattr(time, "time", lambda set_by_s=set_by_s: now_s + set_by_s)
            with pytest.raises(UnauthorizedError):
                await accounts.authenticate(token)
        monkeypatch.setattr(time, "time", lambda: now_s)
        await accounts.authenticate(token)


async def test_last_use_is_kept(database: Database) -> None:
    key, token = make_key(database)
    async with opened(database) as accounts:
        await accounts.authenticate(token)

    found = find_key(database, key.id)
    assert found is not None
    assert found.last_used_s is not None


async def test_dead_servers_reservations_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, token = make_key(database, granted=100)
    dead = Accounts(database, lease_s=1_000)
    await dead.start()
    principal = await dead.authenticate(token)
    stuck = dead.reserve(principal, 60)
    await stuck.__aenter__()
    assert state(database, key) == (0, 60, 1)
    monkeypatch.setattr(time, "time", lambda: 4e9)

    async with opened(database) as accounts:
        living = Principal(key)
        async with accounts.reserve(living, 100) as reservation:
            reservation.outcome = Outcome(100)

    assert state(database, key) == (100, 0, 0)
    await stuck.__aexit__(None, None, None)
    await dead.close()
    assert state(database, key) == (100, 0, 0)
