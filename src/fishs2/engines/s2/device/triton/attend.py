"""Attention over the filled part of a cache: of single tokens, and of the tokens of a prompt.

For single tokens a program takes one row and one key head, with all queries that share it, and a
share of the positions. Which cache row and how many positions is read from device memory, so that
one captured graph serves every state of the caches, and nothing is read that was never written.
"""

from math import sqrt

import torch
import triton
import triton.language as tl
from torch import Tensor

from fishs2.engines.s2.device.ops import RowPlaces

_PROGRAMS = 256  # enough to fill a large card; splitting further costs more than it brings
_MAX_SPLITS = 32
_BLOCK = 64  # positions at once
_QUERIES = 32  # of one key head, of a prompt, at once
_MIN_DOT = 16  # least size that tl.dot takes


def attend(q: Tensor, keys: Tensor, values: Tensor, at: RowPlaces) -> Tensor:
    """See `device.ops.attend`."""
    num_rows, num_heads, size = q.shape
    num_kv = keys.shape[1]
    block = _BLOCK if at.span > _MIN_DOT else _MIN_DOT
    most = max(1, min(_MAX_SPLITS, at.span // (2 * block)))
    num_splits = triton.next_power_of_2(max(1, min(most, _PROGRAMS // (num_rows * num_kv))))
    out = torch.empty(num_rows, num_heads * size, dtype=q.dtype, device=q.device)
    shape = (num_rows, num_heads, num_splits)
    parts, peaks, sums = out, out, out  # unused with one split
    if num_splits > 1:
        parts = torch.empty(*shape, size, dtype=torch.float32, device=q.device)
        peaks = torch.empty(shape, dtype=torch.float32, device=q.device)
        sums = torch.empty(shape, dtype=torch.float32, device=q.device)
    _attend[(num_rows, num_kv, num_splits)](
        q,
        keys,
        values,
        at.cache_row,
        at.seen,
        out,
        parts,
        peaks,
        sums,
        keys.stride(0),
        keys.stride(1),
        1.0 / sqrt(size),
        NUM_HEADS=num_heads,
        GROUP=num_heads // num_kv,
        SIZE=size,
        BLOCK_GROUP=max(_MIN_DOT, triton.next_power_of_2(num_heads // num_kv)),
        BLOCK_SIZE=max(_MIN_DOT, triton.next_power_of_2(size)),
        BLOCK=block,
        NUM_SPLITS=num_splits,
        num_warps=4,
        num_stages=2,
    )
    if num_splits > 1:
        _join_splits[(num_rows * num_heads,)](
            parts,
            peaks,
            sums,
            out,
            SIZE=size,
            BLOCK_SIZE=triton.next_power_of_2(size),
            NUM_SPLITS=num_splits,
            num_warps=2,
        )
    return out


def attend_piece(q: Tensor, keys: Tensor, values: Tensor, at: RowPlaces) -> Tensor:
    """See `device.ops.attend_piece`."""
    num_tokens, num_heads, size = q.shape
    num_kv = keys.shape[1]
    group = triton.next_power_of_2(num_heads // num_kv)
    out = torch.empty(num_tokens, num_heads * size, dtype=q.dtype, device=q.device)
    tokens_at_once = max(1, _QUERIES // group)
    _attend_piece[(triton.cdiv(num_tokens, tokens_at_once), num_kv)](
        q.contiguous(),
        keys,
        values,
        at.seen,
        out,
        num_tokens,
        keys.stride(1),
        1.0 / sqrt(size),
        NUM_HEADS=num_heads,
        GROUP=num_heads // num_kv,
        SIZE=size,
        BLOCK_GROUP=group,
        TOKENS=tokens_at_once,
        BLOCK_SIZE=max(_MIN_DOT, triton.next_power_of_2(size)),
        BLOCK=_BLOCK,
        num_warps=4,
        # Two of float32 would need more than most cards have on chip.
        num_stages=1 if q.dtype == torch.float32 else 2,
    )
    return out


@triton.jit
def _attend_piece(
    q,
    keys,
    values,
    seen,
    out,
    num_tokens,
    head_stride,
    scale,
    NUM_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK_GROUP: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Some tokens with all heads that share a key head: a key is read once for all of them."""
    query_at = tl.arange(0, TOKENS * BLOCK_GROUP)
    token = tl.program_id(0) * TOKENS + query_at // BLOCK_GROUP
    member = query_at % BLOCK_GROUP
    kv_head = tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, BLOCK_SIZE)
    is_token = (token < num_tokens) & (member < GROUP)
    # Queries that only fill up the block see one position, and are not stored.
    num_seen = tl.load(seen + token, mask=is_token, other=1).to(tl.int32)
    head_at = (token * NUM_HEADS + kv_head * GROUP + member) * SIZE
    is_query = is_token[:, None] & (lane[None, :] < SIZE)
    query = tl.load(q + head_at[:, None] + lane[None, :], mask=is_query, other=0.0)
    peak = tl.full([TOKENS * BLOCK_GROUP], float("-inf"), tl.float32)
    total = tl.zeros([TOKENS * BLOCK_GROUP], tl.float32)
    mixed = tl.zeros([TOKENS * BLOCK_GROUP, BLOCK_SIZE], tl.float32)
    end = tl.max(num_seen, 0)
    for start in range(0, end, BLOCK):
        column = start + tl.arange(0, BLOCK)
        at = kv_head * head_stride + column[:, None] * SIZE + lane[None, :]
        is_set = (column[:, None] < end) & (lane[None, :] < SIZE)
        key = tl.load(keys + at, mask=is_set, other=0.0)
        score = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        score = tl.where(column[None, :] < num_seen[:, None], score, float("-inf"))
        higher = tl.maximum(peak, tl.max(score, 1))
        weight = tl.exp(score - higher[:, None])
        fade = tl.exp(peak - higher)
        value = tl.load(values + at, mask=is_set, other=0.0)
        total = total * fade + tl.sum(weight, 1)
        mixed = mixed * fade[:, None] + tl.dot(
            weight.to(value.dtype), value, input_precision="ieee"
        )
        peak = higher
    mixed = mixed / total[:, None]
    tl.store(out + head_at[:, None] + lane[None, :], mixed.to(out.dtype.element_ty), mask=is_query)


@triton.jit
def _attend(
    q,
    keys,
    values,
    cache_row,
    seen,
    out,
    parts,
    peaks,
    sums,
    row_stride,
    head_stride,
    scale,
    NUM_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK_GROUP: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    BLOCK: tl.constexpr,
    NUM_SPLITS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1)
    split = tl.program_id(2)
    num_seen = tl.load(seen + row).to(tl.int32)
    share = tl.cdiv(tl.cdiv(num_seen, NUM_SPLITS), BLOCK) * BLOCK
    begin = split * share
    end = tl.minimum(begin + share, num_seen)
    member = tl.arange(0, BLOCK_GROUP)
    lane = tl.arange(0, BLOCK_SIZE)
    heads = row * NUM_HEADS + kv_head * GROUP + member
    is_query = (member[:, None] < GROUP) & (lane[None, :] < SIZE)
    query = tl.load(q + heads[:, None] * SIZE + lane[None, :], mask=is_query, other=0.0)
    cache_at = tl.load(cache_row + row) * row_stride + kv_head * head_stride
    peak = tl.full([BLOCK_GROUP], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_GROUP], tl.float32)
    mixed = tl.zeros([BLOCK_GROUP, BLOCK_SIZE], tl.float32)
    for start in range(begin, end, BLOCK):
        column = start + tl.arange(0, BLOCK)
        at = cache_at + column[:, None] * SIZE + lane[None, :]
        is_set = (column[:, None] < end) & (lane[None, :] < SIZE)
        key = tl.load(keys + at, mask=is_set, other=0.0)  # [BLOCK, BLOCK_SIZE]
        score = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        score = tl.where(column[None, :] < end, score, float("-inf"))
        higher = tl.maximum(peak, tl.max(score, 1))
        weight = tl.exp(score - higher[:, None])
        fade = tl.exp(peak - higher)
        value = tl.load(values + at, mask=is_set, other=0.0)
        total = total * fade + tl.sum(weight, 1)
        mixed = mixed * fade[:, None] + tl.dot(
            weight.to(value.dtype), value, input_precision="ieee"
        )
        peak = higher
    if NUM_SPLITS == 1:
        mixed = mixed / total[:, None]
        to = out + heads[:, None] * SIZE + lane[None, :]
        tl.store(to, mixed.to(out.dtype.element_ty), mask=is_query)
    else:
        at = heads * NUM_SPLITS + split
        tl.store(parts + at[:, None] * SIZE + lane[None, :], mixed, mask=is_query)
        tl.store(peaks + at, peak, mask=member < GROUP)
        tl.store(sums + at, total, mask=member < GROUP)


@triton.jit
def _join_splits(
    parts,
    peaks,
    sums,
    out,
    SIZE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    NUM_SPLITS: tl.constexpr,
):
    head = tl.program_id(0).to(tl.int64)
    split = tl.arange(0, NUM_SPLITS)
    lane = tl.arange(0, BLOCK_SIZE)
    # A share without positions has a peak of minus infinity, which makes its weight zero.
    peak = tl.load(peaks + head * NUM_SPLITS + split)
    weight = tl.exp(peak - tl.max(peak, 0))
    total = tl.sum(weight * tl.load(sums + head * NUM_SPLITS + split), 0)
    at = (head * NUM_SPLITS + split[:, None]) * SIZE + lane[None, :]
    part = tl.load(parts + at, mask=lane[None, :] < SIZE, other=0.0)
    mixed = tl.sum(part * weight[:, None], 0) / total
    tl.store(out + head * SIZE + lane, mixed.to(out.dtype.element_ty), mask=lane < SIZE)
