"""Where rates are counted, and what is said when they cannot be."""

import dataclasses
from pathlib import Path

import pytest

from fishs2.errors import SettingsError, StoreUnavailableError
from fishs2.service.rates import Rates
from fishs2.store.database import Database
from fishs2.store.keys import Key, NewKey, create_key


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


def test_bad_redis_url_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError) as caught:
        Rates("redis://user:hunter2@[nowhere")

    assert "FISHS2_REDIS_URL" in caught.value.message
    assert "hunter2" not in caught.value.message
