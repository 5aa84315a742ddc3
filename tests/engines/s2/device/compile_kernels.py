"""Compile every kernel, as S2 Pro launches it, for cards that need not be here.

    python tests/engines/s2/compile_kernels.py 80 90

Triton compiles down to machine code without a card; only launching takes one. Prints the name of
each launch that was compiled. A process of its own, as the tests' own has the interpreter.
"""

import sys
from typing import Any

import torch
from torch import nn
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from triton.runtime.jit import JITFunction

from fishs2.engines.s2.device.ops import RowPlaces
from fishs2.engines.s2.device.triton import attend, draws, matrix, rows, tiles
from fishs2.engines.s2.model.layers import Attention, RmsNorm
from fishs2.engines.s2.model.linear import Linear, QuantLinear
from fishs2.engines.s2.model.sampler import SamplingRows
from fishs2.engines.s2.weights.config import TransformerConfig
from fishs2.engines.s2.weights.quant import PackedInt8, PackedUint4

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
_BF16 = torch.bfloat16


def compile_launch(kernel: Any, capability: int, values: dict[str, Any]) -> None:
    """What a launch with these arguments and options compiles."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    aligned: dict[tuple[int, ...], list[list[object]]] = {}
    for index, parameter in enumerate(kernel.params):
        value = values.pop(parameter.name)
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = "*" + _TYPES[value.dtype]
            aligned[index,] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
            if isinstance(value, int) and value % 16 == 0:
                aligned[index,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, aligned)
    compile(source, target=GPUTarget("cuda", capability, 32), options=values)


def launches() -> None:
    """Launch every kernel with the sizes of S2 Pro, for one row and for many."""
    for num_rows in (1, 40):
        x = torch.empty(num_rows, 2560)
        norm = RmsNorm(nn.Parameter(torch.empty(2560), requires_grad=False), 1e-6)
        rows.add_norm(x, torch.empty(4, num_rows, 2560), norm, _BF16)
        rows.silu_times(x.bfloat16(), x.bfloat16())
        index = torch.zeros(num_rows, dtype=torch.int64)
        for span in (4096, 10):
            at = RowPlaces(index, index, index, index, span)
            cache = torch.empty(1, 8, span + 1, 128, dtype=_BF16)
            mixed = torch.empty(num_rows, 48 * 128, dtype=_BF16)
            table = torch.empty(4096, 64, 2)
            q = rows.place_heads(mixed, heads(has_norm=span > 10), at, table, cache, cache)
            attend.attend(q, cache, cache, at)
        how = SamplingRows(x[:, 0], x[:, 1], index, 30)
        numbers = draws.uniform_numbers(index, index, 11)
        draws.draw_code(torch.empty(num_rows, 4096, dtype=_BF16), how, numbers[:, 2])
        window = torch.zeros(num_rows, 10, dtype=torch.int64)
        logits = torch.empty(num_rows, 4097, dtype=_BF16)
        draws.draw_semantic(logits, how, window, numbers, index > 0)
        for held in matrices():
            matrix.multiply_parts(x.bfloat16(), held)
    for held in matrices()[1:]:
        matrix.gate(torch.empty(1, 2560, dtype=_BF16), held, held)
        assert isinstance(held, QuantLinear)
        tiles.unpack(held)


def heads(*, has_norm: bool) -> Attention:
    attention = Attention.__new__(Attention)
    nn.Module.__init__(attention)
    attention.config = TransformerConfig(1, 2560, 32, 8, 128, 9728, 4096, 1e6, 1e-6)
    weight = nn.Parameter(torch.empty(128), requires_grad=False)
    attention.q_norm = attention.k_norm = RmsNorm(weight, 1e-6) if has_norm else None
    return attention


def matrices() -> list[Linear | QuantLinear]:
    scale = torch.empty(4096, 80, dtype=torch.float16)
    bytes_ = torch.empty(4096, 2560, dtype=torch.uint8)
    return [
        Linear(torch.empty(4096, 2560, dtype=_BF16)),
        QuantLinear(PackedInt8(bytes_.view(torch.int8), scale, None), _BF16),
        QuantLinear(PackedInt8(bytes_.view(torch.int8), scale, scale), _BF16),
        QuantLinear(PackedUint4(bytes_[:, :1280].contiguous(), scale, scale), _BF16),
    ]


def main() -> None:
    """Compile for the compute capabilities on the command line."""
    capabilities = [int(each) for each in sys.argv[1:]]

    def run(self: Any, *args: Any, grid: object, warmup: bool, **options: Any) -> None:
        for capability in capabilities:
            values = {**dict(zip(self.arg_names, args, strict=False)), **options}
            compile_launch(self, capability, values)
        print(self.__name__)

    JITFunction.run = run
    launches()


if __name__ == "__main__":
    main()
