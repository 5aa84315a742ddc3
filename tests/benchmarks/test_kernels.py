"""What kernels compile to and what a step launches: read without a card."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is made for Linux only")

from benchmarks.kernels.bars import Bar
from benchmarks.kernels.machine_code import read_loops

_NOT_REACHED = {
    "graph nodes per frame",
    "launches per codec chunk",
    "H100 bf16 RTF",
    "H100 q8_0 RTF",
    "H100 q4_0 RTF",
    "H100 q4_0 products of 4 vectors over those of 1",
    "sm_90 kernels, stack of the worst, bytes",
}
_PRODUCTS = """
import os
os.environ["TRITON_INTERPRET"] = "0"
from benchmarks.kernels.bars import Bar, product_bars
from benchmarks.kernels.launches import decode_step, prefill_piece
from benchmarks.kernels.machine_code import compile_all

for width in ("bf16", "q8_0"):
    step = decode_step(width, 1)
    ours = next(each for each in step if each.is_product and "KIND" in each.values)
    for capability in (80, 90):
        for bar in product_bars(capability, width, [ours], compile_all([ours], capability)):
            print(bar)
    print(Bar("launches per prefill piece", len(prefill_piece(width)), 400))
"""
_LISTING = """
.text._few:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_2:
        /*0010*/                   IADD3 R2, R2, 0x1, RZ ;
.L_x_1:
        /*0020*/              @!P0 LDG.E.128.CONSTANT R4, [R2.64] ;
        /*0030*/                   LDG.E.U16 R8, [R2.64] ;
        /*0040*/                   SHFL.BFLY PT, R9, R8, 0x10, 0x1f ;
        /*0050*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0060*/                   I2F.S8 R10, R4.B1 ;
        /*0070*/                   STS.128 [R9], R4 ;
        /*0080*/               @P0 BRA `(.L_x_1) ;
        /*0090*/              @!P1 BRA `(.L_x_2) ;
        /*00a0*/                   EXIT ;
.L_x_3:
        /*00b0*/                   BRA `(.L_x_3);
        /*00c0*/                   NOP;
"""


def test_what_is_counted_is_the_innermost_loop() -> None:
    loops, num_instructions = read_loops(_LISTING)

    assert num_instructions == 13
    (loop,) = loops
    assert (loop.num_instructions, loop.num_shuffles, loop.num_barriers) == (7, 1, 1)
    assert (loop.num_shared, loop.num_conversions, loop.load_bits) == (1, 1, 128)


def test_bar_says_whether_it_is_reached() -> None:
    assert str(Bar("graph nodes per frame", 700, 250)).endswith("700   at most 250: NOT REACHED")
    assert str(Bar("graph nodes per frame", 250, 250)).endswith("at most 250: reached")
    assert Bar("bytes", 3.5).is_reached


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as that of the tests has the interpreter."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(folder), "PYTHONPATH": "."}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )


def run_script(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What it prints, and its JSON."""
    path = folder / "kernels.json"
    done = run_python(folder, "-m", "benchmarks.kernels", *arguments, "--json", str(path))
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text(encoding="utf-8"))


def test_bars_that_were_reached_are_held(tmp_path: Path) -> None:
    done = run_python(tmp_path, "-c", _PRODUCTS)

    assert done.returncode == 0, done.stderr
    bars = done.stdout.splitlines()
    assert len(bars) == 2 * (2 * 3 + 1)
    assert not [bar for bar in bars if not bar.endswith(": reached")]


@pytest.mark.slow
def test_every_launch_of_a_step_compiles_and_is_counted(tmp_path: Path) -> None:
    shown, found = run_script(tmp_path, "--sm", "90")

    missed = {each["name"] for each in found["bars"] if not each["is_reached"]}
    # What a change reaches is taken off the list, and held from then on.
    assert missed == _NOT_REACHED
    assert {each["name"] for each in found["kernels"]} > {"_add_norm", "_attend", "_few", "_tiles"}
    assert not any(each["failure"] for each in found["kernels"])
    names = {each["name"] for each in found["bars"]}
    wanted = {"graph nodes per frame", "launches per prefill piece", "launches per codec chunk"}
    assert wanted | {"H100 bf16 RTF"} <= names
    assert all(name in shown for name in names)
    cases = {(each["card"], each["width"], each["num_rows"]) for each in found["predictions"]}
    assert len(cases) == 4 * 3 * 7
    assert all(0 < each["rtf"] < 10 for each in found["predictions"])
