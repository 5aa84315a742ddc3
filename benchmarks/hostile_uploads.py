"""How long speech waits for uploads that are made to cost much, and what they cost.

    .venv/bin/python -m benchmarks.hostile_uploads

A server with the `builtin` engine; one client asks for short speech again and again: alone, beside
two uploads of 10 MB of zeros at a time, which shows what reading such bodies costs, beside 10 MB of
tiny ADTS frames, and beside the same as inline references.
"""

import asyncio
import base64
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil

from tests.recordings import make_adts
from tests.serving import running_server

BOMB = make_adts(b"\xe0", num_bytes=10_000_000)
GOOD_S = 4.0
NUM_ROUNDS = 3


async def speak(client: httpx.AsyncClient) -> float:
    """Time to the first byte of a short sentence, in ms."""
    body = {"model": "fishs2", "input": "Hello there.", "response_format": "mp3"}
    started_s = time.perf_counter()
    async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        answer.raise_for_status()
        async for _ in answer.aiter_raw():
            break
    return 1000 * (time.perf_counter() - started_s)


async def upload_zeros(client: httpx.AsyncClient) -> httpx.Response:
    files = {"files": ("a.aac", bytes(len(BOMB)), "audio/aac")}
    return await client.post("/v1/audio/voices", files=files, data={"voice_id": "zeros"})


async def upload(client: httpx.AsyncClient) -> httpx.Response:
    files = {"files": ("a.aac", BOMB, "audio/aac")}
    return await client.post("/v1/audio/voices", files=files, data={"voice_id": "bomb"})


async def refer(client: httpx.AsyncClient) -> httpx.Response:
    audio = base64.b64encode(BOMB).decode()
    body = {"text": "Hi.", "references": [{"audio": audio, "text": "What is said."}]}
    return await client.post("/v1/tts", json=body, headers={"model": "s1"})


Attack = Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]


async def attack(client: httpx.AsyncClient, kind: Attack) -> list[str]:
    """Two at a time, a few times over; how each was answered, and after how long."""
    answers: list[str] = []
    for _ in range(NUM_ROUNDS):
        started_s = time.perf_counter()
        both = await asyncio.gather(kind(client), kind(client))
        took_s = time.perf_counter() - started_s
        answers += [f"{answer.status_code} {took_s:.1f} s" for answer in both]
    return answers


def cpu_s(process: psutil.Process) -> float:
    """CPU time of the server and its children so far."""
    return sum(sum(each.cpu_times()[:2]) for each in (process, *process.children(recursive=True)))


async def measure(url: str, process: psutil.Process, kind: Attack | None) -> str:
    """A row: first audio of those who only want speech."""
    before_s, times_ms = cpu_s(process), []
    async with (
        httpx.AsyncClient(base_url=url, timeout=120) as reader,
        httpx.AsyncClient(base_url=url, timeout=120) as attacker,
    ):
        work = attack(attacker, kind) if kind else asyncio.sleep(GOOD_S, [])
        attacking = asyncio.create_task(work)
        while not attacking.done():
            times_ms.append(await speak(reader))
            await asyncio.sleep(0.02)
    memory = sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    name = kind.__name__ if kind else "alone"
    return (
        f"| {name} | {statistics.median(times_ms):.1f} | {max(times_ms):.1f} "
        f"| {cpu_s(process) - before_s:.1f} | {memory >> 20} | {', '.join(await attacking)} |"
    )


async def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as (url, server):
        process = psutil.Process(server.pid)
        print("| | first audio p50, ms | largest, ms | CPU, s | memory, MB | answers |")
        print("|---|---|---|---|---|---|")
        for kind in (None, upload_zeros, upload, refer, None):
            print(await measure(url, process, kind), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
