"""What the hop to a child process costs: per chunk, to the first chunk, and for a new reference.

    .venv/bin/python -m benchmarks.engine_host

The engine in the child writes the time at which it yields a chunk into its samples (the clock is
one for all processes), so a hop is measured chunk by chunk; the same engine in this process is the
other side. Chunks are as large as those of the s2 engine: 2, 4, 8 and 16 frames of 2,048 samples.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator

import numpy as np

from fishs2.engines.base import (
    AudioChunk,
    Capabilities,
    EngineStats,
    Reference,
    SpeechEngine,
    Utterance,
)
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.messages import Recipe
from fishs2.errors import NotFoundError

NUM_UTTERANCES = 60
CHUNK_FRAMES = (2, 4, 8, *[16] * 12)
PAUSE_S = 0.002
"""Between two chunks: an engine computes, it does not pour."""


class TimedEngine:
    """Yields chunks whose first two samples hold the time, as float64."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("timed", "cpu", 44_100, 4, 400, voices=("default",), cloning="full")

    async def start(self) -> None:
        pass

    def find_voice(self, voice: str | None, language: str | None) -> str:
        if voice not in (None, "default"):
            raise NotFoundError("no such voice", code="voice_not_found", param="voice")
        return "default"

    async def speak(self, utterance: Utterance) -> AsyncGenerator[AudioChunk]:
        for num_frames in CHUNK_FRAMES:
            await asyncio.sleep(PAUSE_S)
            pcm = np.zeros(2_048 * num_frames, np.float32)
            pcm[:2].view(np.float64)[0] = time.perf_counter()
            yield AudioChunk(pcm, 44_100)

    def end_speech(self, speech: str) -> None:
        """It carries nothing over."""

    def stats(self) -> EngineStats:
        return EngineStats()

    async def close(self) -> None:
        pass


def make() -> TimedEngine:
    """For the child."""
    return TimedEngine()


async def measure(engine: SpeechEngine) -> tuple[list[float], list[float]]:
    """Hop of every chunk and time to the first one, in ms."""
    hops, firsts = [], []
    for _ in range(NUM_UTTERANCES):
        started_s = time.perf_counter()
        is_first = True
        async for chunk in engine.speak(Utterance("A sentence of ordinary length.")):
            now_s = time.perf_counter()
            hops.append(1000 * (now_s - chunk.pcm[:2].view(np.float64)[0]))
            if is_first:
                firsts.append(1000 * (now_s - started_s - PAUSE_S))
                is_first = False
    return hops, firsts


async def measure_reference(engine: SpeechEngine, *, is_new: bool) -> list[float]:
    """Time to the first chunk with 30 s of reference, in ms."""
    pcm = np.zeros(30 * 44_100, np.float32)
    firsts = []
    for number in range(20):
        reference = Reference(pcm, 44_100, "said", key=f"{number if is_new else 0}")
        speech = engine.speak(Utterance("Hello.", references=(reference,)))
        started_s = time.perf_counter()
        await anext(speech)
        firsts.append(1000 * (time.perf_counter() - started_s - PAUSE_S))
        await speech.aclose()
    return firsts


def describe(values: list[float]) -> str:
    return f"{statistics.median(values):6.3f} | {statistics.quantiles(values, n=100)[98]:6.3f}"


async def main() -> None:
    """Measure here and there, in turns."""
    hosted = HostedEngine(Recipe("benchmarks.engine_host", "make"))
    started_s = time.perf_counter()
    await hosted.start()
    print(f"start of the child: {time.perf_counter() - started_s:.2f} s\n")
    here: tuple[list[float], list[float]] = ([], [])
    there: tuple[list[float], list[float]] = ([], [])
    for _ in range(3):
        for engine, into in ((TimedEngine(), here), (hosted, there)):
            hops, firsts = await measure(engine)
            into[0].extend(hops)
            into[1].extend(firsts)
    print("| ms, p50 and p99 | p50 | p99 |\n|---|---|---|")
    print(f"| a chunk, in this process | {describe(here[0])} |")
    print(f"| a chunk, from the child | {describe(there[0])} |")
    print(f"| first chunk, in this process | {describe(here[1])} |")
    print(f"| first chunk, from the child | {describe(there[1])} |")
    print(
        f"| with 30 s of new reference | {describe(await measure_reference(hosted, is_new=True))} |"
    )
    print(f"| with a known reference | {describe(await measure_reference(hosted, is_new=False))} |")
    await hosted.close()


if __name__ == "__main__":
    asyncio.run(main())
