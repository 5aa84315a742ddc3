"""A few vectors: every program multiplies some matrix rows by all of them, on plain cores.

The speed is that of reading the matrix, whose numbers are used as they come from memory.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fishs2.engines.s2.device.triton.stored import DENSE, INT8, UINT4, Stored, part_columns_of

FEW_ROWS = 4
"""Matrix rows per program."""
FEW_COLUMNS = {DENSE: 512, INT8: 512, UINT4: 1024}
"""Columns at once."""


def multiply_few(
    x: Tensor, stored: Stored, *, num_parts: int, dtype: torch.dtype, third: Stored | None = None
) -> Tensor:
    num_vectors, block = x.shape[0], FEW_COLUMNS[stored.kind]
    x = x.contiguous()
    out = torch.empty(num_parts, num_vectors, stored.num_rows, dtype=dtype, device=x.device)
    # A pair of bfloat16 is one load of 32 bits, and the halves of a byte meet their columns.
    is_paired = stored.kind == UINT4 and x.dtype == torch.bfloat16
    other = third or stored
    _few[(triton.cdiv(stored.num_rows, FEW_ROWS), num_parts)](
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
        part_columns_of(stored, num_parts, block),
        KIND=stored.kind,
        WIDTH=stored.width,
        HAS_MINIMUM=stored.has_minimum,
        IS_PAIRED=is_paired,
        IS_GATE=third is not None,
        BLOCK_N=triton.next_power_of_2(num_vectors),
        BLOCK_R=FEW_ROWS,
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
