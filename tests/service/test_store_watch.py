"""What /health says of the store."""

import os
from pathlib import Path

import pytest

from fishs2.errors import StoreUnavailableError
from fishs2.service import store_watch
from fishs2.service.store_watch import OK, StoreWatch


async def keys_are_well() -> None:
    pass


@pytest.fixture(autouse=True)
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_watch, "_CHECK_EVERY_S", 0.0)
    monkeypatch.setattr(store_watch, "_TIMEOUT_S", 60.0)


async def test_folders_that_can_be_written_are_ok_and_stay_as_they_were(tmp_path: Path) -> None:
    watch = StoreWatch({"data": tmp_path, "new": tmp_path / "a" / "b"}, keys_are_well)

    assert await watch.state() == OK
    assert os.listdir(tmp_path) == []


async def test_trouble_is_named_and_forgotten_when_it_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.touch()
    watch = StoreWatch({"data folder": folder}, keys_are_well)

    assert await watch.state() == (
        "the data folder cannot be written: a file is where a folder should be"
    )
    folder.unlink()
    assert await watch.state() == OK


async def test_database_that_does_not_answer_is_told_without_its_words(tmp_path: Path) -> None:
    async def fail() -> None:
        raise StoreUnavailableError("no answer from db.internal")

    watch = StoreWatch({"data": tmp_path}, fail)

    assert "database" in await watch.state()
    assert "internal" not in await watch.state()


async def test_failure_that_no_check_finds_counts_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = StoreWatch({"data": tmp_path}, keys_are_well)
    watch.note("there is no room")

    assert await watch.state() == "there is no room"
    monkeypatch.setattr(store_watch, "_NOTED_LIFE_S", 0.0)
    assert await watch.state() == OK


async def test_closing_ends_a_check(tmp_path: Path) -> None:
    watch = StoreWatch({"data": tmp_path}, keys_are_well)
    await watch.close()
    await watch.state()
    await watch.close()
