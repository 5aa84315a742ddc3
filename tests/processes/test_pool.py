"""A pool of workers: what becomes of orders whose worker dies, hangs, refuses or leaves."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fishs2.errors import EngineUnavailableError
from fishs2.processes.child import Program
from fishs2.processes.pool import NoTurnError, PoolLimits, RefusedError, WorkerPool
from fishs2.processes.supervisor import LostError, NoWorkerError, RestartRules
from tests.processes import steered
from tests.serving import PATIENCE_S, until

PATIENT = PoolLimits(PATIENCE_S, PATIENCE_S, PATIENCE_S, PATIENCE_S)
QUICK = RestartRules(pause_s=0.01, open_s=0.05, max_losses=3)


def make(folder: Path, num_workers: int = 1, limits: PoolLimits = PATIENT) -> WorkerPool:
    program = Program("the test", (sys.executable, steered.__file__, str(folder)))
    return WorkerPool(
        lambda: program, num_workers, limits, name="the test", broken="repair it", rules=QUICK
    )


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[WorkerPool]:
    """One worker, however slow it is."""
    made = make(tmp_path)
    await made.start()
    yield made
    await made.close()
    assert not find_workers(tmp_path)


def find_workers(folder: Path) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            found += [child] if str(folder) in child.cmdline() else []
        except psutil.Error:
            continue
    return found


async def ask(pool: WorkerPool, order: bytes) -> bytes:
    return b"".join([piece async for piece in pool.ask(order)])


@pytest.mark.parametrize("size", [0, 1, 70_000, 5_000_000])
async def test_order_of_any_size_goes_over_and_comes_back(pool: WorkerPool, size: int) -> None:
    order = bytes(range(256)) * (size // 256 + 1)

    assert await ask(pool, order[:size]) == order[:size]


async def test_refusal_says_what_the_worker_said_and_it_stays(
    pool: WorkerPool, tmp_path: Path
) -> None:
    workers = find_workers(tmp_path)

    with pytest.raises(RefusedError, match=r"^no$"):
        await ask(pool, b"refuse")

    assert await ask(pool, b"more") == b"more"
    assert find_workers(tmp_path) == workers


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_crash_costs_its_order_only_and_is_counted(pool: WorkerPool) -> None:
    for number in (1, 2, 3, 4):
        with pytest.raises(LostError, match="was killed by SIGSEGV"):
            await ask(pool, b"crash")

        assert await ask(pool, b"more") == b"more"
        assert pool.num_restarts == number
    assert not pool.trouble


async def test_worker_that_hangs_is_killed(tmp_path: Path) -> None:
    pool = make(tmp_path, limits=replace(PATIENT, stall_s=0.5))
    await pool.start()
    try:
        with pytest.raises(LostError, match=r"got nowhere for 0\.5 s"):
            await ask(pool, b"hang")
    finally:
        await pool.close()


async def test_worker_that_answers_nonsense_is_replaced(pool: WorkerPool) -> None:
    with pytest.raises(LostError, match="without being asked"):
        await ask(pool, b"nonsense")

    assert await ask(pool, b"more") == b"more"


async def test_worker_that_leaves_after_its_order_is_no_loss(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    assert [await ask(pool, b"leave") for _ in range(3)] == [b"leave"] * 3
    assert await ask(pool, b"more") == b"more"

    assert pool.num_restarts == 0
    assert not caplog.records


async def test_whoever_leaves_frees_the_worker(pool: WorkerPool, tmp_path: Path) -> None:
    workers = find_workers(tmp_path)
    async with aclosing(pool.ask(b"endless")) as pieces:
        await anext(pieces)
        assert pool.num_busy == 1

    assert await ask(pool, b"more") == b"more"
    assert find_workers(tmp_path) == workers


async def test_those_who_wait_too_long_are_told(tmp_path: Path) -> None:
    pool = make(tmp_path, limits=replace(PATIENT, turn_s=0.05))
    await pool.start()
    try:
        async with aclosing(pool.ask(b"endless")) as pieces:
            await anext(pieces)
            with pytest.raises(NoTurnError):
                await ask(pool, b"more")
    finally:
        await pool.close()


async def test_orders_are_spread_over_the_workers(tmp_path: Path) -> None:
    pool = make(tmp_path, num_workers=2)
    await pool.start()
    try:
        async with aclosing(pool.ask(b"endless")) as pieces:
            await anext(pieces)
            assert await ask(pool, b"more") == b"more"
    finally:
        await pool.close()


async def test_close_ends_what_is_in_work(tmp_path: Path) -> None:
    pool = make(tmp_path, num_workers=2)
    await pool.start()
    asking = [asyncio.create_task(ask(pool, b"hang")) for _ in range(3)]
    await until(lambda: pool.num_busy == 2)

    await pool.close()

    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in outcomes] == [LostError, LostError, NoWorkerError]
    assert not find_workers(tmp_path)


@pytest.mark.parametrize(
    ("start", "kind", "message"),
    [("die", LostError, "SIGABRT"), ("refuse", EngineUnavailableError, "^repair it$")],
)
async def test_start_that_fails_says_why_and_leaves_nothing(
    start: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    tasks = asyncio.all_tasks()
    (tmp_path / "start").write_text(start)

    with pytest.raises(kind, match=message):
        await make(tmp_path, num_workers=2).start()

    assert not find_workers(tmp_path)
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("start", ["die", "refuse"])
async def test_program_that_is_broken_is_trouble_until_it_is_repaired(
    start: str, pool: WorkerPool, tmp_path: Path
) -> None:
    (tmp_path / "start").write_text(start)
    find_workers(tmp_path)[0].kill()
    await until(lambda: bool(pool.trouble))

    with pytest.raises(NoWorkerError, match=r"the test was lost \d times in a row") as caught:
        await ask(pool, b"more")
    assert "/a/path" not in str(caught.value)

    (tmp_path / "start").unlink()
    await until(lambda: not pool.trouble)
    assert await ask(pool, b"more") == b"more"


async def test_what_a_worker_prints_is_in_the_log(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ask(pool, b"print") == b"print"

    await until(lambda: "to stderr" in caplog.text and "to stdout" in caplog.text)
    assert "the test's process printed" in caplog.text


SERVER = """
import asyncio, psutil, sys
from pathlib import Path
from tests.processes.test_pool import make

async def main():
    pool = make(Path(sys.argv[1]))
    await pool.start()
    asyncio.create_task(anext(pool.ask(b"hang")))
    await asyncio.sleep(0)
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killed_server_leaves_no_worker(tmp_path: Path) -> None:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert server.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in (await server.stdout.readline()).split()]
    server.kill()
    await server.communicate()

    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE_S)

    assert len(workers) == 1
    assert not alive
