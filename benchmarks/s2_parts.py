"""Load an S2 model and time its parts, one stream: the table in docs/benchmarks.md.

    python benchmarks/s2_parts.py MODEL.gguf --dtype bf16 --weights packed --frames 8

Prints load time, peak memory of the process, and milliseconds per frame by part.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from fishs2.engines.s2.codec import decode_step
from fishs2.engines.s2.commands import DTYPES
from fishs2.engines.s2.fast_ar import decode_codes
from fishs2.engines.s2.kv_cache import allocate_kv_cache
from fishs2.engines.s2.model import Model, ModelFiles, Precision, load_model
from fishs2.engines.s2.prompt import build_prompt
from fishs2.engines.s2.slow_ar import prefill, run_slow, semantic_logits
from fishs2.engines.s2.streaming import new_state

_TEXT = "This is a short sentence, spoken by a machine."
_PIECE_FRAMES = 4


def peak_gb() -> float:
    """Most memory this process ever held. Source: getrusage(2), kilobytes on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def timed(name: str, times: dict[str, list[float]], work: Callable[[], Tensor]) -> Tensor:
    """Run `work` and keep its milliseconds under `name`."""
    started_s = time.perf_counter()
    result = work()
    if result.is_cuda:
        torch.cuda.synchronize()
    times.setdefault(name, []).append(1000 * (time.perf_counter() - started_s))
    return result


@torch.inference_mode()
def measure(model: Model, num_frames: int) -> dict[str, list[float]]:
    """Milliseconds of every call by part, greedy."""
    ar, times = model.ar, dict[str, list[float]]()
    prompt = torch.from_numpy(build_prompt(model.tokenizer, _TEXT)).long()[None].to(ar.device)
    num_prompt = prompt.shape[2]
    slow_cache = allocate_kv_cache(
        ar.config.slow, 1, num_prompt + num_frames, dtype=ar.dtype, device=ar.device
    )
    fast_cache = allocate_kv_cache(
        ar.config.fast, 1, ar.config.num_codebooks, dtype=ar.dtype, device=ar.device
    )
    hidden = timed("prefill", times, lambda: prefill(ar.slow, prompt, slow_cache))
    state, frames = new_state(model.codec.decoder, 1, ar.device), list[Tensor]()
    for index in range(num_frames):
        logits = timed("head", times, lambda h=hidden: semantic_logits(ar.slow, h))  # type: ignore[misc]
        first = logits[:, 1:].argmax(-1)
        codes = timed(
            "fast",
            times,
            lambda h=hidden, f=first: decode_codes(  # type: ignore[misc]
                ar.fast, h, f, fast_cache, choose=lambda _, scores: scores.argmax(-1)
            ),
        )
        frames.append(codes)
        tokens = torch.cat((first[:, None] + ar.config.semantic_begin_id, codes), 1)[:, :, None]
        position = torch.tensor([[num_prompt + index]], device=ar.device)
        hidden = timed(
            "slow",
            times,
            lambda t=tokens, p=position, n=num_prompt + index + 1: run_slow(  # type: ignore[misc]
                ar.slow, t, p, slow_cache, span=n
            )[:, -1],
        )
        if len(frames) == _PIECE_FRAMES:
            piece = torch.stack(frames, dim=-1)
            timed("codec", times, lambda c=piece: decode_step(model.codec, c, state))  # type: ignore[misc]
            frames.clear()
    times["codec"] = [each / _PIECE_FRAMES for each in times["codec"]]
    times["prefill"] = [each / num_prompt for each in times["prefill"]]
    return times


def main() -> None:
    """Read the command line, load, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--codec-config", type=Path)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--weights", choices=("dense", "packed"), default="dense")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    started_s = time.perf_counter()
    model = load_model(
        ModelFiles(asked.model, codec_config=asked.codec_config),
        Precision(asked.device, DTYPES[asked.dtype], asked.weights),
    )
    print(f"load {time.perf_counter() - started_s:.1f} s, peak {peak_gb():.2f} GB")
    for name, values in measure(model, asked.frames).items():
        unit = "token" if name == "prefill" else "frame"
        print(f"{name:<8} {median(values):9.1f} ms per {unit}")
    print(f"peak {peak_gb():.2f} GB")


if __name__ == "__main__":
    main()
