"""Many utterances at once in the S2 engine, on a random-weight model.

    python -m benchmarks.s2_batch --size small

Prints what a batch saves, what the engine itself costs per step, what a cached voice saves, and
whether the first sound waits for the length of the text.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.make_model import make_model, sizes
from fishs2.engines.s2.device.model import Model, ModelFiles, Precision, load_model
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.runner import Runner
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.engine.vocoder import PlainRows
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.prompt import EncodedReference, build_system, build_turns
from fishs2.engines.s2.model.step import PlainStep

_TEXT = "This is sentence number {} of the benchmark, and nobody has heard it before."
_REFERENCE_FRAMES = 215  # 10 s
_NUM_RUNS = 3


def make(
    model: Model, number: int, *, frames: int, text: str = _TEXT, voice: int = 0
) -> UtteranceState:
    """An utterance of exactly `frames` frames. voice: another number is another reference."""
    num_codebooks = model.ar.config.num_codebooks
    shown = []
    if voice:
        size = model.codec.config.residual_codebook_size
        codes = np.random.default_rng(voice).integers(0, size, (num_codebooks, _REFERENCE_FRAMES))
        shown = [EncodedReference("A voice that is known.", codes.astype(np.int32))]
    system = build_system(model.tokenizer, references=shown, num_codebooks=num_codebooks)
    turns = build_turns(model.tokenizer, text.format(number), num_codebooks=num_codebooks)
    params = GenerateParams(
        seed=number, max_new_tokens=frames, min_tokens_before_end=frames, top_k=30
    )
    return UtteranceState(np.concatenate((system, turns), axis=1), system.shape[1], params, frames)


def speak(core: Core, utterances: list[UtteranceState]) -> list[float]:
    """Speak all at once. Returns the seconds of each step."""
    for each in utterances:
        core.add(each)
    left, steps = list(utterances), []
    while left:
        started_s = time.perf_counter()
        core.step()
        steps.append(time.perf_counter() - started_s)
        for each in [each for each in left if each.is_spoken]:
            left.remove(each)
            core.release(each)
    return steps


def first_audio_s(core: Core, utterance: UtteranceState) -> float:
    """Seconds from adding an utterance to its first samples."""
    started_s = time.perf_counter()
    core.add(utterance)
    while not core.step():
        pass
    took_s = time.perf_counter() - started_s
    core.release(utterance)
    return took_s


@contextmanager
def model_time(spent: list[float]) -> Iterator[None]:
    """Add up the time inside the passes over weights and codec, and the draws, in `spent[0]`."""

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            started_s = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                spent[0] += time.perf_counter() - started_s

        return run

    passes = ((PlainStep, "draw"), (Runner, "prefill"), (PlainRows, "launch"))
    patches = [
        mock.patch.object(owner, name, timed(getattr(owner, name))) for owner, name in passes
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def measure_batch(model: Model, limits: Limits, frames: int) -> None:
    ratios = []
    for run in range(_NUM_RUNS):
        alone = sum(
            sum(speak(Core(model, limits), [make(model, 100 * run + n, frames=frames)]))
            for n in range(16)
        )
        utterances = [make(model, 100 * run + n, frames=frames) for n in range(16)]
        together = sum(speak(Core(model, limits), utterances))
        ratios.append(together / alone)
        print(f"16 one after the other {alone:6.2f} s, together {together:6.2f} s")
    print(f"together / one after the other: {median(ratios):.2f}")


def measure_host(model: Model, frames: int) -> None:
    for num_streams in (1, 16, 64):
        core = Core(model, Limits(num_slots=num_streams, max_positions=512))
        speak(core, [make(model, n, frames=4) for n in range(num_streams)])
        spent = [0.0]
        with model_time(spent):
            steps = speak(core, [make(model, n, frames=frames) for n in range(num_streams)])
        outside = (sum(steps) - spent[0]) / len(steps)
        print(
            f"{num_streams:3} streams: step {1000 * median(steps):7.2f} ms, outside the model "
            f"{1000 * outside:5.2f} ms"
        )


def measure_first_audio(model: Model, limits: Limits) -> None:
    core = Core(model, limits)
    first_audio_s(core, make(model, 0, frames=4, voice=9))
    plain, new, known, long = [], [], [], []
    for n in range(1, 8):
        plain.append(first_audio_s(core, make(model, n, frames=4)))
        new.append(first_audio_s(core, make(model, n, frames=4, voice=100 + n)))
        known.append(first_audio_s(core, make(model, n, frames=4, voice=9)))
        long.append(first_audio_s(core, make(model, n, frames=4, text="Go on. " * 50 + _TEXT)))
    for name, values in (
        ("no reference", plain),
        ("new voice of 10 s, encoded", new),
        ("known voice of 10 s", known),
        ("text of 430 characters", long),
    ):
        print(f"first audio, {name}: {1000 * median(values):.1f} ms")


def main() -> None:
    """Read the command line, make the model, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=sizes(), default="small")
    parser.add_argument("--type", default="F32")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, sizes()[asked.size], asked.type)
        files = ModelFiles(folder / "model.gguf", codec_config=folder / "codec.json")
        model = load_model(files, Precision())
    limits = Limits(num_slots=16, max_positions=1024)
    measure_batch(model, limits, asked.frames)
    measure_host(model, asked.frames)
    measure_first_audio(model, limits)


if __name__ == "__main__":
    main()
