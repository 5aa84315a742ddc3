"""Many requests of all kinds, most of them cut short at random: what leaks, and what sounds wrong?

    .venv/bin/python -m benchmarks.soak                (1,000 requests, a tiny random model)
    .venv/bin/python -m benchmarks.soak --requests 150 --seed 2

Every kind of request is first made alone. Then clients make them at once: some read to the end,
some one byte at a time, some leave while they send, before the first audio or in the middle,
politely or not. Whatever is read to its end must be what was read alone, byte by byte. Afterwards
the server must have as many threads, files and processes as before, no slot, turn or temporary file
in use, and not grow. Ends with status 1 if it is otherwise.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from benchmarks.make_model import make_model, sizes
from benchmarks.soak_clients import Tally, hear_alone, make_kinds, make_recording, soak
from tests.serving import server_process

NUM_KINDS = 40
NUM_AT_ONCE = 24
NUM_ROUNDS = 4
MAX_GROWTH = 0.05
"""Of resident memory, from the end of the first round to the end of the last."""

_IDLE_S = 30.0
_SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a server process holds."""

    memory_bytes: int
    num_threads: int
    num_files: int
    num_children: int
    files: frozenset[str]


def store_voices(url: str) -> list[str]:
    """Store two voices; returns their names."""
    names = ["low", "high"]
    with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
        for name, frequency_hz in zip(names, (110, 440), strict=True):
            stored = client.post(
                "/v1/audio/voices",
                files={"files": ("a.wav", make_recording(frequency_hz, 1.0), "audio/wav")},
                data={"voice_id": name, "prompt_text": f"A {name} voice."},
            )
            stored.raise_for_status()
    return names


async def wait_until_idle(url: str, token: str = "") -> dict[str, float]:
    """Wait until the server has nothing in progress; returns its metrics by name and labels.

    token: the key of a server that asks for one.
    Raises AssertionError when that takes longer than a request could.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(
        base_url=url, timeout=30, trust_env=False, headers=headers
    ) as client:
        ends_s = time.monotonic() + _IDLE_S
        while True:
            health = (await client.get("/health")).json()
            metrics = read_metrics((await client.get("/metrics")).text)
            busy = {
                name: metrics.get(name, 0.0)
                for name in ("fishs2_streams", "fishs2_queued", "fishs2_engine_active_slots")
            }
            if health["queue"] == {"streams": 0, "waiting": 0} and not any(busy.values()):
                return metrics
            assert time.monotonic() < ends_s, f"still busy: {health['queue']}, {busy}"
            await asyncio.sleep(0.02)


def read_metrics(text: str) -> dict[str, float]:
    """Prometheus' text format, without its comments."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def take_footprint(process: psutil.Process, folder: Path) -> Footprint:
    """Look at a server process and at the files in its folder, but for logs and the database."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = {str(path) for path in files if path.parts[0] not in ("logs", "data")}
    return Footprint(
        process.memory_info().rss,
        process.num_threads(),
        process.num_fds(),
        len(process.children()),
        frozenset(kept),
    )


async def _settled_footprint(process: psutil.Process, folder: Path, wanted: int) -> Footprint:
    """Once no more than `wanted` files are open: connections close a moment after their answer."""
    ends_s = time.monotonic() + _SETTLE_S
    while True:
        now = take_footprint(process, folder)
        if now.num_files <= wanted or time.monotonic() > ends_s:
            return now
        await asyncio.sleep(0.05)


def s2_environment(model: Path) -> dict[str, str]:
    """The settings of a server with the model in this folder."""
    return {
        "FISHS2_ENGINE": "s2",
        "FISHS2_BACKEND": "cpu",
        "FISHS2_MODEL_PATH": str(model / "model.gguf"),
        "FISHS2_TOKENIZER_PATH": str(model / "tokenizer.json"),
        "FISHS2_MAX_SEQ": "1024",
        "OMP_NUM_THREADS": "1",
        # The kernels' threads would only wait for each other on products this small.
        "NUMBA_NUM_THREADS": "1",
        # With an arena per thread, glibc's resident memory wanders by more than a leak would show.
        "MALLOC_ARENA_MAX": "1",
    }


@contextmanager
def s2_server(folder: Path, model: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server with its files in `folder` and temporary ones in `folder/tmp`."""
    (folder / "tmp").mkdir()
    environment = {**s2_environment(model), "TMPDIR": str(folder / "tmp")}
    known = {child.pid for child in psutil.Process().children()}
    with server_process(folder, wait_for_engine=True, arguments=("serve",), **environment) as url:
        (process,) = (c for c in psutil.Process().children() if c.pid not in known)
        yield url, process


async def run(folder: Path, model: Path, *, num_requests: int, seed: int) -> list[str]:
    """The whole soak; prints its report and returns what is wrong."""
    with s2_server(folder, model) as (url, process):
        voices = await asyncio.to_thread(store_voices, url)
        kinds = make_kinds(voices, num=NUM_KINDS, seed=seed)
        started_s = time.monotonic()
        alone = await hear_alone(url, kinds)
        again = await hear_alone(url, kinds[:5])
        wrong = [] if again == alone[:5] else ["the same request alone does not sound the same"]
        await wait_until_idle(url)
        prints = [take_footprint(process, folder)]
        _show("alone", time.monotonic() - started_s, Tally(), prints[0])
        outcomes: Counter[str] = Counter()
        metrics: dict[str, float] = {}
        for round_number in range(1, NUM_ROUNDS + 1):
            started_s = time.monotonic()
            tally = await soak(
                url,
                kinds,
                alone,
                num_requests=num_requests // NUM_ROUNDS,
                num_at_once=NUM_AT_ONCE,
                seed=1_000 * seed + round_number,
            )
            metrics = await wait_until_idle(url)
            prints.append(await _settled_footprint(process, folder, prints[0].num_files))
            _show(f"round {round_number}", time.monotonic() - started_s, tally, prints[-1])
            wrong += tally.wrong
            outcomes += tally.outcomes
    for name, value in sorted(metrics.items()):
        if name.startswith("fishs2_requests_total") or "restarts_total" in name:
            print(f"{name} {value:.0f}")
    print(f"{outcomes.total()} requests: {dict(outcomes)}")
    return wrong + list(find_leaks(prints, metrics))


def find_leaks(prints: Sequence[Footprint], metrics: dict[str, float]) -> Iterator[str]:
    """What the server holds in the end that it did not hold before. prints: before, then rounds."""
    before, first, last = prints[0], prints[1], prints[-1]
    # Pools of threads grow until each has been needed once; some end when they were idle.
    most = max(each.num_threads for each in prints[:-1])
    if last.num_threads > most:
        yield f"threads: {most} at most before, {last.num_threads} at the end"
    if last.num_files > before.num_files:
        yield f"open files: {before.num_files} before, {last.num_files} at the end"
    if last.num_children != before.num_children:
        yield f"child processes: {before.num_children} before, {last.num_children} at the end"
    if new := sorted(last.files - before.files):
        yield f"files that were not there before: {', '.join(new)}"
    if last.memory_bytes > (1 + MAX_GROWTH) * first.memory_bytes:
        yield f"memory grew from {first.memory_bytes:,} to {last.memory_bytes:,} bytes"
    for name, value in metrics.items():
        if value and ("restarts_total" in name or 'outcome="failed"' in name):
            yield f"{name} is {value:.0f}"


def _show(name: str, took_s: float, tally: Tally, now: Footprint) -> None:
    print(
        f"{name:<8} {took_s:6.1f} s  {tally.outcomes.total():4} requests, "
        f"{len(tally.wrong)} wrong; {now.memory_bytes / 1e6:.1f} MB, {now.num_threads} threads, "
        f"{now.num_files} files open",
        flush=True,
    )


def main() -> None:
    """Read the command line and soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="folder that make_model wrote; default: tiny")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fishs2-soak-") as name:
        folder = Path(name) / "server"
        folder.mkdir()
        model = asked.model or Path(name) / "model"
        if asked.model is None:
            make_model(model, sizes()["tiny"], "Q8_0")
        wrong = asyncio.run(run(folder, model, num_requests=asked.requests, seed=asked.seed))
    for line in wrong:
        print(f"WRONG: {line}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
