"""Load an S2 model and time its parts, one stream: the table in docs/benchmarks.md.

    python benchmarks/s2_parts.py MODEL.gguf --dtype bf16 --weights packed

Prints load time, peak memory of the process, and milliseconds per frame by part; with --profile
also the operations of PyTorch that take longest.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.profiler import profile

from fishs2.engines.s2.commands import DTYPES
from fishs2.engines.s2.device.model import Model, ModelFiles, Precision, load_model
from fishs2.engines.s2.model.codec import decode_step
from fishs2.engines.s2.model.fast_ar import decode_codes
from fishs2.engines.s2.model.kv_cache import allocate_kv_cache
from fishs2.engines.s2.model.layers import place_steps, run_blocks
from fishs2.engines.s2.model.slow_ar import embed, prefill, semantic_logits
from fishs2.engines.s2.model.streaming import StreamState, new_state

_NUM_PREFILL = 128  # tokens
_POSITIONS = (32, 256, 1_000)
_CODEC_FRAMES = (2, 4, 16)


def peak_gb() -> float:
    """Most memory this process ever held. Source: getrusage(2), kilobytes on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def timed(work: Callable[[], object], device: torch.device, *, num_runs: int) -> float:
    """Median milliseconds of some runs after one that is not counted."""
    times = []
    for _ in range(num_runs + 1):
        started_s = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - started_s))
    return median(times[1:])


@torch.inference_mode()
def measure(model: Model, num_runs: int) -> Iterator[tuple[str, float]]:
    """Yield what was measured, with its name and unit."""
    ar, device = model.ar, model.ar.device
    cache = allocate_kv_cache(ar.config.slow, 1, 1_100, dtype=ar.dtype, device=device)
    for each in (*cache.keys, *cache.values):
        each.zero_()
    fast_cache = allocate_kv_cache(
        ar.config.fast, 1, ar.config.num_codebooks, dtype=ar.dtype, device=device
    )
    frame = torch.zeros(1, 1 + ar.config.num_codebooks, 1, dtype=torch.int64, device=device)
    frame[0, 0] = ar.config.semantic_begin_id
    prompt = frame.expand(1, -1, _NUM_PREFILL)
    hidden = torch.randn(1, ar.config.slow.dim, device=device)

    def prefilled() -> None:
        prefill(ar.slow, prompt, cache)

    yield "prefill, ms per token", timed(prefilled, device, num_runs=num_runs) / _NUM_PREFILL
    for position in _POSITIONS:

        def step(position: int = position) -> None:
            placement = place_steps([0], [position], ar.slow.rope)
            run_blocks(ar.slow.layers, embed(ar.slow, frame), placement, cache)

        name = f"slow AR at position {position}, ms per frame"
        yield name, timed(step, device, num_runs=num_runs)

    def decoded() -> None:
        first = semantic_logits(ar.slow, hidden)[:, 1:].argmax(-1)
        decode_codes(ar.fast, hidden, first, fast_cache, choose=lambda _, scores: scores.argmax(-1))

    yield "fast AR and head, ms per frame", timed(decoded, device, num_runs=num_runs)
    yield from _measure_codec(model, num_runs)


def _measure_codec(model: Model, num_runs: int) -> Iterator[tuple[str, float]]:
    device = model.ar.device
    for num_frames in _CODEC_FRAMES:
        codes = torch.zeros(1, model.ar.config.num_codebooks, num_frames, dtype=torch.int64)
        state, piece = new_state(model.codec.decoder, 1, device), codes.to(device)

        def voiced(state: StreamState = state, piece: Tensor = piece) -> None:
            decode_step(model.codec, piece, state)

        took_ms = timed(voiced, device, num_runs=num_runs)
        yield f"codec, {num_frames} frames at once, ms per frame", took_ms / num_frames


def main() -> None:
    """Read the command line, load, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--codec-config", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--weights", choices=("dense", "packed"), default="packed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    started_s = time.perf_counter()
    model = load_model(
        ModelFiles(asked.model, codec_config=asked.codec_config),
        Precision(asked.device, DTYPES[asked.dtype], asked.weights),
    )
    print(f"load {time.perf_counter() - started_s:.1f} s, peak {peak_gb():.2f} GB")
    with profile() if asked.profile else nullcontext() as profiler:
        for name, value in measure(model, asked.runs):
            print(f"{name:<42} {value:8.1f}")
    print(f"peak {peak_gb():.2f} GB")
    if profiler is not None:
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))


if __name__ == "__main__":
    main()
