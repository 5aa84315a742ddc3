"""Where eSpeak should run: a thread of the server under a lock, or 1, 2, 4 worker processes.

For each: seconds of audio made per second with 16 utterances asked for at a time, time to the
first chunk when idle and with 16 at a time, and how late the event loop runs meanwhile. The thread
drops and reloads the library between utterances as a worker does, since both must give the same
samples for the same text.

    .venv/bin/python -m benchmarks.builtin_pool
"""

import asyncio
import os
import statistics
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import espeakng_loader

from fishs2.engines.espeak.pool import EspeakPool
from fishs2.engines.espeak.worker import SAMPLE_RATE_HZ, Espeak, Order, Speech

TEXT = (
    "The quick brown fox jumps over the lazy dog. It was raining, and nobody came. "
    "She sells sea shells by the sea shore, and I am sure that they are fine, as ever. "
)
ORDER = Order(voice="gmw/en-US", text=TEXT)
NUM_READERS = 16
NUM_ROUNDS = 40
NUM_SOLO = 50
TICK_S = 0.001

Speak = Callable[[Order], AsyncGenerator[Speech]]


@dataclass(slots=True)
class Tally:
    """Times in ms; audio in seconds. Filled while the readers run."""

    audio_s: float = 0.0
    first_chunk_ms: list[float] = field(default_factory=list)
    loop_late_ms: list[float] = field(default_factory=list)


class ThreadedEspeak:
    """eSpeak in this process: one utterance at a time, on a thread."""

    def __init__(self) -> None:
        os.chdir(Path(espeakng_loader.get_data_path()).parent)
        self._espeak = Espeak(espeakng_loader.get_library_path())
        self._lock = threading.Lock()

    async def speak(self, order: Order) -> AsyncGenerator[Speech]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Speech | None] = asyncio.Queue()  # bounded by the text
        work = loop.run_in_executor(None, self._speak_blocking, order, loop, pieces)
        while (piece := await pieces.get()) is not None:
            yield piece
        await work

    def _speak_blocking(
        self,
        order: Order,
        loop: asyncio.AbstractEventLoop,
        pieces: asyncio.Queue[Speech | None],
    ) -> None:
        with self._lock:

            def put(piece: Speech | None) -> None:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

            self._espeak.speak(order, send=put, is_stopped=lambda: False)
            put(None)
            self._espeak.reload()


async def read(speak: Speak, tally: Tally) -> None:
    start_s = time.perf_counter()
    first_s = None
    async for piece in speak(ORDER):
        first_s = first_s or time.perf_counter()
        tally.audio_s += len(piece.pcm) / 2 / SAMPLE_RATE_HZ
    assert first_s is not None
    tally.first_chunk_ms.append((first_s - start_s) * 1e3)


async def read_repeatedly(speak: Speak, tally: Tally) -> None:
    for _ in range(NUM_ROUNDS):
        await read(speak, tally)


async def watch_loop(tally: Tally) -> None:
    while True:
        due_s = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        tally.loop_late_ms.append((time.perf_counter() - due_s) * 1e3)


async def measure(name: str, speak: Speak) -> None:
    await read(speak, Tally())  # warm
    solo = Tally()
    for _ in range(NUM_SOLO):
        await asyncio.sleep(0.01)
        await read(speak, solo)
    tally = Tally()
    watch = asyncio.create_task(watch_loop(tally))
    start_s = time.perf_counter()
    await asyncio.gather(*(read_repeatedly(speak, tally) for _ in range(NUM_READERS)))
    elapsed_s = time.perf_counter() - start_s
    watch.cancel()
    print(
        f"| {name:12} | {tally.audio_s / elapsed_s:5.0f} | {describe(solo.first_chunk_ms)} "
        f"| {describe(tally.first_chunk_ms)} | {percentile_99(tally.loop_late_ms):5.1f} |"
    )


def describe(values: list[float]) -> str:
    return f"{statistics.median(values):5.1f} / {percentile_99(values):5.1f}"


def percentile_99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


async def main() -> None:
    print(f"{os.cpu_count()} cores, {NUM_READERS} readers\n")
    print(
        "| where | audio s / s | first chunk ms, idle, p50 / p99 | loaded, p50 / p99 | loop p99 |"
    )
    print("|---|---|---|---|---|")
    await measure("thread", ThreadedEspeak().speak)
    for num_workers in (1, 2, 4):
        pool = EspeakPool(num_workers)
        await pool.start()
        await measure(f"{num_workers} processes", pool.speak)
        await pool.close()


if __name__ == "__main__":
    asyncio.run(main())
