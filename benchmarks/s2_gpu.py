"""Everything that is to be known of S2 Pro on one NVIDIA card, from random weights made there.

    python -m benchmarks.s2_gpu --output FOLDER           (under 8 minutes on an H100)
    python -m benchmarks.s2_gpu --dry-run                 (tiny, on a CPU: only that it runs)

Prints every figure as it comes and writes FOLDER/s2_gpu.json after every section. A section that
fails says so, and the others go on; what no time is left for is named. What weights say does not
change the speed.
"""

import argparse
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
from benchmarks.s2_gpu_parts import (
    DRY,
    FRAME_S,
    REAL,
    Plan,
    free,
    measure_codec,
    measure_products,
    timed_ms,
    wait,
)
from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.device.ops import PLAIN
from fishs2.engines.s2.device.recorded_step import RecordedStep, open_recorded_step
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.runner import Runner, slot_bytes
from fishs2.engines.s2.engine.scheduler import Piece
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.step import StepColumn, allocate_tables, describe_row

_LATE_S = 0.1
_POSITION = 500
_NUM_PROFILED = 15
_STREAMS_SHARE = 0.7


def measure_card(plan: Plan) -> Iterator[tuple[str, float | str]]:
    device, is_card = plan.device, plan.device.type == "cuda"
    yield "device", torch.cuda.get_device_name(device) if is_card else "cpu"
    yield "PyTorch", torch.__version__
    source = torch.empty((4 << 30) if is_card else (16 << 20), dtype=torch.uint8, device=device)
    source.random_()
    target = torch.empty_like(source)
    took_ms = timed_ms(lambda: target.copy_(source), device, num_runs=10)
    yield "copy bandwidth, GB/s read and written", 2 * source.nbytes / took_ms / 1e6


def decode_ms(step: RecordedStep, num_rows: int, plan: Plan) -> float:
    """Milliseconds per step at `_POSITION`, median, the host's wait included."""
    row = describe_row(0, GenerateParams(seed=1), num_prompt=_POSITION, num_frames=1)
    rows = np.array([row] * num_rows, np.int64)
    rows[:, StepColumn.SLOT] = range(num_rows)
    times = []
    for _ in range(plan.num_runs + 3):
        started_s = time.perf_counter()
        step.draw(rows)
        times.append(1000 * (time.perf_counter() - started_s))
    return median(times[3:])


def measure_steps(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """The ARs alone, by number of rows: small batches are what long texts run as."""
    with torch.inference_mode():
        for num_rows in plan.batches:
            step = open_step(model, num_rows, plan)
            yield f"ARs, {num_rows} rows, ms per step", decode_ms(step, num_rows, plan)
            del step
            free(plan.device)


def measure_profile(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """Where the time of a step of one row goes: the kernels that take most of it."""
    is_card = plan.device.type == "cuda"
    activities = torch.profiler.ProfilerActivity
    activity = activities.CUDA if is_card else activities.CPU
    with torch.inference_mode():
        step = open_step(model, 1, plan)
        decode_ms(step, 1, plan)
        with torch.profiler.profile(activities=[activity]) as found:
            decode_ms(step, 1, replace(plan, num_runs=1))
    events = found.key_averages()
    times_us = {
        each.key: each.self_device_time_total if is_card else each.self_cpu_time_total
        for each in events
    }
    counts = {each.key: each.count for each in events}
    total_us = sum(times_us.values()) or 1.0
    for key in sorted(times_us, key=lambda key: -times_us[key])[:_NUM_PROFILED]:
        share = times_us[key] / total_us
        yield key[:50], f"{counts[key]:6d} times, {times_us[key]:10.0f} us, {share:6.1%}"


def open_step(model: Model, num_rows: int, plan: Plan) -> RecordedStep:
    """A step for up to so many rows, over caches of numbers."""
    tables = allocate_tables(model.ar, num_rows, plan.max_positions)
    for each in (*tables.cache.keys, *tables.cache.values):
        each.normal_()
    assert model.ops is not None
    return open_recorded_step(model.ar, model.ops, tables)


def measure_single(model: Model, plan: Plan, bandwidth: float) -> Iterator[tuple[str, float | str]]:
    """One stream: the ARs alone, then everything."""
    num_bytes = frame_bytes(model) + _POSITION * slot_bytes(model.ar, 1)
    yield "bytes per frame, GB", num_bytes / 1e9
    with torch.inference_mode():
        took_ms = decode_ms(open_step(model, 1, plan), 1, plan)
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


def speak(core: Core, utterances: list[UtteranceState]) -> Spoken:
    """Speak all at once, as the engine thread does; late is what a listener would have missed."""
    for each in utterances:
        core.add(each)
    started_s, steps = time.perf_counter(), []
    deadlines: dict[UtteranceState, float] = {}
    firsts, num_late, num_chunks = [], 0, 0
    left = set(utterances)
    while left:
        begun_s = time.perf_counter()
        for utterance, pcm in core.step():
            now_s, num_chunks = time.perf_counter(), num_chunks + 1
            if utterance not in deadlines:
                firsts.append(now_s - started_s)
                deadlines[utterance] = now_s
            num_late += now_s > deadlines[utterance] + _LATE_S
            deadlines[utterance] += len(pcm) / 2048 * FRAME_S
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
    streams = [each for each in plan.streams if each <= count_fitting(model, plan)]
    core = Core(model, limits(plan, max(streams)))
    speak(core, [make(model, 1, frames=4, voice=9)])
    for num_streams in streams:
        utterances = [
            make(model, 1000 * num_streams + n, frames=plan.frames, voice=9)
            for n in range(num_streams)
        ]
        spoken = speak(core, utterances)
        audio_s = num_streams * plan.frames * FRAME_S
        name = f"{num_streams} streams"
        yield f"{name}: audio-s per s", audio_s / spoken.took_s
        yield f"{name}: step, ms, median", 1000 * median(spoken.steps_s)
        yield f"{name}: first audio, ms, worst", 1000 * max(spoken.first_s)
        yield f"{name}: late chunks, share", spoken.num_late / max(1, spoken.num_chunks)
    if plan.device.type == "cuda":
        free_bytes, all_bytes = torch.cuda.mem_get_info(plan.device)
        yield "most memory of tensors, GB", torch.cuda.max_memory_allocated(plan.device) / 1e9
        yield "memory in use on the card, GB", (all_bytes - free_bytes) / 1e9


def count_fitting(model: Model, plan: Plan) -> int:
    """How many streams fit into most of what is free."""
    if plan.device.type != "cuda":
        return max(plan.streams)
    free_bytes = torch.cuda.mem_get_info(plan.device)[0]
    return max(1, int(_STREAMS_SHARE * free_bytes) // slot_bytes(model.ar, plan.max_positions))


def measure_kernels(model: Model, plan: Plan) -> Iterator[tuple[str, float | str]]:
    """The same weights without Triton, in graphs; and without graphs. With it: `measure_steps`."""
    rows = [each for each in (1, 16) if each <= max(plan.batches)]
    with torch.inference_mode():
        ops = model.ops
        assert ops is not None
        plain = with_plain_ops(model)
        try:
            for num_rows in rows:
                step = open_step(plain, num_rows, plan)
                took_ms = decode_ms(step, num_rows, plan)
                yield f"plain PyTorch in graphs, {num_rows} rows, ms per step", took_ms
                del step
                free(plan.device)
            yield "plain PyTorch without graphs, 1 row, ms per step", unfused_ms(model, plan)
        finally:
            use_product(model, None if ops.multiply is PLAIN.multiply else ops.multiply)


def unfused_ms(model: Model, plan: Plan) -> float:
    """A plain loop over the same model: every operation launched by itself."""
    runner = Runner(replace(model, ops=None), num_slots=1, max_positions=plan.max_positions)
    utterance = make(model, 5, frames=plan.frames, voice=9)
    utterance.slot = 0
    runner.prefill(Piece(utterance, 0, utterance.num_prompt))
    times = []
    for _ in range(min(plan.frames, 20)):
        started_s = time.perf_counter()
        utterance.frames += runner.decode([utterance])
        times.append(1000 * (time.perf_counter() - started_s))
    return median(times[2:])


Measure = Callable[[Model, Plan], Iterator[tuple[str, float | str]]]
_OF_ONE_WIDTH: dict[str, Measure] = {
    "many streams": measure_streams,
    "kernels off": measure_kernels,
    "profile": measure_profile,
    "codec": measure_codec,
}


def measure_all(plan: Plan, path: Path | None = None) -> dict[str, dict[str, float | str]]:
    """All sections, the goals first; see `Report`."""
    report = Report(plan.budget_s, path)
    report.section("card", lambda: measure_card(plan))
    bandwidth = float(report.figures["card"].get("copy bandwidth, GB/s read and written", 0)) or 1.0
    of_each: dict[str, Measure] = {
        "steps": measure_steps,
        "one stream": lambda model, plan: measure_single(model, plan, bandwidth),
        "products": measure_products,
    }
    for width in plan.widths:
        is_last = width == plan.widths[-1]
        measure_width(width, plan, report, of_each | (_OF_ONE_WIDTH if is_last else {}))
        free(plan.device)
    return report.figures


def measure_width(width: Width, plan: Plan, report: Report, sections: dict[str, Measure]) -> None:
    """Make a model of that width and measure it; it is gone afterwards."""
    made: list[Model] = []

    def load() -> Iterator[tuple[str, float | str]]:
        started_s = time.perf_counter()
        made.append(make_random_model(sizes()[plan.size], width, plan.device))
        wait(plan.device)
        yield "load, with the check of all kernels, s", time.perf_counter() - started_s
        if plan.device.type == "cuda":
            yield "memory, GB", torch.cuda.memory_allocated(plan.device) / 1e9

    report.section(f"{width}: load", load)
    for name, measure in sections.items() if made else ():
        report.section(f"{width}: {name}", lambda measure=measure: measure(made[0], plan))  # type: ignore[misc]
        free(plan.device)


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
    path = None
    if asked.output is not None:
        asked.output.mkdir(parents=True, exist_ok=True)
        path = asked.output / "s2_gpu.json"
    measure_all(replace(plan, widths=tuple(asked.widths or plan.widths)), path)


if __name__ == "__main__":
    main()
