"""What listening costs and what it understands: our hop, and the words of `builtin`.

    .venv/bin/python benchmarks/listening.py --model .cache/whisper-base [--hop] [--words]

The hop is the way through our process, pipes and JSON: the same recording is heard in turn by
faster-whisper in this process and through `WhisperListener`, with the same settings and threads.
The words are 100 English sentences that `builtin` speaks and the model hears: word error rate, and
how many of them `verify` would call different.
"""

import asyncio
import os
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fishs2.audio.decode import decode_audio
from fishs2.audio.pcm import Pcm
from fishs2.engines.base import Utterance
from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.listening.base import Wish, hear
from fishs2.listening.comparing import compare
from fishs2.listening.whisper import WhisperListener
from fishs2.listening.whisper_child import hear_parts
from fishs2.service.listening import resampled
from fishs2.service.speech.verify import is_far
from fishs2.store.voices.store import SAMPLE_VOICES

WHO = (
    "The old sailor", "My younger sister", "A tired farmer", "The new teacher", "Every good doctor",
    "The quiet neighbour", "One of the children", "The captain of the ship", "Our friendly baker",
    "A stranger from the city",
)  # fmt: skip
WHAT = (
    "carried the lantern down to the harbour before sunrise.",
    "found three letters under the kitchen table.",
    "walked along the river until the rain had stopped.",
    "never spoke about the long winter in the mountains.",
    "bought fresh bread and a little cheese for the journey.",
    "waited at the station while the last train was delayed.",
    "painted the garden fence in a bright shade of green.",
    "told the whole story again, slowly and very clearly.",
    "forgot the keys and had to climb through a window.",
    "played an old song on the piano after dinner.",
)


def main(
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path(".cache/whisper-base"),
    runs: int = 9,
    hop: bool = True,
    words: bool = True,
) -> None:
    """Measure and print."""
    asyncio.run(_measure(model, runs, hop=hop, words=words))


async def _measure(folder: Path, runs: int, *, hop: bool, words: bool) -> None:
    listener = WhisperListener(folder, folder.name, idle_s=600)
    try:
        if hop:
            await _measure_hop(listener, folder, runs)
        if words:
            await _measure_words(listener)
    finally:
        await listener.close()


async def _measure_hop(listener: WhisperListener, folder: Path, runs: int) -> None:
    from faster_whisper import WhisperModel

    threads = min(4, os.cpu_count() or 1)
    direct = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
    pcm = _recording()
    ours, theirs = [], []
    for number in range(runs + 1):
        start_s = time.perf_counter()
        list(hear_parts(direct, pcm, {"language": "en"}))
        between_s = time.perf_counter()
        await hear(listener, pcm, Wish("en"))
        if number:  # the first of each loads
            theirs.append(between_s - start_s)
            ours.append(time.perf_counter() - between_s)
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{len(pcm) / 16_000:.1f} s of sound, {threads} threads, median of {runs}:")
    print(f"  faster-whisper {other:.3f} s, through the process {mine:.3f} s: {mine / other:.2f}")


async def _measure_words(listener: WhisperListener) -> None:
    engine = BuiltinEngine(num_workers=1)
    await engine.start()
    num_words = num_errors = num_far = 0
    rates = []
    try:
        for who, what in product(WHO, WHAT):
            text = f"{who} {what}"
            pcm = await speak(engine, text)
            heard = await hear(listener, pcm, Wish("en"))
            found = compare(text, heard.text)
            num_words += found.num_words
            num_errors += found.num_errors
            num_far += is_far(found)
            rates.append(found.rate)
    finally:
        await engine.close()
    print(f"{len(rates)} sentences of builtin (en-us), {num_words} words:")
    print(f"  word error rate {num_errors / num_words:.3f}, verify: {num_far} differ")
    print(f"  by sentence: median {statistics.median(rates):.3f}, most {max(rates):.3f}")


async def speak(engine: BuiltinEngine, text: str) -> Pcm:
    """What `builtin` makes of a sentence, as a listener takes it."""
    pieces = [chunk async for chunk in engine.speak(Utterance(text, voice="en-us"))]
    return resampled(np.concatenate([each.pcm for each in pieces]), pieces[0].sample_rate_hz)


def _recording() -> Pcm:
    source = next((SAMPLE_VOICES / "sample_female").glob("*.wav")).read_bytes()
    decoded = decode_audio(source, max_seconds=90)
    return resampled(decoded.pcm, decoded.sample_rate_hz)


if __name__ == "__main__":
    typer.run(main)
