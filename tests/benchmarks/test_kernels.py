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


def run_script(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """What it prints, and its JSON. A process of its own, as the tests' has the interpreter."""
    path = folder / "kernels.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels", *arguments, "--json", str(path)],
        env={**os.environ, "TRITON_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_launch_of_a_step_compiles_and_is_counted(tmp_path: Path) -> None:
    shown, found = run_script(tmp_path, "--sm", "90")

    assert {each["name"] for each in found["kernels"]} > {"_add_norm", "_attend", "_few", "_tiles"}
    assert not any(each["failure"] for each in found["kernels"])
    names = {each["name"] for each in found["bars"]}
    wanted = {"graph nodes per frame", "launches per prefill piece", "launches per codec chunk"}
    assert wanted | {"H100 bf16 RTF"} <= names
    assert all(name in shown for name in names)
    cases = {(each["card"], each["width"], each["num_rows"]) for each in found["predictions"]}
    assert len(cases) == 4 * 3 * 7
    assert all(0 < each["rtf"] < 10 for each in found["predictions"])
