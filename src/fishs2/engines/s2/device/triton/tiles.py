"""More vectors: tiles of a packed matrix are unpacked in registers, for the tensor cores."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fishs2.engines.s2.device.triton.stored import Stored, describe, part_columns_of
from fishs2.engines.s2.model.linear import PackedRows

TILE_COLUMNS = 128
_UNPACK_ROWS, _UNPACK_COLUMNS = 8, 512


def tile_rows(num_vectors: int) -> int:
    return 32 if num_vectors <= 32 else 64


def multiply_tiles(x: Tensor, stored: Stored, *, num_parts: int, dtype: torch.dtype) -> Tensor:
    num_vectors = x.shape[0]
    x = x.contiguous()
    out = torch.empty(num_parts, num_vectors, stored.num_rows, dtype=dtype, device=x.device)
    block_rows = tile_rows(num_vectors)
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
        part_columns_of(stored, num_parts, TILE_COLUMNS),
        KIND=stored.kind,
        WIDTH=stored.width,
        HAS_MINIMUM=stored.has_minimum,
        BLOCK_N=block_vectors,
        BLOCK_R=block_rows,
        BLOCK_C=TILE_COLUMNS,
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


def unpack(matrix: PackedRows) -> Tensor:
    """The values of a packed matrix, in its compute type [R, C]."""
    stored = describe(matrix)
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
