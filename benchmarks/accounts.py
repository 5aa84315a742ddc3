"""Print what keys and cached audio cost, and whether quotas are exact after a crash.

    .venv/bin/python -m benchmarks.accounts

The engine is a fake that answers at once; server, database and client are real. The server is a
process of its own, whose CPU time is read before and after.
"""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from fishs2.store.accounts.keys import NewKey, create_key, find_key
from fishs2.store.accounts.usage import Outcome, read_usage, release_dead, reserve, settle, today
from fishs2.store.database import Database
from tests.serving import server_process

NUM_REQUESTS = 1_000
NUM_TURNS = 5
NUM_MIXED = 10_000
GRANTED = 10**9


def cpu_s(url: str) -> float:
    """CPU time of the process that listens there."""
    port = int(url.rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.status == "LISTEN":
            times = psutil.Process(connection.pid).cpu_times()
            return float(times.user + times.system)
    raise AssertionError("nobody listens")


def ask(url: str, client: httpx.Client, num: int, **fields: object) -> tuple[float, float]:
    """Median wall ms and mean CPU ms per request."""
    body = {"reference_id": "default", "text": "A sentence to speak.", "format": "pcm", **fields}
    before, walls = cpu_s(url), []
    for _ in range(num):
        started_s = time.perf_counter()
        client.post("/api/open/tts", json=body).raise_for_status()
        walls.append(1000 * (time.perf_counter() - started_s))
    return statistics.median(walls), 1000 * (cpu_s(url) - before) / num


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure_keys(folder: Path) -> None:
    """Open requests beside authenticated ones, in turns: one server each."""
    with server(folder / "open") as free, server(folder / "keys") as guarded:
        database = Database(f"sqlite:///{folder / 'keys' / 'data' / 'fishs2.db'}")
        database.migrate()
        _, token = create_key(database, NewKey("bench", granted=GRANTED))
        database.close()
        time.sleep(1.2)  # the server reads its keys every second
        headers = {"Authorization": f"Bearer {token}"}
        opened, keyed = [], []
        with (
            httpx.Client(base_url=free) as free_client,
            httpx.Client(base_url=guarded, headers=headers) as client,
        ):
            for _ in range(NUM_TURNS):
                opened.append(ask(free, free_client, NUM_REQUESTS // NUM_TURNS))
                keyed.append(ask(guarded, client, NUM_REQUESTS // NUM_TURNS))
            walls = [k[0] - o[0] for k, o in zip(keyed, opened, strict=True)]
            cpus = [k[1] - o[1] for k, o in zip(keyed, opened, strict=True)]
            print(f"open request            {spread([o[1] for o in opened])} ms CPU")
            print(f"a key costs             {spread(cpus)} ms CPU, {spread(walls)} ms wall")
            ask(guarded, client, 1, cache=True)
            hits = [ask(guarded, client, 200, cache=True) for _ in range(NUM_TURNS)]
            print(f"cache hit, JSON         {spread([h[0] for h in hits])} ms wall p50")
            body = {"reference_id": "default", "text": "A sentence to speak.", "cache": True}
            clip = client.post("/api/open/tts", json=body).json()["audio_url"]
            firsts = []
            for _ in range(500):
                started_s = time.perf_counter()
                with client.stream("GET", clip) as answer:
                    next(answer.iter_raw())
                    firsts.append(1000 * (time.perf_counter() - started_s))
            print(f"cached audio, first byte {statistics.median(firsts):.2f} ms p50")
            print(f"cache hits, 8 clients   {asyncio.run(hits_per_s(clip)):.0f} per s")


async def hits_per_s(clip: str) -> float:
    """Complete downloads per second of one clip, by 8 clients for 5 s."""
    num_done = 0
    end_s = time.perf_counter() + 5

    async def listen() -> None:
        nonlocal num_done
        async with httpx.AsyncClient() as client:
            while time.perf_counter() < end_s:
                (await client.get(clip)).raise_for_status()
                num_done += 1

    await asyncio.gather(*(listen() for _ in range(8)))
    return num_done / 5


def server(folder: Path):  # type: ignore[no-untyped-def]
    """A server around the recording engine, whose record goes nowhere."""
    folder.mkdir()
    return server_process(
        folder, module="tests.recording_server", arguments=(), RECORDING=os.devnull
    )


def measure_exactness(folder: Path) -> None:
    """10,000 admissions in a child that is killed in the middle, and goes on."""
    url = f"sqlite:///{folder / 'exact.db'}"
    database = Database(url)
    database.migrate()
    key, _ = create_key(database, NewKey("bench", granted=GRANTED))
    command = [sys.executable, "-m", "benchmarks.accounts", "work", url, key.id]
    started_s = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(NUM_MIXED // 2):
        child.stdout.readline()
    child.kill()
    child.communicate()
    release_dead(database, time.time() + 1e6)
    [day] = read_usage(database, key.id, today())
    subprocess.run(
        [*command, str(NUM_MIXED - day.num_requests)], check=True, stdout=subprocess.DEVNULL
    )
    release_dead(database, time.time() + 1e6)
    [day] = read_usage(database, key.id, today())
    found = find_key(database, key.id)
    assert found is not None
    took_s = time.perf_counter() - started_s
    print(
        f"{day.num_requests:,} settled in {took_s:.1f} s: spent {found.spent:,}, by the days "
        f"{day.num_chars:,}, still reserved {found.reserved}, active {found.active}"
    )
    assert found.spent == day.num_chars
    assert (found.reserved, found.active) == (0, 0)
    database.close()


def work(url: str, key_id: str, num: int) -> None:
    """Admit and settle with random ends; a line for each."""
    database = Database(url)
    ends = random.Random()
    for _ in range(num):
        num_chars = ends.randint(1, 500)
        outcome = ends.choice(
            [Outcome(num_chars), Outcome(ends.randint(0, num_chars)), Outcome(is_error=True)]
        )
        reservation_id = f"{ends.getrandbits(128):032x}"
        reserve(database, key_id, num_chars, owner_id="bench", reservation_id=reservation_id)
        settle(database, key_id, reservation_id, outcome)
        print(flush=True)


def main() -> None:
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else NUM_MIXED)
        return
    with tempfile.TemporaryDirectory() as name:
        measure_keys(Path(name))
        measure_exactness(Path(name))


if __name__ == "__main__":
    main()
