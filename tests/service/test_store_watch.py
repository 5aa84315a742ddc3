"""What /health says of the store."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from fishs2.errors import StoreUnavailableError
from fishs2.service.store_watch import OK, StoreWatch
from tests.serving import PATIENCE_S, until


async def keys_are_well() -> None:
    pass


def watch_closely(
    folders: dict[str, Path],
    check_keys: Callable[[], Awaitable[None]] = keys_are_well,
    **how: float,
) -> StoreWatch:
    """A watch that looks each time that it is asked, however long that takes."""
    return StoreWatch(folders, check_keys, **{"check_every_s": 0, "timeout_s": PATIENCE_S, **how})


async def test_folders_that_can_be_written_are_ok_and_stay_as_they_were(tmp_path: Path) -> None:
    watch = watch_closely({"data": tmp_path, "new": tmp_path / "a" / "b"})

    assert await watch.state() == OK
    assert os.listdir(tmp_path) == []


async def test_trouble_is_named_and_forgotten_when_it_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.touch()
    watch = watch_closely({"data folder": folder})

    assert await watch.state() == (
        "the data folder cannot be written: a file is where a folder should be"
    )
    folder.unlink()
    assert await watch.state() == OK


async def test_database_that_does_not_answer_is_told_without_its_words(tmp_path: Path) -> None:
    async def fail() -> None:
        raise StoreUnavailableError("no answer from db.internal")

    watch = watch_closely({"data": tmp_path}, fail)

    assert "database" in await watch.state()
    assert "internal" not in await watch.state()


async def test_failure_that_no_check_finds_counts_for_a_while(tmp_path: Path) -> None:
    said = []
    for noted_life_s in (PATIENCE_S, 0.0):
        watch = watch_closely({"data": tmp_path}, noted_life_s=noted_life_s)
        watch.note("there is no room")
        said.append(await watch.state())

    assert said == ["there is no room", OK]


async def test_closing_ends_a_check(tmp_path: Path) -> None:
    ended: list[str] = []

    async def check_for_ever() -> None:
        ended.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    watch = watch_closely({"data": tmp_path}, check_for_ever, timeout_s=0)
    assert await watch.state() == "not known yet"
    await until(lambda: ended == ["begun"])

    await watch.close()

    assert ended == ["begun", "ended"]
