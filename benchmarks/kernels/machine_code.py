"""A launch compiled for some card, and what its machine code says: no card is needed for either."""

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from benchmarks.kernels.launches import Launch

_TYPES = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
}
_ALIGNED = [["tt.divisibility", 16]]
_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_INSTRUCTION = re.compile(r"^(?:/\*[0-9a-f]+\*/)?\s*(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\b(.*)")
_LABEL = re.compile(r"^(\.L\S+):")
_TARGET = re.compile(r"`\((\.L\S+?)\)")
_SHARED = ("LDS", "STS", "LDSM", "STSM")
_CONVERSIONS = ("I2F", "F2F", "F2I", "I2I", "MUFU")
"""A quarter of the rate of other arithmetic. Source: CUDA programming guide, throughputs."""


@dataclass(frozen=True, slots=True)
class Loop:
    """What one thread does in one turn of a loop. load_bits: of its widest load."""

    num_instructions: int = 0
    num_shuffles: int = 0
    num_barriers: int = 0
    num_shared: int = 0
    num_conversions: int = 0
    load_bits: int = 0


@dataclass(frozen=True, slots=True)
class MachineCode:
    """A kernel for some card.

    loop: the longest one that has no other inside; empty without any. failure: why it could not be
    compiled; "" if it could.
    """

    name: str
    capability: int
    num_registers: int = 0
    stack_bytes: int = 0
    shared_bytes: int = 0
    num_warps: int = 0
    num_instructions: int = 0
    loop: Loop = Loop()
    failure: str = ""


def variant_of(launch: Launch) -> str:
    """The same for launches that are compiled to the same code."""
    signature, constants, aligned, options = _specialised(launch)
    parts = [launch.name, signature, constants, sorted(map(str, aligned)), options]
    return json.dumps(parts, default=str, sort_keys=True)


def compile_all(launches: Iterable[Launch], capability: int) -> dict[str, MachineCode]:
    """By variant: each compiled once, as many at a time as there are cores."""
    wanted = {variant_of(each): each for each in launches if each.kernel is not None}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda each: _compile_or_say_why(each, capability), wanted.values())
        return dict(zip(wanted, found, strict=True))


def _compile_or_say_why(launch: Launch, capability: int) -> MachineCode:
    try:
        return compile_launch(launch, capability)
    except Exception as error:  # noqa: BLE001 - whatever the compiler says, the others count
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        return MachineCode(launch.name, capability, failure=reason)


def compile_launch(launch: Launch, capability: int) -> MachineCode:
    """What this launch would run on a card of that compute capability, 90 for 9.0."""
    signature, constants, aligned, options = _specialised(launch)
    source = ASTSource(launch.kernel, signature, constants, aligned)
    made = compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        used = _run("cuobjdump", "-res-usage", file.name)
        listing = _run("nvdisasm", "-c", file.name)
    counts = re.search(r"REG:(\d+) STACK:(\d+)", used)
    assert counts is not None, used
    loops, num_instructions = read_loops(listing)
    return MachineCode(
        launch.name,
        capability,
        int(counts[1]),
        int(counts[2]),
        made.metadata.shared,
        made.metadata.num_warps,
        num_instructions,
        max(loops, key=lambda each: each.num_instructions, default=Loop()),
    )


def read_loops(listing: str) -> tuple[list[Loop], int]:
    """The innermost loops in what nvdisasm prints, and how many instructions there are in all."""
    labels: dict[str, int] = {}
    instructions: list[tuple[str, str]] = []
    for line in map(str.strip, listing.splitlines()):
        if (label := _LABEL.match(line)) is not None:
            labels[label[1]] = len(instructions)
        elif (found := _INSTRUCTION.match(line)) is not None:
            instructions.append((found[1], found[2]))
    spans = []
    for index, (name, rest) in enumerate(instructions):
        target = _TARGET.search(rest) if name.startswith("BRA") else None
        # The last branch of a program goes to itself.
        if target is not None and labels.get(target[1], index) < index:
            spans.append((labels[target[1]], index + 1))
    inner = [
        (start, stop)
        for start, stop in spans
        if not any(start <= a and b <= stop and (a, b) != (start, stop) for a, b in spans)
    ]
    return [_loop(instructions[start:stop]) for start, stop in inner], len(instructions)


def _loop(instructions: Sequence[tuple[str, str]]) -> Loop:
    counts = Counter(name.split(".")[0] for name, _ in instructions)
    loads = [name for name, _ in instructions if name.startswith(("LDG", "LDGSTS"))]
    widths = [
        int(part) if part in ("64", "128") else 32 for each in loads for part in [_last(each)]
    ]
    return Loop(
        len(instructions),
        counts["SHFL"],
        counts["BAR"],
        sum(counts[each] for each in _SHARED),
        sum(counts[each] for each in _CONVERSIONS),
        max(widths, default=0),
    )


def _last(name: str) -> str:
    return next((part for part in name.split(".") if part in ("64", "128")), "32")


def _specialised(
    launch: Launch,
) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int, ...], Any], dict[str, Any]]:
    """Signature, constants, what is known of arguments, and options: as a launch has them."""
    values = dict(launch.values or {})
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    aligned: dict[tuple[int, ...], Any] = {}
    for index, parameter in enumerate(launch.kernel.params):
        value = values.pop(parameter.name)
        if parameter.is_constexpr or (type(value) is int and value == 1):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[parameter.name] = "*" + _TYPES[value.dtype]
            if value.storage_offset() * value.element_size() % 16 == 0:
                aligned[index,] = _ALIGNED
        else:
            is_wide = abs(value) >= 1 << 31
            whole = "i64" if is_wide else "i32"
            signature[parameter.name] = "fp32" if isinstance(value, float) else whole
            if isinstance(value, int) and value % 16 == 0:
                aligned[index,] = _ALIGNED
    return signature, constants, aligned, values


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run([_TOOLS / tool, *arguments], capture_output=True, text=True, check=True)
    return done.stdout
