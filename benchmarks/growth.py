"""Print what the stores cost when there is much in them, as a Markdown table.

    .venv/bin/python -m benchmarks.growth         all rows, in about three minutes
    .venv/bin/python -m benchmarks.growth voices  some: voices, keys, clips, text, kills

Voices, keys and clips are measured at the stores, in this process, with files that lie in the
system's temporary folder. The long text is asked of a server in a process of its own, around a fake
engine that speaks at once; so are the kills.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import psutil
from sqlalchemy import insert

from fishs2.service.accounts.accounts import Accounts
from fishs2.store.accounts.keys import NewKey, create_key
from fishs2.store.clips import ClipStore
from fishs2.store.database import Database, keys
from fishs2.store.voices.store import VoiceStore
from tests.serving import running_server, server_process

NUM_LOOKS = 200
NUM_SENTENCES = 3_000
NUM_KILLS = 20

Row = tuple[str, str, str]
"""What, how many, and what was measured."""


def main() -> None:
    parts = {"voices": voices, "keys": key_rows, "clips": clips, "text": long_text, "kills": kills}
    chosen = sys.argv[1:] or list(parts)
    print("| what | how many | measured |\n|---|---|---|")
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="fishs2-growth-") as folder:
            for row in parts[name](Path(folder)):
                print(f"| {' | '.join(row)} |", flush=True)


def voices(folder: Path) -> Iterator[Row]:
    for num in (1_000, 10_000):
        place = folder / str(num)
        for number in range(num):
            put_voice(place / f"voice-{number}", f"Voice {number}")
        for what, took_ms in look_up(VoiceStore(place), num):
            yield f"voices: {what}", f"{num:,}", shown(took_ms)


def look_up(store: VoiceStore, num: int) -> Iterator[tuple[str, list[float]]]:
    yield "the first look at all", times_ms(lambda _: store.list(), 1)
    # Until no disk's clock is so coarse that the files could have changed unseen.
    time.sleep(3)
    store.refresh()
    store.find("nobody")
    yield "a look-up by id", times_ms(lambda n: store.find(f"voice-{n}"), NUM_LOOKS)
    yield "a look-up by name", times_ms(lambda n: store.find(f"VOICE {num - n}"), NUM_LOOKS)
    yield "a look-up of none", times_ms(lambda n: store.find(f"nobody {n}"), NUM_LOOKS)
    yield "list all", times_ms(lambda _: store.list(), 20)
    yield "look at all again, in the background", times_ms(lambda _: store.refresh(), 5)


def put_voice(place: Path, name: str) -> None:
    place.mkdir(parents=True)
    meta = {"name": name, "prompt_text": "Said.", "files": [{"filename": "a.wav"}]}
    (place / "a.wav").write_bytes(bytes(100))
    (place / "meta.json").write_text(json.dumps(meta))


def key_rows(folder: Path) -> Iterator[Row]:
    for num in (1_000, 100_000):
        database = Database(f"sqlite:///{folder / f'{num}.db'}")
        database.migrate()
        rows = [key_row(number) for number in range(num)]
        with database.write() as connection:
            connection.execute(insert(keys), rows)
        tokens = [create_key(database, NewKey(f"me {n}"))[1] for n in range(NUM_LOOKS)]
        first, again = asyncio.run(authenticate(database, tokens))
        yield "keys: authenticate, first time", f"{num:,}", shown(first)
        yield "keys: authenticate, again within a second", f"{num:,}", shown(again)


def key_row(number: int) -> dict[str, object]:
    return {
        "id": f"k{number:07d}",
        "name": f"key {number}",
        "secret_sha256": "0" * 64,
        "scopes": "speech",
        "created_s": number,
        "is_disabled": False,
        "spent": 0,
        "reserved": 0,
        "active": 0,
    }


async def authenticate(database: Database, tokens: list[str]) -> tuple[list[float], list[float]]:
    """Milliseconds of each key's first time and second time."""
    accounts = Accounts(database)
    await accounts.start()
    try:
        first = [await time_ms(partial(accounts.authenticate, token)) for token in tokens]
        again = [await time_ms(partial(accounts.authenticate, token)) for token in tokens]
    finally:
        await accounts.close()
    return first, again


def clips(folder: Path) -> Iterator[Row]:
    for num in (10_000, 50_000):
        place = folder / str(num)
        place.mkdir()
        for number in range(num):
            (place / f"{number:064x}.mp3").write_bytes(bytes(10))
        for what, took_ms in sweep(ClipStore(place, life_s=1e9, max_bytes=10 * num)):
            yield f"clips: {what}", f"{num:,}", shown(took_ms)


def sweep(store: ClipStore) -> Iterator[tuple[str, list[float]]]:
    yield "the first sweep", times_ms(lambda _: store.sweep(), 1)
    yield "a sweep", times_ms(lambda _: store.sweep(), NUM_LOOKS)
    added = times_ms(lambda n: store.add(f"key {n}", "mp3", bytes(10)), NUM_LOOKS)
    yield "add one to a full store", added
    store.close()


def long_text(folder: Path) -> Iterator[Row]:
    text = " ".join(
        f"This is sentence number {n} of a long text that is read." for n in range(3_000)
    )
    for response_format, extra in (
        ("wav", {}),
        ("mp3", {}),
        ("wav", {"prosody": {"normalize_loudness": True}}),
    ):
        place = folder / f"{response_format}{len(extra)}"
        place.mkdir()
        with server_process(
            place,
            module="tests.recording_server",
            arguments=(),
            RECORDING=os.devnull,
            FISHS2_MAX_INPUT_CHARS=str(len(text)),
        ) as url:
            body = {"model": "fishs2", "input": text, "response_format": response_format}
            num_bytes, before, peak = ask_whole(url, {**body, **extra, "stream": False})
        what = f"text: a whole {response_format} of {num_bytes / 1e6:,.0f} MB"
        what += ", brought to a loudness" if extra else ""
        grown = f"{before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB at most"
        yield what, f"{NUM_SENTENCES:,} sentences", grown


def ask_whole(url: str, body: dict[str, object]) -> tuple[int, int, int]:
    """Bytes of the answer; resident memory before, and at most."""
    process = psutil.Process(listener(url))
    with httpx.Client(base_url=url, timeout=600) as client:
        client.post("/v1/audio/speech", json={**body, "input": "A first one."}).raise_for_status()
        before = process.memory_info().rss
        num_bytes = 0
        with client.stream("POST", "/v1/audio/speech", json=body) as answer:
            for piece in answer.iter_raw():
                num_bytes += len(piece)
            answer.raise_for_status()
    status = Path(f"/proc/{process.pid}/status").read_text()
    [peak_kb] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return num_bytes, before, 1024 * int(peak_kb)


def listener(url: str) -> int:
    """The process that listens there."""
    port = int(url.rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.status == "LISTEN":
            return int(connection.pid or 0)
    raise AssertionError("nobody listens")


def kills(folder: Path) -> Iterator[Row]:
    """Seconds from the start of a server that was killed until it speaks."""
    took_s = []
    for _ in range(NUM_KILLS):
        started_s = time.perf_counter()
        with running_server(folder, FISHS2_ENGINE="builtin") as (url, process):
            body = {"model": "fishs2", "input": "It speaks again.", "response_format": "wav"}
            httpx.post(f"{url}/v1/audio/speech", json=body, timeout=60).raise_for_status()
            took_s.append(time.perf_counter() - started_s)
            process.kill()
            process.wait()
    middle, worst = statistics.median(took_s), max(took_s)
    yield (
        "kills: from the start to speech",
        f"{NUM_KILLS} kills",
        f"{middle:.2f} s, {worst:.2f} s at most",
    )


def times_ms(call: Callable[[int], object], num: int) -> list[float]:
    took_ms = []
    for number in range(num):
        started_s = time.perf_counter()
        call(number)
        took_ms.append(1000 * (time.perf_counter() - started_s))
    return took_ms


async def time_ms(call: Callable[[], Awaitable[object]]) -> float:
    started_s = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - started_s)


def shown(took_ms: list[float]) -> str:
    """The middle one and the worst but one in a hundred."""
    ordered = sorted(took_ms)
    middle, late = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
    return f"{middle:.3f} ms" + (f", p99 {late:.3f} ms" if len(ordered) > 1 else "")


if __name__ == "__main__":
    main()
