"""A few vectors: every program multiplies some matrix rows by all of them, on plain cores.

The speed is that of reading the matrix, whose numbers are used as they come from memory.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fishs2.engines.s2.device.triton.stored import UINT4, Stored, part_columns_of

FEW_ROWS = 4
"""Matrix rows per program: a thread takes the same columns of each."""
FEW_COLUMNS = 512
"""Columns at once; the sizes of S2 Pro are multiples of it."""
_RUN = 8
"""Neighbouring columns that a thread takes of each row: one load of 16 bytes of x, and no more of
the weights, or the two would lie in threads differently and one be moved in every turn."""
_ONE_BITS = 0x4B000000
"""Of 2^23, the float whose lowest bit counts 1. An argument of the kernel: with one of its operands
in a register, a mask and an `or` are one instruction."""


def multiply_few(
    x: Tensor, stored: Stored, *, num_parts: int, dtype: torch.dtype, third: Stored | None = None
) -> Tensor:
    num_vectors = x.shape[0]
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
        part_columns_of(stored, num_parts, FEW_COLUMNS),
        _ONE_BITS,
        KIND=stored.kind,
        WIDTH=stored.width,
        HAS_MINIMUM=stored.has_minimum,
        IS_PAIRED=is_paired,
        IS_GATE=third is not None,
        BLOCK_N=triton.next_power_of_2(num_vectors),
        BLOCK_R=FEW_ROWS,
        BLOCK_C=FEW_COLUMNS,
        RUN=_RUN,
        num_warps=FEW_COLUMNS // _RUN // 32,
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
    one_bits,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    IS_PAIRED: tl.constexpr,
    IS_GATE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
    RUN: tl.constexpr,
):
    """Every thread sums what its own columns add; only the ends of these sums cross threads.

    One name for each vector: a tensor with the vectors as a dimension would be spread over threads
    in another way than the weights, and be carried between them in every turn.
    """
    row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    part = tl.program_id(1)
    begin = part * part_columns
    end = tl.minimum(begin + part_columns, num_columns)
    run = tl.arange(0, BLOCK_C // RUN)
    total0 = tl.zeros([BLOCK_R, BLOCK_C // RUN], tl.float32)
    total1, total2, total3 = total0, total0, total0
    third0, third1, third2, third3 = total0, total0, total0, total0
    for first in range(begin, end, BLOCK_C):
        low, high, factor, least = _weights(
            q, scale, minimum, row, first, run, num_rows, num_columns, end, one_bits,
            KIND, WIDTH, HAS_MINIMUM, RUN,
        )  # fmt: skip
        if IS_GATE:
            low3, high3, factor3, least3 = _weights(
                q_third, scale_third, minimum_third, row, first, run, num_rows, num_columns, end,
                one_bits, KIND, WIDTH, HAS_MINIMUM, RUN,
            )  # fmt: skip
        even, odd = _values(x, 0, first, run, num_columns, end, KIND, IS_PAIRED, RUN)
        total0 += _added(low, high, factor, least, even, odd, KIND, HAS_MINIMUM)
        if IS_GATE:
            third0 += _added(low3, high3, factor3, least3, even, odd, KIND, HAS_MINIMUM)
        if BLOCK_N > 1:
            even, odd = _values(x, 1, first, run, num_columns, end, KIND, IS_PAIRED, RUN)
            total1 += _added(low, high, factor, least, even, odd, KIND, HAS_MINIMUM)
            if IS_GATE:
                third1 += _added(low3, high3, factor3, least3, even, odd, KIND, HAS_MINIMUM)
        if BLOCK_N > 2:
            # Of three vectors the last stands for the fourth, which is not stored.
            even, odd = _values(x, 2, first, run, num_columns, end, KIND, IS_PAIRED, RUN)
            total2 += _added(low, high, factor, least, even, odd, KIND, HAS_MINIMUM)
            if IS_GATE:
                third2 += _added(low3, high3, factor3, least3, even, odd, KIND, HAS_MINIMUM)
            last = tl.minimum(3, num_vectors - 1)
            even, odd = _values(x, last, first, run, num_columns, end, KIND, IS_PAIRED, RUN)
            total3 += _added(low, high, factor, least, even, odd, KIND, HAS_MINIMUM)
            if IS_GATE:
                third3 += _added(low3, high3, factor3, least3, even, odd, KIND, HAS_MINIMUM)
    at = part * num_vectors * num_rows + row
    inside = row < num_rows
    _put(out + at, total0, third0, inside, IS_GATE)
    if BLOCK_N > 1:
        _put(out + at + num_rows, total1, third1, inside, IS_GATE)
    if BLOCK_N > 2:
        _put(out + at + 2 * num_rows, total2, third2, inside, IS_GATE)
        _put(out + at + 3 * num_rows, total3, third3, inside & (num_vectors > 3), IS_GATE)


@triton.jit
def _weights(
    q,
    scale,
    minimum,
    row,
    first,
    run,
    num_rows,
    num_columns,
    end,
    one_bits,
    KIND: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_MINIMUM: tl.constexpr,
    RUN: tl.constexpr,
):
    """Runs of columns of some rows: float32 [R, T, H], twice for uint4: even columns, and 16 times
    the odd ones. And scale and minimum of each run, [R, T].
    """
    inside = (row[:, None] < num_rows) & (first + RUN * run < end)[None, :]  # [R, T]
    wide = row.to(tl.int64)[:, None]
    if KIND == 2:
        at = wide * (num_columns // 2) + (first // 2 + RUN // 2 * run)[None, :]
        place = at[:, :, None] + tl.arange(0, RUN // 2)[None, None, :]
        byte = tl.load(q + place, mask=inside[:, :, None], other=0).to(tl.int32)
        # To put an integer into the lowest bits of a float takes one instruction; to convert it
        # takes as long as several.
        low = ((byte & 15) | one_bits).to(tl.float32, bitcast=True) - 8388608.0
        high = ((byte & 240) | one_bits).to(tl.float32, bitcast=True) - 8388608.0
    else:
        at = wide * num_columns + (first + RUN * run)[None, :]
        place = at[:, :, None] + tl.arange(0, RUN)[None, None, :]
        low = tl.load(q + place, mask=inside[:, :, None], other=0).to(tl.float32)
        high = low
    factor = 1.0
    least = 0.0
    if KIND > 0:
        group = wide * (num_columns // WIDTH) + (first // WIDTH + run * RUN // WIDTH)[None, :]
        factor = tl.load(scale + group, mask=inside, other=0.0).to(tl.float32)
        if HAS_MINIMUM:
            least = tl.load(minimum + group, mask=inside, other=0.0).to(tl.float32)
    return low, high, factor, least


@triton.jit
def _values(
    x,
    vector,
    first,
    run,
    num_columns,
    end,
    KIND: tl.constexpr,
    IS_PAIRED: tl.constexpr,
    RUN: tl.constexpr,
):
    """One vector's runs of columns: float32 [T, H], twice for uint4: even and odd columns."""
    inside = (first + RUN * run < end)[:, None]
    if KIND == 2 and IS_PAIRED:
        at = vector * (num_columns // 2) + first // 2 + RUN // 2 * run
        pair = tl.load(x + at[:, None] + tl.arange(0, RUN // 2)[None, :], mask=inside, other=0)
        # The first of two bfloat16 is the low half; a bfloat16 is the top of a float32.
        even = (pair << 16).to(tl.float32, bitcast=True)
        odd = (pair & -65536).to(tl.float32, bitcast=True)
    elif KIND == 2:
        at = x + (vector * num_columns + first + RUN * run)[:, None]
        at += 2 * tl.arange(0, RUN // 2)[None, :]
        even = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        odd = tl.load(at + 1, mask=inside, other=0.0).to(tl.float32)
    else:
        at = x + (vector * num_columns + first + RUN * run)[:, None]
        even = tl.load(at + tl.arange(0, RUN)[None, :], mask=inside, other=0.0).to(tl.float32)
        odd = even
    return even, odd


@triton.jit
def _added(low, high, factor, least, even, odd, KIND: tl.constexpr, HAS_MINIMUM: tl.constexpr):
    """What some runs add to the sums of their thread: float32 [R, T]."""
    if KIND == 2:
        added = tl.sum(low * even[None, :, :] + high * (odd * 0.0625)[None, :, :], 2)
        below = tl.sum(even + odd, 1)
    else:
        added = tl.sum(low * even[None, :, :], 2)
        below = tl.sum(even, 1)
    if KIND > 0:
        added = added * factor
    if HAS_MINIMUM:
        added -= least * below[None, :]
    return added


@triton.jit
def _put(out, total, third, inside, IS_GATE: tl.constexpr):
    y = tl.sum(total, 1)
    if IS_GATE:
        y = y / (1.0 + tl.exp(-y)) * tl.sum(third, 1)
    tl.store(out, y.to(out.dtype.element_ty), mask=inside)
