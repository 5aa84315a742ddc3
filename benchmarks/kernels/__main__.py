"""Compile every launch of real-size steps, read the machine code, count, and predict."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "0"  # the interpreter compiles nothing; before Triton is imported

import triton

from benchmarks.kernels.bars import (
    Bar,
    code_bars,
    cost_bars,
    count_bars,
    instructions_per_weights,
    product_bars,
)
from benchmarks.kernels.launches import Launch, codec_chunk, decode_step, prefill_piece
from benchmarks.kernels.machine_code import MachineCode, compile_all, variant_of
from benchmarks.kernels.prediction import BATCHES, CARDS, Prediction, free_draw_ms, predict
from benchmarks.random_model import Width
from fishs2.engines.s2.device.triton.draws import MAX_ROUNDS

_WIDTHS: tuple[Width, ...] = ("bf16", "q8_0", "q4_0")
_SHOWN = ("KIND", "IS_GATE", "BLOCK_N", "NUM_PARTS", "NUM_SPLITS", "HAS_NORM", "IS_SEMANTIC")


@dataclass(slots=True)
class _Found:
    """Everything that was read. kernels: what the JSON file has of each."""

    bars: list[Bar] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.kernels", description=__doc__)
    parser.add_argument("--sm", type=int, nargs="+", default=[90], help="compute capabilities")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4], help="rows of the table")
    parser.add_argument(
        "--predict", type=int, nargs="+", choices=BATCHES, default=BATCHES, help="rows of the steps"
    )
    parser.add_argument("--widths", nargs="+", choices=_WIDTHS, default=list(_WIDTHS))
    parser.add_argument("--products", action="store_true", help="compile no other kernels")
    parser.add_argument("--json", type=Path, help="write everything there too")
    args = parser.parse_args()
    started_s = time.perf_counter()
    print(f"Triton {triton.__version__}")
    found = _Found()
    steps = {(w, b): decode_step(w, b) for w in args.widths for b in {1, *args.rows, *args.predict}}
    for capability in args.sm:
        _read_kernels(found, capability, args.rows, steps, products_only=args.products)
    _predict_all(found, args.sm[0], steps, sorted(args.predict))
    _count(found, steps)
    for bar in found.bars:
        print(bar)
    print(f"{time.perf_counter() - started_s:.0f} s")
    if args.json is not None:
        args.json.write_text(json.dumps(_as_json(found), indent=1), encoding="utf-8")


_Steps = dict[tuple[Width, int], list[Launch]]


def _read_kernels(
    found: _Found, capability: int, rows: Sequence[int], steps: _Steps, *, products_only: bool
) -> None:
    wanted = {key: step for key, step in steps.items() if key[1] in rows}
    launches = [each for step in wanted.values() for each in step]
    if products_only:
        launches = [each for each in launches if each.is_product]
    codes = compile_all(launches, capability)
    print(f"\nsm_{capability}: {len(codes)} kernels")
    print(
        "kernel           loop: instr  per 16  shfl  bar  load | instr  regs stack shared   used by"
    )
    users: dict[str, dict[str, None]] = {}
    first: dict[str, Launch] = {}
    for (width, num_rows), step in wanted.items():
        for each in step:
            if each.kernel is not None and (name := variant_of(each)) in codes:
                users.setdefault(name, {})[f"{width}/{num_rows}"] = None
                first.setdefault(name, each)
    for name, code in codes.items():
        found.kernels.append(_describe(first[name], code, list(users[name])))
    for line in dict.fromkeys(map(_line_of, found.kernels[-len(codes) :])):
        print(line)
    for (width, num_rows), step in wanted.items():
        if num_rows == 1:
            found.bars += product_bars(capability, width, step, codes)
    found.bars += code_bars(capability, list(codes.values()))


def _describe(launch: Launch, code: MachineCode, used_by: list[str]) -> dict[str, Any]:
    values = launch.values or {}
    is_read = launch.is_product and not code.failure
    per_16 = instructions_per_weights(launch, code) if is_read else None
    constants = {name: values[name] for name in _SHOWN if name in values}
    return {**asdict(code), "per_16_weights": per_16, "constants": constants, "used_by": used_by}


def _line_of(kernel: dict[str, Any]) -> str:
    if kernel["failure"]:
        return f"{kernel['name']:<16} FAILED: {kernel['failure']}  {kernel['constants']}"
    loop, per_16 = kernel["loop"], kernel["per_16_weights"]
    each = "" if per_16 is None else f"{per_16:.0f}"
    return (
        f"{kernel['name']:<16} {loop['num_instructions']:11} {each:>7} {loop['num_shuffles']:5} "
        f"{loop['num_barriers']:4} {loop['load_bits']:5} | {kernel['num_instructions']:5} "
        f"{kernel['num_registers']:5} {kernel['stack_bytes']:5} {kernel['shared_bytes']:6}   "
        f"{' '.join(kernel['used_by'])} {kernel['constants']}"
    )


def _predict_all(found: _Found, capability: int, steps: _Steps, batches: Sequence[int]) -> None:
    wanted = [step for (_, num_rows), step in steps.items() if num_rows in batches]
    products = [each for step in wanted for each in step if each.is_product]
    codes = compile_all(products, capability)
    if any(code.failure for code in codes.values()):
        print("no predictions: not every product compiles")
        return
    print(
        f"\npredicted ms per step, by the loops of sm_{capability}; RTF of each stream in brackets"
    )
    print(f"{'':12}" + "".join(f"{'B=' + str(each):>16}" for each in batches))
    for card in CARDS:
        for width in dict.fromkeys(width for width, _ in steps):
            made = [predict(card, width, b, steps[width, b], codes) for b in batches]
            found.predictions += made
            shown = "".join(f"{f'{p.step_ms:.2f} ({p.rtf:.3f})':>16}" for p in made)
            print(f"{card.name + ' ' + width:12}{shown}")
    print()


def _count(found: _Found, steps: _Steps) -> None:
    widths = list(dict.fromkeys(width for width, _ in steps))
    made = {p.width: p.rtf for p in found.predictions if (p.card, p.num_rows) == ("H100", 1)}
    rtf = {width: made[width] for width in widths if width in made}
    step = steps[widths[0], 1]
    draws_ms = free_draw_ms(step, MAX_ROUNDS)
    pieces = prefill_piece(widths[0])
    found.bars += count_bars(len(step), len(pieces), len(codec_chunk()), draws_ms, rtf)
    found.bars += cost_bars(found.predictions)
    for width in widths:
        launches = steps[width, 1]
        read_gb = sum(each.matrix_bytes for each in launches) / 1e9
        found.bars.append(Bar(f"{width} GB of weights per frame", read_gb))
        best = read_gb * 1e9 / CARDS[0].bandwidth * 1000
        found.bars.append(Bar(f"H100 {width} ms that these bytes take at least", best))


def _as_json(found: _Found) -> dict[str, Any]:
    return {
        "triton": triton.__version__,
        "python": sys.version.split()[0],
        "kernels": found.kernels,
        "predictions": [
            {
                **asdict(each),
                "step_ms": each.step_ms,
                "rtf": each.rtf,
                "throughput": each.throughput,
            }
            for each in found.predictions
        ],
        "bars": [{**asdict(each), "is_reached": each.is_reached} for each in found.bars],
    }


if __name__ == "__main__":
    main()
