"""What the pool does when workers die, stall or lose their parent."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import espeakng_loader
import psutil
import pytest

from fishs2.engines.espeak.pool import EspeakPool
from fishs2.engines.espeak.worker import MAX_ORDERS, Order
from fishs2.errors import EngineError, EngineLostError, EngineUnavailableError
from fishs2.processes.pool import PoolLimits
from tests.engines.workers import find_workers
from tests.serving import PATIENCE_S

ENDLESS = Order(voice="gmw/en-US", text="one two three four " * 50_000)
SHORT = Order(voice="gmw/en-US", text="hello")


@pytest.fixture
async def pool() -> AsyncIterator[EspeakPool]:
    """One worker, however slow it is."""
    pool = EspeakPool(1, PoolLimits(PATIENCE_S, PATIENCE_S, PATIENCE_S, PATIENCE_S))
    await pool.start()
    yield pool
    await pool.close()


@pytest.fixture
async def hasty() -> AsyncIterator[EspeakPool]:
    """One worker, which counts as lost after a second; a healthy one needs a thousandth of it."""
    pool = EspeakPool(1, PoolLimits(stall_s=1, abort_s=1))
    await pool.start()
    yield pool
    await pool.close()


async def render(pool: EspeakPool, order: Order) -> bytes:
    return b"".join([piece.pcm async for piece in pool.speak(order)])


def find_worker() -> psutil.Process:
    (worker,) = find_workers()
    return worker


async def test_abort_frees_the_worker(pool: EspeakPool) -> None:
    worker = find_worker()
    async with aclosing(pool.speak(ENDLESS)) as pieces:
        await anext(pieces)

    assert await render(pool, SHORT)

    assert find_worker() == worker


async def test_cancelled_reader_frees_the_worker(pool: EspeakPool) -> None:
    worker = find_worker()
    for delay_s in (0.0, 0.001, 0.01, 0.05):
        reading = asyncio.create_task(render(pool, ENDLESS))
        await asyncio.sleep(delay_s)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        assert await render(pool, SHORT)

    assert find_worker() == worker


async def test_those_who_wait_are_served_in_order(pool: EspeakPool) -> None:
    served: list[int] = []

    async def speak(number: int) -> None:
        await render(pool, SHORT)
        served.append(number)

    tasks = [asyncio.create_task(speak(number)) for number in range(8)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert served == [0, 1, 2, 4, 5, 6, 7]


async def test_worker_killed_in_mid_speech_is_an_error_and_replaced(pool: EspeakPool) -> None:
    worker = find_worker()
    pieces = pool.speak(ENDLESS)
    await anext(pieces)
    worker.kill()

    with pytest.raises(EngineLostError):
        async for _ in pieces:
            pass

    assert await render(pool, SHORT)
    assert find_worker() != worker
    assert pool.num_restarts == 1


@pytest.mark.parametrize("end", [psutil.Process.suspend, psutil.Process.kill])
async def test_order_of_a_lost_worker_can_be_given_again(
    hasty: EspeakPool, end: Callable[[psutil.Process], None]
) -> None:
    expected = await render(hasty, SHORT)
    worker = find_worker()
    end(worker)

    with pytest.raises(EngineLostError):
        await render(hasty, SHORT)

    assert await render(hasty, SHORT) == expected
    assert find_worker() != worker


async def test_workers_that_have_had_their_share_are_replaced_unnoticed(
    pool: EspeakPool, caplog: pytest.LogCaptureFixture
) -> None:
    worker = find_worker()
    expected = await render(pool, SHORT)

    assert {await render(pool, SHORT) for _ in range(MAX_ORDERS)} == {expected}

    assert find_worker() != worker
    assert not caplog.records


async def test_worker_that_ignores_an_abort_is_replaced(hasty: EspeakPool) -> None:
    worker = find_worker()
    pieces = hasty.speak(ENDLESS)
    await anext(pieces)
    worker.suspend()
    await pieces.aclose()

    assert await render(hasty, SHORT)

    assert not worker.is_running()


async def test_stall_in_mid_speech_is_an_error(hasty: EspeakPool) -> None:
    pieces = hasty.speak(ENDLESS)
    await anext(pieces)
    find_worker().suspend()

    with pytest.raises(EngineError):
        async for _ in pieces:
            pass


async def test_waiting_for_a_worker_has_an_end() -> None:
    pool = EspeakPool(1, PoolLimits(turn_s=0.05))
    await pool.start()
    try:
        async with aclosing(pool.speak(ENDLESS)) as pieces:
            await anext(pieces)
            with pytest.raises(EngineError, match="became free"):
                await render(pool, SHORT)
    finally:
        await pool.close()


async def test_refused_voice_is_an_error_and_the_worker_stays(pool: EspeakPool) -> None:
    worker = find_worker()

    with pytest.raises(EngineError, match="could not speak"):
        await render(pool, Order(voice="no/such", text="hello"))

    assert await render(pool, SHORT)
    assert find_worker() == worker


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
async def test_signals_meant_for_the_server_do_not_end_a_worker(pool: EspeakPool) -> None:
    worker = find_worker()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        worker.send_signal(number)

    assert await render(pool, SHORT)

    assert find_worker() == worker


async def test_library_that_cannot_load_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: "/nowhere/libespeak.so")
    tasks_before = asyncio.all_tasks()

    with pytest.raises(EngineUnavailableError, match="pip install") as caught:
        await EspeakPool(2).start()

    assert "/nowhere" not in caught.value.message
    assert not find_workers()
    assert asyncio.all_tasks() == tasks_before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a FIFO")
async def test_worker_that_never_gets_ready_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    endless = tmp_path / "libespeak-ng.so"
    os.mkfifo(endless)  # opening it for reading waits for ever
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(endless))

    with pytest.raises(EngineUnavailableError, match="no sign of life"):
        await EspeakPool(1, PoolLimits(start_s=0.1)).start()

    assert not find_workers()


SERVER = """
import asyncio, psutil
from fishs2.engines.espeak.pool import EspeakPool
from fishs2.engines.espeak.worker import Order

async def main():
    pool = EspeakPool(2)
    await pool.start()
    pieces = pool.speak(Order(voice="gmw/en-US", text="one two " * 100_000))
    await anext(pieces)
    print(*[child.pid for child in psutil.Process().children()], flush=True)
    async for _ in pieces:
        pass

asyncio.run(main())
"""


async def test_killed_parent_leaves_no_workers() -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in (await server.stdout.readline()).split()]
    server.kill()
    await server.communicate()

    _, alive = await asyncio.to_thread(psutil.wait_procs, workers, timeout=PATIENCE_S)

    assert len(workers) == 2
    assert not alive
