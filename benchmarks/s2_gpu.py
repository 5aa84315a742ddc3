"""Everything that is to be known of S2 Pro on one NVIDIA card, from random weights made there.

    python -m benchmarks.s2_gpu --output FOLDER           (under 8 minutes on an H100)
    python -m benchmarks.s2_gpu --dry-run                 (tiny, on a CPU: only that it runs)

Prints every figure as it comes and writes them to FOLDER/s2_gpu.json. A section that fails says so,
and the others go on; what no time is left for is named. Speed does not depend on what weights say.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.make_model import sizes
from benchmarks.random_model import (
    Width,
    frame_bytes,
    make_random_model,
    use_product,
    with_plain_ops,
)
from benchmarks.report import Report
from benchmarks.s2_batch import make
from fishs2.engines.s2.core import Core, Limits
from fishs2.engines.s2.device_stream import (
    CODEC_TYPES,
    CodecStream,
    CudaLane,
    choose_codec_type,
    measure_snr_db,
)
from fishs2.engines.s2.graphs import CudaRecorder, DecodeGraphs
from fishs2.engines.s2.linear import Linear, QuantLinear
from fishs2.engines.s2.model import Model
from fishs2.engines.s2.params import GenerateParams
from fishs2.engines.s2.row_ops import PLAIN
from fishs2.engines.s2.row_step import StepColumn, allocate_tables
from fishs2.engines.s2.runner import Runner, describe_row, slot_bytes
from fishs2.engines.s2.scheduler import Piece
from fishs2.engines.s2.sequence import Sequence

FRAME_S = 2048 / 44100
_LATE_S = 0.1
_POSITION = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    device: torch.device
    size: str
    widths: tuple[Width, ...]
    streams: tuple[int, ...]
    frames: int
    max_positions: int
    num_vectors: tuple[int, ...]
    num_runs: int
    budget_s: float


REAL = Plan(
    torch.device("cuda"),
    "real",
    ("bf16", "q8_0", "q4_0"),
    (1, 4, 16, 64, 128, 192),
    96,
    1024,
    (1, 2, 4, 8, 16, 32, 64, 128),
    30,
    420.0,
)
DRY = Plan(torch.device("cpu"), "tiny", ("bf16", "q8_0"), (1, 2), 4, 1024, (1, 20), 1, 60.0)


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


def measure_card(plan: Plan) -> Iterator[tuple[str, float | str]]:
    device, is_card = plan.device, plan.device.type == "cuda"
    yield "device", torch.cuda.get_device_name(device) if is_card else "cpu"
    yield "PyTorch", torch.__version__
    source = torch.empty((4 << 30) if is_card else (16 << 20), dtype=torch.uint8, device=device)
    source.random_()
    target = torch.empty_like(source)
    took_ms = timed_ms(lambda: target.copy_(source), device, num_runs=10)
    yield "copy bandwidth, GB/s read and written", 2 * source.nbytes / took_ms / 1e6


def decode_ms(graphs: DecodeGraphs, num_rows: int, plan: Plan) -> float:
    """Milliseconds per step at `_POSITION`, median, the host's wait included."""
    sequence = Sequence(np.zeros((1, 1), np.int32), 0, GenerateParams(seed=1), 1)
    rows = np.array([describe_row(sequence)] * num_rows, np.int64)
    rows[:, StepColumn.SLOT] = range(num_rows)
    rows[:, StepColumn.IS_FIRST] = 0
    rows[:, StepColumn.POSITION] = _POSITION
    rows[:, StepColumn.SEEN] = _POSITION + 1
    times = []
    for _ in range(plan.num_runs + 3):
        started_s = time.perf_counter()
        graphs.decode(rows)
        times.append(1000 * (time.perf_counter() - started_s))
    return median(times[3:])


def open_graphs(model: Model, num_rows: int, plan: Plan) -> DecodeGraphs:
    """Graphs for up to so many rows, over caches of numbers."""
    tables = allocate_tables(model.ar, num_rows, plan.max_positions)
    for each in (*tables.cache.keys, *tables.cache.values):
        each.normal_()
    assert model.ar.ops is not None
    recorder = CudaRecorder(plan.device, priority=-1) if plan.device.type == "cuda" else None
    return DecodeGraphs(model.ar, model.ar.ops, tables, recorder)


def measure_single(model: Model, plan: Plan, bandwidth: float) -> Iterator[tuple[str, float | str]]:
    """One stream: the ARs alone, then everything."""
    num_bytes = frame_bytes(model) + _POSITION * slot_bytes(model.ar, 1)
    yield "bytes per frame, GB", num_bytes / 1e9
    with torch.inference_mode():
        took_ms = decode_ms(open_graphs(model, 1, plan), 1, plan)
    free(plan.device)
    yield f"ARs at position {_POSITION}, ms per frame", took_ms
    yield "ARs, RTF", took_ms / 1000 / FRAME_S
    yield "ARs, share of the measured bandwidth", num_bytes / took_ms / 1e6 / bandwidth
    core = Core(model, limits(plan, 1))
    spoken = speak(core, [make(model, 1, frames=4, voice=9)])
    spoken = speak(core, [make(model, 2, frames=plan.frames, voice=9)])
    yield "everything, RTF", spoken.took_s / (plan.frames * FRAME_S)
    yield "host, ms per step outside the ARs", max(0.0, 1000 * median(spoken.steps_s) - took_ms)
    firsts = [
        speak(core, [make(model, 10 + n, frames=4, voice=9)]).first_s[0]
        for n in range(plan.num_runs)
    ]
    yield "first audio, cached voice, ms, median", 1000 * median(firsts)
    yield "first audio, cached voice, ms, worst", 1000 * max(firsts)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What several streams that begin together gave."""

    took_s: float
    steps_s: list[float]
    first_s: list[float]
    num_late: int
    num_chunks: int


def speak(core: Core, sequences: list[Sequence]) -> Spoken:
    """Speak all at once, as the engine thread does; late is what a listener would have missed."""
    for each in sequences:
        core.add(each)
    started_s, steps = time.perf_counter(), []
    deadlines: dict[Sequence, float] = {}
    firsts, num_late, num_chunks = [], 0, 0
    left = set(sequences)
    while left:
        begun_s = time.perf_counter()
        for sequence, pcm in core.step():
            now_s, num_chunks = time.perf_counter(), num_chunks + 1
            if sequence not in deadlines:
                firsts.append(now_s - started_s)
                deadlines[sequence] = now_s
            num_late += now_s > deadlines[sequence] + _LATE_S
            deadlines[sequence] += len(pcm) / 2048 * FRAME_S
        steps.append(time.perf_counter() - begun_s)
        for each in [each for each in left if each.is_spoken]:
            left.remove(each)
            core.release(each)
    return Spoken(time.perf_counter() - started_s, steps, firsts, num_late, num_chunks)


def limits(plan: Plan, num_slots: int) -> Limits:
    return Limits(
        num_slots=num_slots, max_positions=plan.max_positions, piece_tokens=512, step_tokens=512
    )


def measure_streams(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """From one stream to many: unique texts, one known voice, sampling on."""
    core = Core(model, limits(plan, max(plan.streams)))
    speak(core, [make(model, 1, frames=4, voice=9)])
    for num_streams in plan.streams:
        sequences = [
            make(model, 1000 * num_streams + n, frames=plan.frames, voice=9)
            for n in range(num_streams)
        ]
        spoken = speak(core, sequences)
        audio_s = num_streams * plan.frames * FRAME_S
        name = f"{num_streams} streams"
        yield f"{name}: audio-s per s", audio_s / spoken.took_s
        yield f"{name}: step, ms, median", 1000 * median(spoken.steps_s)
        yield f"{name}: first audio, ms, worst", 1000 * max(spoken.first_s)
        yield f"{name}: late chunks, share", spoken.num_late / max(1, spoken.num_chunks)
    if plan.device.type == "cuda":
        yield "most memory, GB", torch.cuda.max_memory_allocated(plan.device) / 1e9


def measure_kernels(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """The same weights with and without Triton, in graphs; and without graphs."""
    rows = [each for each in (1, 16, 64) if each <= max(plan.streams)]
    with torch.inference_mode():
        for num_rows in rows:
            graphs = open_graphs(model, num_rows, plan)
            yield f"kernels, {num_rows} rows, ms per step", decode_ms(graphs, num_rows, plan)
            del graphs
            free(plan.device)
        ops = model.ar.ops
        assert ops is not None
        plain = with_plain_ops(model)
        try:
            for num_rows in rows[:2]:
                graphs = open_graphs(plain, num_rows, plan)
                took_ms = decode_ms(graphs, num_rows, plan)
                yield f"plain PyTorch in graphs, {num_rows} rows, ms per step", took_ms
                del graphs
                free(plan.device)
            yield "plain PyTorch without graphs, 1 row, ms per step", unfused_ms(model, plan)
        finally:
            use_product(model, None if ops.multiply is PLAIN.multiply else ops.multiply)


def unfused_ms(model: Model, plan: Plan) -> float:
    """A plain loop over the same model: every operation launched by itself."""
    alone = replace(model.ar, ops=None)
    runner = Runner(alone, num_slots=1, max_positions=plan.max_positions)
    sequence = make(model, 5, frames=plan.frames, voice=9)
    sequence.slot = 0
    runner.prefill(Piece(sequence, 0, sequence.num_prompt))
    times = []
    for _ in range(min(plan.frames, 20)):
        started_s = time.perf_counter()
        sequence.frames += runner.decode([sequence])
        times.append(1000 * (time.perf_counter() - started_s))
    return median(times[2:])


def measure_codec(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """Types and their distance from float32; what a second of audio costs."""
    codec, is_card = model.codec, plan.device.type == "cuda"
    for kind in CODEC_TYPES if is_card else CODEC_TYPES[2:]:
        yield f"{kind}: dB from float32", measure_snr_db(codec, kind)
    if not is_card:
        return
    kind = choose_codec_type(codec)
    yield "chosen type", kind
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
        yield f"{num_rows} rows of {num_frames} frames, ms", took_ms
        yield f"{num_rows} rows of {num_frames} frames, ms per s of audio", took_ms / audio_s


def measure_products(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """GB/s of the matrices of one block, by number of vectors: where the kernels should switch."""
    ops = model.ar.ops
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


def measure_all(plan: Plan) -> dict[str, dict[str, float | str]]:
    """All sections, the goals first; see `Report`."""
    report = Report(plan.budget_s)
    report.section("card", lambda: measure_card(plan))
    bandwidth = float(report.figures["card"].get("copy bandwidth, GB/s read and written", 0)) or 1.0
    for width in plan.widths:
        free(plan.device)
        made: list[Model] = []

        def load(width: Width = width, made: list[Model] = made) -> Iterator[tuple[str, float]]:
            started_s = time.perf_counter()
            made.append(make_random_model(sizes()[plan.size], width, plan.device))
            wait(plan.device)
            yield "load, with the check of all kernels, s", time.perf_counter() - started_s
            if plan.device.type == "cuda":
                yield "memory, GB", torch.cuda.memory_allocated(plan.device) / 1e9

        report.section(f"{width}: load", load)
        if not made:
            continue
        model = made[0]
        sections: dict[str, Callable[[], Iterator[tuple[str, float | str]]]] = {
            "one stream": lambda model=model: measure_single(model, plan, bandwidth),  # type: ignore[misc]
            "many streams": lambda model=model: measure_streams(model, plan),  # type: ignore[misc]
            "kernels on and off": lambda model=model: measure_kernels(model, plan),  # type: ignore[misc]
            "products": lambda model=model: measure_products(model, plan),  # type: ignore[misc]
        }
        if width == plan.widths[0]:
            sections["codec"] = lambda model=model: measure_codec(model, plan)  # type: ignore[misc]
        for name, section in sections.items():
            report.section(f"{width}: {name}", section)
            free(plan.device)
        del model, sections
    return report.figures


def main() -> None:
    """Read the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, help="folder for s2_gpu.json")
    parser.add_argument("--dry-run", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--widths", nargs="+", choices=REAL.widths, help="all, if left out")
    asked = parser.parse_args()
    if not asked.dry_run and not torch.cuda.is_available():
        parser.error("PyTorch sees no NVIDIA card; --dry-run goes through the motions on a CPU")
    plan = DRY if asked.dry_run else REAL
    figures = measure_all(replace(plan, widths=tuple(asked.widths or plan.widths)))
    if asked.output is not None:
        asked.output.mkdir(parents=True, exist_ok=True)
        text = json.dumps(figures, indent=2)
        (asked.output / "s2_gpu.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
