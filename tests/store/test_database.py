"""Keys, quotas and use, on SQLite and PostgreSQL."""

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fishs2.errors import SettingsError, StoreFullError, StoreUnavailableError
from fishs2.store.accounts.keys import (
    Key,
    NewKey,
    create_key,
    disable_key,
    find_key,
    grant_chars,
    list_keys,
    note_uses,
    rotate_key,
    split_token,
)
from fishs2.store.accounts.usage import (
    Outcome,
    forget,
    read_usage,
    release_dead,
    say_alive,
    settle,
    today,
)
from fishs2.store.database import HEAD, Database
from tests.store.holding import hold


def state(database: Database, key: Key) -> tuple[int | None, int, int, int]:
    """granted, spent, reserved, active."""
    found = find_key(database, key.id)
    assert found is not None
    return found.granted, found.spent, found.reserved, found.active


def test_migrating_twice_and_at_once_is_once(url: str) -> None:
    code = f"from fishs2.store.database import Database; Database({url!r}).migrate()"
    at_once = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]

    assert [process.wait() for process in at_once] == [0, 0, 0]
    again = Database(url)
    again.migrate()
    with again.read() as connection:
        versions = connection.execute(text("SELECT version_num FROM alembic_version"))
        assert versions.scalars().all() == [HEAD]
    again.close()


def test_many_who_open_a_fresh_database_at_once_all_get_their_turn(
    url: str, tmp_path: Path
) -> None:
    code = textwrap.dedent(
        f"""
        import sys
        from alembic import command
        from fishs2.store.database import Database
        from fishs2.store.accounts.keys import NewKey, create_key, list_keys
        print(flush=True)
        sys.stdin.read(1)
        for _ in range(3):
            database = Database({url!r})
            database.migrate()
            create_key(database, NewKey("me"))
            list_keys(database)
            database.close()
        """
    )
    pipe = subprocess.PIPE
    at_once = [
        subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(5)
    ]
    for process in at_once:
        assert process.stdout is not None
        process.stdout.readline()
    for process in at_once:
        assert process.stdin is not None
        process.stdin.write(b"!")
        process.stdin.flush()

    ends = [(process.communicate()[1], process.returncode) for process in at_once]
    assert ends == [(b"", 0)] * len(at_once)
    database = Database(url)
    assert len(list_keys(database)) == len(at_once) * 3
    database.close()


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("held", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "SELECT"])
def test_opening_waits_for_others_where_sqlite_itself_does_not(
    tmp_path: Path, journal: str, held: str
) -> None:
    file = tmp_path / "fishs2.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute(f"PRAGMA journal_mode={journal}")
    other.execute("CREATE TABLE others (n)")
    other.execute("BEGIN" if held == "SELECT" else held)
    other.execute("SELECT * FROM others").fetchall()
    end = threading.Timer(0.2, lambda: other.execute("ROLLBACK"))
    end.start()

    database = Database(f"sqlite:///{file}", busy_timeout_s=0)
    database.migrate()
    assert list_keys(database) == []
    database.close()
    end.join()
    other.close()


@pytest.mark.skipif(os.name == "nt", reason="there are no such permissions")
def test_database_and_its_log_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    database = Database(f"sqlite:///{folder / 'fishs2.db'}")
    assert not database.exists
    umask = os.umask(0)
    try:
        database.migrate()
    finally:
        os.umask(umask)
    create_key(database, NewKey("me"))

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == dict.fromkeys(["fishs2.db", "fishs2.db-shm", "fishs2.db-wal"], 0o600)
    database.close()


@pytest.mark.parametrize(
    "url", ["postgresql://test@127.0.0.1:1/x", "sqlite:////proc/nowhere/fishs2.db"]
)
def test_database_that_cannot_be_opened_is_a_clear_error(url: str) -> None:
    with pytest.raises(StoreUnavailableError):
        Database(url).migrate()


def test_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "fishs2.db"
    file.write_bytes(b"this is no database" * 100)

    with pytest.raises(SettingsError, match="cannot be used"):
        Database(f"sqlite:///{file}").migrate()


def test_database_without_room_is_an_error_of_its_own(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'fishs2.db'}")
    database.migrate()

    def fill() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            connection.exec_driver_sql("CREATE TABLE large AS SELECT zeroblob(1000000)")

    with pytest.raises(StoreFullError, match="full"):
        fill()
    database.check_writable()
    database.close()


@pytest.mark.parametrize("where", ["data", "data/more"])
def test_file_in_place_of_the_folder_is_no_sign_of_no_keys(tmp_path: Path, where: str) -> None:
    (tmp_path / "data").touch()
    database = Database(f"sqlite:///{tmp_path / where / 'fishs2.db'}")

    with pytest.raises(StoreUnavailableError, match="a file is where a folder should be"):
        _ = database.exists
    with pytest.raises(StoreUnavailableError, match="a file is where a folder should be"):
        database.migrate()


def test_key_is_stored_as_a_hash_and_found_by_its_token(database: Database) -> None:
    new = NewKey("me", frozenset({"speech", "admin"}), 100, per_minute=5, streams=2, expires_s=9)

    key, token = create_key(database, new)

    parts = split_token(token)
    assert parts == (key.id, key.secret_sha256)
    assert token not in repr(key)
    assert token.split("_", 2)[2] not in repr(key)
    assert list_keys(database) == [key]
    assert (key.granted, key.remaining, key.per_minute, key.streams) == (100, 100, 5, 2)
    assert not key.is_valid(time.time())


@pytest.mark.parametrize(
    "token",
    ["", "fs2", "fs2_", "fs2_abcdefgh_", "fs2_abc_secret", "sk-placeholder", "x" * 201, "\0", "é"],
)
def test_what_is_no_token_is_none(token: str) -> None:
    assert split_token(token) is None


def test_rotation_kills_the_old_secret_and_disabling_the_key(database: Database) -> None:
    key, token = create_key(database, NewKey("me"))

    rotated = rotate_key(database, key.id)
    assert rotated is not None
    changed = find_key(database, key.id)
    assert changed is not None
    assert split_token(rotated) == (key.id, changed.secret_sha256)
    assert split_token(token) != split_token(rotated)

    assert disable_key(database, key.id)
    disabled = find_key(database, key.id)
    assert disabled is not None
    assert not disabled.is_valid(0)
    assert hold(database, key.id, 1, "o") == "invalid_token"
    assert not disable_key(database, "nobody")
    assert rotate_key(database, "nobody") is None


def test_grants_never_go_below_what_is_used(database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=100))
    reservation = hold(database, key.id, 60, "o")
    settle(database, key.id, reservation, Outcome(30))
    hold(database, key.id, 20, "o")

    grant_chars(database, key.id, 50)
    assert state(database, key)[0] == 150
    grant_chars(database, key.id, -1_000)
    assert state(database, key) == (50, 30, 20, 1)


def test_unlimited_key_counts_but_never_ends(database: Database) -> None:
    key, _ = create_key(database, NewKey("me"))

    reservation = hold(database, key.id, 10**9, "o")
    settle(database, key.id, reservation, Outcome(10**9, 3.5))

    assert state(database, key) == (None, 10**9, 0, 0)
    [day] = read_usage(database, key.id, today())
    assert (day.num_requests, day.num_chars, day.audio_s, day.num_errors) == (1, 10**9, 3.5, 0)


def test_streams_are_bounded_and_freed(database: Database) -> None:
    key, _ = create_key(database, NewKey("me", streams=1))

    first = hold(database, key.id, 5, "o")
    assert hold(database, key.id, 5, "o") == "too_many_streams"
    settle(database, key.id, first, Outcome(is_error=True))

    assert hold(database, key.id, 5, "o") != "too_many_streams"


def test_200_at_once_get_exactly_what_there_is(url: str, database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=50 * 7))

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: hold(database, key.id, 7, "o"), range(200)))

    assert sum(answer == "insufficient_quota" for answer in answers) == 150
    assert state(database, key) == (350, 0, 350, 50)


def test_two_processes_share_a_quota_exactly(url: str, database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=300))
    code = textwrap.dedent(
        f"""
        from fishs2.store.database import Database
        from fishs2.store.accounts.usage import Outcome, settle
        from tests.store.holding import hold
        database = Database({url!r})
        done = 0
        for n in range(60):
            answer = hold(database, {key.id!r}, 5, "o")
            if answer == "insufficient_quota":
                break
            settle(database, {key.id!r}, answer, Outcome(5 if n % 2 else 2))
            done += 5 if n % 2 else 2
        print(done)
        """
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(2)
    ]
    spent = sum(int(process.communicate()[0]) for process in both)

    assert state(database, key) == (300, spent, 0, 0)
    assert 296 <= spent <= 300


def test_what_a_dead_server_reserved_is_given_back_once(database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=100))
    say_alive(database, "alive", 2_000)
    say_alive(database, "dead", 900)
    kept = hold(database, key.id, 10, "alive")
    lost = hold(database, key.id, 20, "dead")
    hold(database, key.id, 30, "never-said-anything")

    assert release_dead(database, 1_000.0) == 2
    assert release_dead(database, 1_000.0) == 0
    assert state(database, key) == (100, 0, 10, 1)

    # It was only slow: what it spoke is charged after all, and once, however often it tries.
    for _ in range(2):
        settle(database, key.id, lost, Outcome(20))
        settle(database, key.id, kept, Outcome(10))
    assert state(database, key) == (100, 30, 0, 0)


def test_late_charge_never_makes_a_quota_negative(database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=25))
    say_alive(database, "dead", 900)
    lost = hold(database, key.id, 20, "dead")
    release_dead(database, 1_000.0)
    hold(database, key.id, 10, "o")

    settle(database, key.id, lost, Outcome(20))

    assert state(database, key) == (25, 15, 10, 1)


def test_forgotten_reservation_leaves_no_trace(database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=25))
    reservation = hold(database, key.id, 20)

    for _ in range(2):
        forget(database, key.id, reservation)
    forget(database, key.id, "never-was")

    assert state(database, key) == (25, 0, 0, 0)
    assert read_usage(database, key.id, today()) == []


def test_what_the_dead_left_is_gone_after_a_day(database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=25))
    say_alive(database, "dead", 900)
    reservation = hold(database, key.id, 20, "dead")
    release_dead(database, 1_000.0)
    release_dead(database, 1_000.0 + 25 * 3600)

    settle(database, key.id, reservation, Outcome(20))
    assert state(database, key) == (25, 0, 0, 0)
    with database.read() as connection:
        for table in ("owners", "reservations"):
            rows = connection.exec_driver_sql(f"SELECT count(*) FROM {table}")
            assert rows.scalar_one() == 0


def test_uses_are_noted_and_never_go_back(database: Database) -> None:
    key, _ = create_key(database, NewKey("me"))

    note_uses(database, {key.id: 500, "nobody": 1})
    note_uses(database, {key.id: 400})

    found = find_key(database, key.id)
    assert found is not None
    assert found.last_used_s == 500


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.sampled_from(["reserve", "settle", "grant", "crash"]), st.integers(0, 60)),
        max_size=25,
    )
)
def test_nothing_is_ever_lost_doubled_or_negative(
    database: Database, steps: list[tuple[str, int]]
) -> None:
    key, _ = create_key(database, NewKey("me", granted=200))
    open_ids: list[tuple[str, int]] = []
    granted, spent = 200, 0
    for step, number in steps:
        if step == "reserve":
            answer = hold(database, key.id, number, "dead")
            if answer != "insufficient_quota":
                open_ids.append((answer, number))
        elif step == "settle" and open_ids:
            reservation, reserved = open_ids.pop(number % len(open_ids))
            settle(database, key.id, reservation, Outcome(min(number, reserved)))
            spent += min(number, reserved)
        elif step == "grant":
            grant_chars(database, key.id, number - 30)
            granted = max(granted + number - 30, spent + sum(n for _, n in open_ids))
        elif step == "crash":
            release_dead(database, 1e12)
            open_ids.clear()
        reserved = sum(n for _, n in open_ids)
        assert state(database, key) == (granted, spent, reserved, len(open_ids))
        assert granted - spent - reserved >= 0


def test_server_that_is_gone_is_a_clear_error(database: Database) -> None:
    with pytest.raises(StoreUnavailableError), database.write() as connection:
        connection.exec_driver_sql("SELECT * FROM nothing")


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_writer_leaves_whole_transactions(url: str, database: Database) -> None:
    key, _ = create_key(database, NewKey("me", granted=10**9))
    code = textwrap.dedent(
        f"""
        import sys
        from fishs2.store.database import Database
        from fishs2.store.accounts.usage import Outcome, settle
        from tests.store.holding import hold
        database = Database({url!r})
        while True:
            reservation = hold(database, {key.id!r}, 5, "dead")
            print("x", flush=True)
            settle(database, {key.id!r}, reservation, Outcome(3))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    process.kill()
    process.communicate()
    release_dead(database, time.time())

    granted, spent, reserved, active = state(database, key)
    [day] = read_usage(database, key.id, today())
    assert (granted, reserved, active) == (10**9, 0, 0)
    assert spent == day.num_chars == 3 * day.num_requests
