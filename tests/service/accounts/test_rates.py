"""Where rates are counted, and what is said when they cannot be."""

import dataclasses
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from fishs2.errors import QuotaError, SettingsError, StoreUnavailableError
from fishs2.service.accounts.rates import Rates
from fishs2.store.accounts.keys import Key, NewKey, create_key
from fishs2.store.database import Database
from tests.serving import PATIENCE_S, free_port


@pytest.fixture
def key(tmp_path: Path) -> Key:
    database = Database(f"sqlite:///{tmp_path / 'fishs2.db'}")
    database.migrate()
    return create_key(database, NewKey("me", per_minute=2))[0]


async def test_redis_that_does_not_answer_is_a_clear_error(key: Key) -> None:
    rates = Rates("redis://127.0.0.1:1/0")

    with pytest.raises(StoreUnavailableError, match="Redis"):
        await rates.count(key)
    # A key without a limit needs no Redis.
    await rates.count(dataclasses.replace(key, per_minute=None))


async def test_rate_is_a_moving_window_of_a_minute(key: Key) -> None:
    now_s = 1e6
    rates = Rates(None, clock=lambda: now_s)
    other = dataclasses.replace(key, id="other")

    async def ask(key: Key) -> int | None:
        try:
            await rates.count(key)
        except QuotaError as error:
            return error.retry_after_s
        return None

    assert await ask(key) is None
    now_s += 20
    assert [await ask(key), await ask(key), await ask(other)] == [None, 40, None]
    now_s += 39.5
    # What is refused is not counted.
    assert await ask(key) == 1
    now_s += 0.5
    assert [await ask(key), await ask(key)] == [None, 20]
    assert await ask(dataclasses.replace(key, per_minute=1)) == 60
    assert await ask(dataclasses.replace(key, per_minute=3)) is None


async def test_clock_of_the_machine_that_is_set_back_refuses_nobody(
    key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = Rates(None, clock=iter(range(0, 10_000, 31)).__next__)
    for offset_s in (0, 3_600, -3_600, 0, -3_600, 3_600):
        now_s = 1.8e9 + offset_s
        monkeypatch.setattr(time, "time", lambda now_s=now_s: now_s)
        await rates.count(key)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed; `.ci/run` installs it")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_until_up(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(timeout=PATIENCE_S)


async def test_two_servers_count_together_in_redis(redis_url: str, key: Key) -> None:
    one, other = Rates(redis_url), Rates(redis_url)

    await one.count(key)
    await other.count(key)
    for rates in (one, other):
        with pytest.raises(QuotaError) as caught:
            await rates.count(key)
        assert caught.value.code == "rate_limit_exceeded"
        assert caught.value.retry_after_s is not None
        assert 50 <= caught.value.retry_after_s <= 61


async def test_time_that_is_set_back_refuses_nobody_for_as_long_in_redis(
    redis_url: str, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, now_s = Rates(redis_url), time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + 3_600)
    await rates.count(key)
    monkeypatch.setattr(time, "time", lambda: now_s)

    for _ in range(3):
        await rates.count(key)

    with pytest.raises(QuotaError) as caught:
        await rates.count(key)
    # Redis keeps fractions of a second, and what is left is rounded up.
    assert caught.value.retry_after_s in (60, 61)
    monkeypatch.setattr(time, "time", lambda: now_s + 3_600)
    await rates.count(key)


def test_bad_redis_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError) as caught:
        Rates("redis://user:hunter2@[nowhere")

    assert "FISHS2_REDIS_URL" in caught.value.message
    assert "hunter2" not in caught.value.message


def _wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    while True:
        assert server.poll() is None, "Redis ended"
        try:
            redis.Redis.from_url(url).ping()
            return
        except redis.ConnectionError:
            continue
