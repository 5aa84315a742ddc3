"""Print what stored voices cost over HTTP: listing 1,000 of them, storing one, deleting one.

    .venv/bin/python -m benchmarks.voices

The engine is a fake; the server, the folder and the client are real.
"""

import asyncio
import io
import statistics
import tempfile
import time
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import numpy as np

from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.store import VoiceStore
from tests.serving import serving

NUM_VOICES = 1_000
NUM_RUNS = 20
SECONDS, RATE_HZ = 30, 44_100


def wav_of_noise() -> bytes:
    """A 30 s WAV, 16-bit mono: nothing in it compresses or repeats."""
    samples = np.random.default_rng(0).integers(-9_000, 9_000, SECONDS * RATE_HZ, dtype=np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE_HZ)
        wav.writeframes(samples.tobytes())
    return file.getvalue()


async def measure(
    what: str, goal_ms: int | None, call: Callable[[int], Awaitable[httpx.Response]]
) -> None:
    times_ms = []
    for number in range(NUM_RUNS):
        started_s = time.perf_counter()
        answer = await call(number)
        times_ms.append(1000 * (time.perf_counter() - started_s))
        answer.raise_for_status()
    goal = f", goal {goal_ms} ms" if goal_ms else ""
    print(
        f"{what:<44} {statistics.median(times_ms):6.1f} ms "
        f"({min(times_ms):.1f} to {max(times_ms):.1f}){goal}"
    )


async def main() -> None:
    audio = wav_of_noise()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = VoiceStore(folder)
        for number in range(NUM_VOICES):
            sample = NewSample("sample.wav", audio[: 44 + 2 * RATE_HZ])
            store.add(NewVoice((sample,), voice_id=f"voice-{number}", transcript="Said. " * 20))
        async with serving(voices_dir=folder) as served:
            client = served.client
            await measure(
                f"list {NUM_VOICES:,} voices", 30, lambda _: client.get("/v1/audio/voices")
            )
            await measure(
                f"health with {NUM_VOICES:,} voices", None, lambda _: client.get("/health")
            )
            await measure(
                f"store a voice, {SECONDS} s of WAV",
                150,
                lambda n: client.post(
                    "/v1/audio/voices",
                    files={"files": ("a.wav", audio, "audio/wav")},
                    data={"voice_id": f"new-{n}", "prompt_text": "Said."},
                ),
            )
            await measure("delete it", None, lambda n: client.delete(f"/v1/voices/new-{n}"))


if __name__ == "__main__":
    asyncio.run(main())
