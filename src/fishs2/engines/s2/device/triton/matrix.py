"""Dense and packed matrices times vectors, without a copy of the matrix in floats.

Up to `FEW` vectors plain cores keep up with the memory (`few`); up to `MANY` tiles go through the
tensor cores (`tiles`). All sums are float32. Layouts: `quant.PackedInt8`, `quant.PackedUint4`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from fishs2.engines.s2.device.triton.few import FEW_COLUMNS, FEW_ROWS, multiply_few
from fishs2.engines.s2.device.triton.rows import silu_times
from fishs2.engines.s2.device.triton.stored import describe
from fishs2.engines.s2.device.triton.tiles import (
    TILE_COLUMNS,
    multiply_tiles,
    tile_rows,
    unpack,
)
from fishs2.engines.s2.model.linear import Linear, PackedRows

FEW = 4
"""Vectors up to which plain cores keep up with the memory."""
MANY = 256
"""Above, the matrix is unpacked into the compute type, and cuBLAS does the rest."""

_SUMMED_PROGRAMS = 512  # what a product that may be summed later is split up to
_MAX_PARTS = 4


def multiply(x: Tensor, matrix: Linear | PackedRows) -> Tensor:
    """See `device.ops.multiply`."""
    if x.shape[0] <= FEW:
        return multiply_few(x, describe(matrix), num_parts=1, dtype=x.dtype)[0]
    if isinstance(matrix, Linear):
        return F.linear(x, matrix.weight)
    if x.shape[0] <= MANY:
        return multiply_tiles(x, describe(matrix), num_parts=1, dtype=x.dtype)[0]
    return F.linear(x, unpack(matrix))


def multiply_parts(x: Tensor, matrix: Linear | PackedRows) -> Tensor:
    """See `device.ops.multiply_parts`: here up to four parts in float32."""
    if x.shape[0] > MANY or (isinstance(matrix, Linear) and x.shape[0] > FEW):
        return multiply(x, matrix)[None]
    stored = describe(matrix)
    few = x.shape[0] <= FEW
    block = FEW_ROWS if few else tile_rows(x.shape[0])
    parts = _SUMMED_PROGRAMS * (4 if few else 1) // -(-stored.num_rows // block)
    longest = stored.num_columns // (FEW_COLUMNS if few else TILE_COLUMNS)
    num_parts = max(1, min(parts, _MAX_PARTS, longest))
    run = multiply_few if few else multiply_tiles
    return run(x, stored, num_parts=num_parts, dtype=torch.float32)


def gate(x: Tensor, w1: Linear | PackedRows, w3: Linear | PackedRows) -> Tensor:
    """See `device.ops.gate`."""
    first, third = describe(w1), describe(w3)
    alike = (first.kind, first.width, first.has_minimum)
    if x.shape[0] > FEW or alike != (third.kind, third.width, third.has_minimum):
        return silu_times(multiply(x, w1), multiply(x, w3))
    return multiply_few(x, first, num_parts=1, dtype=x.dtype, third=third)[0]
