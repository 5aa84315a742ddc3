"""Dense and packed matrices times vectors, without a copy of the matrix in floats.

Up to `FEW` vectors every program multiplies some rows by all of them on plain cores, where the
speed is that of reading the matrix; up to `MANY` a tile is unpacked in registers and goes through
the tensor cores. All sums are float32. Layouts: `quant.PackedInt8`, `quant.PackedUint4`.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from fishs2.engines.s2.kernels_triton.rows import silu_times
from fishs2.engines.s2.linear import Linear, PackedRows

FEW = 4
"""Vectors up to which plain cores keep up with the memory."""
MANY = 256
"""Above, the matrix is unpacked into the compute type, and cuBLAS does the rest."""

_DENSE, _INT8, _UINT4 = 0, 1, 2
_FEW_ROWS = 4  # matrix rows per program of the kernel for few vectors
_FEW_COLUMNS = {_DENSE: 512, _INT8: 512, _UINT4: 1024}
_TILE_COLUMNS = 128
_UNPACK_ROWS, _UNPACK_COLUMNS = 8, 512
_SUMMED_PROGRAMS = 512  # what a product that may be summed later is split up to
_MAX_PARTS = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A matrix as the kernels see it. width: columns per scale."""

    kind: int
    q: Tensor
    scale: Tensor
    minimum: Tensor
    has_minimum: bool
    num_rows: int
    num_columns: int
    width: int


def multiply(x: Tensor, matrix: Linear | PackedRows) -> Tensor:
    """See `row_ops.multiply`."""
    if x.shape[0] <= FEW:
        return _multiply_few(x, _stored(matrix), num_parts=1, dtype=x.dtype)[0]
    if isinstance(matrix, Linear):
        return F.linear(x, matrix.weight)
    if x.shape[0] <= MANY:
        return _multiply_tiles(x, _stored(matrix), num_parts=1, dtype=x.dtype)[0]
    return F.linear(x, unpack(matrix))


def multiply_parts(x: Tensor, matrix: Linear | PackedRows) -> Tensor:
    """See `row_ops.multiply_parts`: here up to four parts in float32."""
    if x.shape[0] > MANY or (isinstance(matrix, Linear) and x.shape[0] > FEW):
        return multiply(x, matrix)[None]
    stored = _stored(matrix)
    few = x.shape[0] <= FEW
    block = _FEW_ROWS if few else _tile_rows(x.shape[0])
    parts = _SUMMED_PROGRAMS * (4 if few else 1) // triton.cdiv(stored.num_rows, block)
    longest = stored.num_columns // (_FEW_COLUMNS[stored.kind] if few else _TILE_COLUMNS)
    num_parts = max(1, min(parts, _MAX_PARTS, longest))
    run = _multiply_few if few else _multiply_tiles
    return run(x, stored, num_parts=num_parts, dtype=torch.float32)


def gate(x: Tensor, w1: Linear | PackedRows, w3: Linear | PackedRows) -> Tensor:
    """See `row_ops.gate`."""
    first, third = _stored(w1), _stored(w3)
    alike = (first.kind, first.width, first.has_minimum)
    if x.shape[0] > FEW or alike != (third.kind, third.width, third.has_minimum):
        return silu_times(multiply(x, w1), multiply(x, w3))
    return _multiply_few(x, first, num_parts=1, dtype=x.dtype, third=third)[0]


def unpack(matrix: PackedRows) -> Tensor:
    """The values of a packed matrix, in its compute type [R, C]."""
    stored = _stored(matrix)
    out = torch.empty(
        stored.num_rows, stored.num_columns, dtype=matrix.dtype, device=matrix.q.device
    )
    grid = (
        triton.cdiv(stored.num_rows, _UNPACK_ROWS),
        triton.cdiv(stored.num_columns, _UNPACK_COLUMNS),
    )
    _unpack[grid](
        stored.q,
        stored.scale,
        stored.minimum,
        out,
        stored.num_rows,
        stored.num_columns,
        KIND=stored.kind,
        WIDTH=stored.width,
        HAS_MINIMUM=stored.has_minimum,
        BLOCK_R=_UNPACK_ROWS,
        BLOCK_C=_UNPACK_COLUMNS,
        num_warps=4,
    )
    return out


def _stored(matrix: Linear | PackedRows) -> _Stored:
    if isinstance(matrix, Linear):
        weight = matrix.weight
        num_rows, num_columns = weight.shape
        return _Stored(_DENSE, weight, weight, weight, False, num_rows, num_columns, 32)
    minimum = matrix.minimum
    return _Stored(
        _UINT4 if matrix.is_uint4 else _INT8,
        matrix.q,
        matrix.scale,
        matrix.scale if minimum is None else minimum,
        minimum is not None,
        matrix.num_rows,
        matrix.num_columns,
        matrix.num_columns // matrix.scale.shape[1],
    )


def _part_columns(stored: _Stored, num_parts: int, block: int) -> int:
    """Columns of one part: whole blocks."""
    columns = -(-stored.num_columns // num_parts)
    return -(-columns // block) * block


def _multiply_few(
    x: Tensor, stored: _Stored, *, num_parts: int, dtype: torch.dtype, third: _Stored | None = None
) -> Tensor:
    num_vectors, block = x.shape[0], _FEW_COLUMNS[stored.kind]
    x = x.contiguous()
    out = torch.empty(num_parts, num_vectors, stored.num_rows, dtype=dtype, device=x.device)
    # A pair of bfloat16 is one load of 32 bits, and the halves of a byte meet their columns.
    is_paired = stored.kind == _UINT4 and x.dtype == torch.bfloat16
    other = third or stored
    _few[(triton.cdiv(stored.num_rows, _FEW_ROWS), num_parts)](
        x.view(torch.int32) if is_paired else x,
        stored.q,
        stored.scale,
        stored.minimum,
        other.q,
        other.scale,
        other.minimum,
        out,
        num_vectors,
        stored.num_rows,
        stored.num_columns,
        _part_columns(stored, num_parts, block),
        KIND=stored.kind,
        WIDTH=stored.width,
        HAS_MINIMUM=stored.has_minimum,
        IS_PAIRED=is_paired,
        IS_GATE=third is not None,
        BLOCK_N=triton.next_power_of_2(num_vectors),
        BLOCK_R=_FEW_ROWS,
        BLOCK_G=block // stored.width,
        num_warps=4,
    )
    return out


@triton.jit
def _few(
    x,
    q,
    scale,
    minimum,
    q_third,
    scale_third,
    minimum_third,
    out,
    num_vectors,
    num_rows,
    num_columns,
    part_columns,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    IS_PAIRED: tl.constexpr,
    IS_GATE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_G: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    part = tl.program_id(1)
    vector = tl.arange(0, BLOCK_N)
    num_groups = num_columns // WIDTH
    begin = part * (part_columns // WIDTH)
    end = tl.minimum(begin + part_columns // WIDTH, num_groups)
    total = tl.zeros([BLOCK_N, BLOCK_R, BLOCK_G], tl.float32)
    total_third = tl.zeros([BLOCK_N, BLOCK_R, BLOCK_G], tl.float32)
    for first in range(begin, end, BLOCK_G):
        group = first + tl.arange(0, BLOCK_G)
        total += _few_groups(
            x, q, scale, minimum, vector, row, group, num_vectors, num_rows, end, num_groups,
            KIND, WIDTH, HAS_MINIMUM, IS_PAIRED,
        )  # fmt: skip
        if IS_GATE:
            total_third += _few_groups(
                x, q_third, scale_third, minimum_third, vector, row, group, num_vectors, num_rows,
                end, num_groups, KIND, WIDTH, HAS_MINIMUM, IS_PAIRED,
            )  # fmt: skip
    y = tl.sum(total, 2)  # [BLOCK_N, BLOCK_R]
    if IS_GATE:
        y = y / (1.0 + tl.exp(-y)) * tl.sum(total_third, 2)
    at = (part * num_vectors + vector[:, None]) * num_rows + row[None, :]
    inside = (vector[:, None] < num_vectors) & (row[None, :] < num_rows)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _few_groups(
    x,
    q,
    scale,
    minimum,
    vector,
    row,
    group,
    num_vectors,
    num_rows,
    end,
    num_groups,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    IS_PAIRED: tl.constexpr,
):
    """What some groups add: float32 [N, R, G]."""
    is_row = (row[:, None] < num_rows) & (group[None, :] < end)  # [R, G]
    is_vector = (vector[:, None] < num_vectors) & (group[None, :] < end)  # [N, G]
    row_at = row.to(tl.int64)[:, None] * num_groups + group[None, :]  # [R, G], in groups
    vector_at = vector[:, None] * num_groups + group[None, :]  # [N, G], in groups
    if KIND == 2:
        half = tl.arange(0, WIDTH // 2)
        byte = tl.load(
            q + row_at[:, :, None] * (WIDTH // 2) + half[None, None, :],
            mask=is_row[:, :, None],
            other=0,
        )
        low = (byte & 15).to(tl.float32)
        high = (byte >> 4).to(tl.float32)
        if IS_PAIRED:
            pair = tl.load(
                x + vector_at[:, :, None] * (WIDTH // 2) + half[None, None, :],
                mask=is_vector[:, :, None],
                other=0,
            )
            # The first of two bfloat16 is the low half; a bfloat16 is the top of a float32.
            even = (pair << 16).to(tl.float32, bitcast=True)
            odd = (pair & -65536).to(tl.float32, bitcast=True)
        else:
            at = x + vector_at[:, :, None] * WIDTH + 2 * half[None, None, :]
            even = tl.load(at, mask=is_vector[:, :, None], other=0.0).to(tl.float32)
            odd = tl.load(at + 1, mask=is_vector[:, :, None], other=0.0).to(tl.float32)
        products = (
            low[None, :, :, :] * even[:, None, :, :] + high[None, :, :, :] * odd[:, None, :, :]
        )
        below = tl.sum(even + odd, 2)  # [N, G]
    else:
        column = tl.arange(0, WIDTH)
        weight = tl.load(
            q + row_at[:, :, None] * WIDTH + column[None, None, :],
            mask=is_row[:, :, None],
            other=0,
        ).to(tl.float32)
        value = tl.load(
            x + vector_at[:, :, None] * WIDTH + column[None, None, :],
            mask=is_vector[:, :, None],
            other=0.0,
        ).to(tl.float32)
        products = weight[None, :, :, :] * value[:, None, :, :]
        below = tl.sum(value, 2)
    added = tl.sum(products, 3)  # [N, R, G]
    if KIND > 0:
        added = added * tl.load(scale + row_at, mask=is_row, other=0.0).to(tl.float32)[None, :, :]
    if HAS_MINIMUM:
        least = tl.load(minimum + row_at, mask=is_row, other=0.0).to(tl.float32)
        added -= least[None, :, :] * below[:, None, :]
    return added


def _tile_rows(num_vectors: int) -> int:
    return 32 if num_vectors <= 32 else 64


def _multiply_tiles(x: Tensor, stored: _Stored, *, num_parts: int, dtype: torch.dtype) -> Tensor:
    num_vectors = x.shape[0]
    x = x.contiguous()
    out = torch.empty(num_parts, num_vectors, stored.num_rows, dtype=dtype, device=x.device)
    block_rows = _tile_rows(num_vectors)
    block_vectors = min(64, max(16, triton.next_power_of_2(num_vectors)))
    grid = (
        triton.cdiv(num_vectors, block_vectors),
        triton.cdiv(stored.num_rows, block_rows),
        num_parts,
    )
    _tiles[grid](
        x,
        stored.q,
        stored.scale,
        stored.minimum,
        out,
        num_vectors,
        stored.num_rows,
        stored.num_columns,
        _part_columns(stored, num_parts, _TILE_COLUMNS),
        KIND=stored.kind,
        WIDTH=stored.width,
        HAS_MINIMUM=stored.has_minimum,
        BLOCK_N=block_vectors,
        BLOCK_R=block_rows,
        BLOCK_C=_TILE_COLUMNS,
        num_warps=4,
        # Tiles in flight; of float32 three would need more than most cards have on chip.
        num_stages=2 if x.dtype == torch.float32 else 3,
    )
    return out


@triton.jit
def _tiles(
    x,
    q,
    scale,
    minimum,
    out,
    num_vectors,
    num_rows,
    num_columns,
    part_columns,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    # Programs with the same rows run next to each other, so that these come from the cache.
    vector = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    row = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
    part = tl.program_id(2)
    begin = part * part_columns
    end = tl.minimum(begin + part_columns, num_columns)
    total = tl.zeros([BLOCK_R, BLOCK_N], tl.float32)
    for first in range(begin, end, BLOCK_C):
        weight = _tile(
            q, scale, minimum, row, first, num_rows, num_columns, end,
            KIND, WIDTH, HAS_MINIMUM, BLOCK_R, BLOCK_C,
        )  # fmt: skip
        column = first + tl.arange(0, BLOCK_C)
        value = tl.load(
            x + vector[None, :] * num_columns + column[:, None],
            mask=(vector[None, :] < num_vectors) & (column[:, None] < end),
            other=0.0,
        )  # [BLOCK_C, BLOCK_N]
        total = tl.dot(weight.to(value.dtype), value, total, input_precision="ieee")
    at = (part * num_vectors + vector[None, :]) * num_rows + row[:, None]
    inside = (vector[None, :] < num_vectors) & (row[:, None] < num_rows)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _tile(
    q,
    scale,
    minimum,
    row,
    first,
    num_rows,
    num_columns,
    end,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The values of a tile: float32 [R, C], zero outside."""
    num_groups = num_columns // WIDTH
    group = first // WIDTH + tl.arange(0, BLOCK_C // WIDTH)
    inside = (row[:, None] < num_rows) & (group[None, :] < end // WIDTH)  # [R, G]
    at = row.to(tl.int64)[:, None] * num_groups + group[None, :]
    if KIND == 2:
        half = tl.arange(0, WIDTH // 2)
        byte = tl.load(
            q + at[:, :, None] * (WIDTH // 2) + half[None, None, :],
            mask=inside[:, :, None],
            other=0,
        )
        # Even columns in the low half: [R, G, W / 2, 2] in order is [R, G, W].
        both = tl.join((byte & 15).to(tl.float32), (byte >> 4).to(tl.float32))
        value = tl.reshape(both, [BLOCK_R, BLOCK_C // WIDTH, WIDTH])
    else:
        column = tl.arange(0, WIDTH)
        value = tl.load(
            q + at[:, :, None] * WIDTH + column[None, None, :],
            mask=inside[:, :, None],
            other=0,
        ).to(tl.float32)
    value = value * tl.load(scale + at, mask=inside, other=0.0).to(tl.float32)[:, :, None]
    if HAS_MINIMUM:
        value -= tl.load(minimum + at, mask=inside, other=0.0).to(tl.float32)[:, :, None]
    return tl.reshape(value, [BLOCK_R, BLOCK_C])


@triton.jit
def _unpack(
    q,
    scale,
    minimum,
    out,
    num_rows,
    num_columns,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    first = tl.program_id(1) * BLOCK_C
    value = _tile(
        q, scale, minimum, row, first, num_rows, num_columns, num_columns,
        KIND, WIDTH, HAS_MINIMUM, BLOCK_R, BLOCK_C,
    )  # fmt: skip
    column = first + tl.arange(0, BLOCK_C)
    inside = (row[:, None] < num_rows) & (column[None, :] < num_columns)
    at = row.to(tl.int64)[:, None] * num_columns + column[None, :]
    tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)
