"""What `s2_gpu` measures of parts: the codec by type, the products by number of vectors."""

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.random_model import Width
from fishs2.engines.s2.device.codec_stream import (
    CODEC_TYPES,
    CodecStream,
    CodecType,
    CudaLane,
    choose_codec_type,
    measure_snr_db,
)
from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.device.recorder import CudaRecorder
from fishs2.engines.s2.model.codec import Codec
from fishs2.engines.s2.model.linear import Linear, QuantLinear

FRAME_S = 2048 / 44100


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    device: torch.device
    size: str
    widths: tuple[Width, ...]
    batches: tuple[int, ...]
    streams: tuple[int, ...]
    frames: int
    max_positions: int
    num_vectors: tuple[int, ...]
    num_runs: int
    budget_s: float


REAL = Plan(
    torch.device("cuda"),
    "real",
    # The last one stays loaded for what is measured with one width only.
    ("q4_0", "q8_0", "bf16"),
    (1, 2, 4, 8, 16, 64),
    (1, 4, 16, 32, 64, 128, 192, 256),
    96,
    1024,
    (1, 2, 4, 8, 16, 32, 64, 128),
    30,
    420.0,
)
DRY = Plan(torch.device("cpu"), "tiny", ("q8_0", "bf16"), (1, 2), (1, 2), 4, 1024, (1, 20), 1, 60.0)


def wait(device: torch.device) -> None:
    """Until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free(device: torch.device) -> None:
    """Give back the memory of what is no longer used."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def timed_ms(work: Callable[[], object], device: torch.device, *, num_runs: int) -> float:
    """Milliseconds per run, several launched together, after two that are not counted."""
    for _ in range(2):
        work()
    wait(device)
    started_s = time.perf_counter()
    for _ in range(num_runs):
        work()
    wait(device)
    return 1000 * (time.perf_counter() - started_s) / num_runs


def measure_codec(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """Types and their distance from float32; what a second of audio costs."""
    codec, is_card = model.codec, plan.device.type == "cuda"
    for kind in CODEC_TYPES if is_card else CODEC_TYPES[2:]:
        yield f"{kind}: dB from float32", measure_snr_db(codec, kind)
    if not is_card:
        return
    yield "chosen type", choose_codec_type(codec)
    for kind in CODEC_TYPES:
        yield from _time_codec(codec, kind, plan)


def _time_codec(codec: Codec, kind: CodecType, plan: Plan) -> Iterator[tuple[str, float | str]]:
    stream = CodecStream(
        codec,
        num_slots=32,
        lane=CudaLane(plan.device),
        recorder=CudaRecorder(plan.device),
        kind=kind,
    )
    for num_rows, num_frames in ((1, 2), (1, 16), (8, 16), (32, 2)):
        codes = np.zeros((num_rows, codec.config.num_codebooks, num_frames), np.int64)
        slots = list(range(num_rows))
        took_ms = timed_ms(
            lambda slots=slots, codes=codes: stream.launch(slots, codes).take(),  # type: ignore[misc]
            plan.device,
            num_runs=plan.num_runs,
        )
        audio_s = num_rows * num_frames * FRAME_S
        name = f"{kind}: {num_rows} rows of {num_frames} frames"
        yield f"{name}, ms", took_ms
        yield f"{name}, ms per s of audio", took_ms / audio_s


def measure_products(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """GB/s of the matrices of one block, by number of vectors: where the kernels should switch."""
    ops = model.ops
    assert ops is not None
    blocks = list(model.ar.slow.layers)
    for name in ("wqkv", "w2"):
        held = [getattr(b.attention if name == "wqkv" else b.feed_forward, name) for b in blocks]
        for num_vectors in plan.num_vectors:
            x = torch.randn(num_vectors, columns_of(held[0]), device=plan.device).to(model.ar.dtype)

            def work(held: list[Linear | QuantLinear] = held, x: torch.Tensor = x) -> None:
                # All layers in turn: one matrix alone would stay in the card's cache.
                for matrix in held:
                    ops.multiply_parts(x, matrix)

            took_ms = repeated_ms(work, plan)
            num_bytes = sum(sum(t.nbytes for t in (*m.parameters(), *m.buffers())) for m in held)
            yield f"{name}, {num_vectors} vectors, GB/s", num_bytes / took_ms / 1e6


def repeated_ms(work: Callable[[], None], plan: Plan) -> float:
    """Milliseconds of work as a graph: launching is not what is measured."""
    if plan.device.type != "cuda":
        return timed_ms(work, plan.device, num_runs=1)
    return timed_ms(CudaRecorder(plan.device).record(work), plan.device, num_runs=10)


def columns_of(matrix: Linear | QuantLinear) -> int:
    return matrix.weight.shape[1] if isinstance(matrix, Linear) else matrix.num_columns
