"""Per row: residual and norm, heads on their way into the cache, SwiGLU."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fishs2.engines.s2.device.ops import RowPlaces
from fishs2.engines.s2.model.layers import Attention, RmsNorm

_GATE_BLOCK = 1024  # elements per program


def add_norm(x: Tensor, delta: Tensor | None, norm: RmsNorm, dtype: torch.dtype) -> Tensor:
    """See `device.ops.add_norm`. One program per row."""
    num_rows, width = x.shape
    out = torch.empty(num_rows, width, dtype=dtype, device=x.device)
    _add_norm[(num_rows,)](
        x,
        x if delta is None else delta.contiguous(),
        norm.weight,
        out,
        width,
        num_rows * width,
        norm.eps,
        NUM_PARTS=0 if delta is None else delta.shape[0],
        BLOCK=triton.next_power_of_2(width),
        num_warps=8 if width > 1024 else 4,
    )
    return out


@triton.jit
def _add_norm(
    x, delta, weight, out, width, part_stride, eps, NUM_PARTS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    values = tl.load(x + row * width + columns, mask=inside, other=0.0)
    for part in tl.static_range(NUM_PARTS):
        at = part * part_stride + row * width + columns
        values += tl.load(delta + at, mask=inside, other=0.0).to(tl.float32)
    if NUM_PARTS > 0:
        tl.store(x + row * width + columns, values, mask=inside)
    mean = tl.sum(values * values, axis=0) / width
    normed = (
        values * (1.0 / tl.sqrt(mean + eps)) * tl.load(weight + columns, mask=inside, other=0.0)
    )
    tl.store(out + row * width + columns, normed.to(out.dtype.element_ty), mask=inside)


def place_heads(
    mixed: Tensor,
    attention: Attention,
    at: RowPlaces,
    rope: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """See `device.ops.place_heads`. One program per row and head."""
    config = attention.config
    num_rows, size = mixed.shape[0], config.head_dim
    q = torch.empty(num_rows, config.num_heads, size, dtype=mixed.dtype, device=mixed.device)
    has_norm = attention.q_norm is not None and attention.k_norm is not None
    q_norm, k_norm = attention.q_norm, attention.k_norm
    _place_heads[(num_rows, config.num_heads + 2 * config.num_kv_heads)](
        mixed,
        q_norm.weight if q_norm is not None else rope,
        k_norm.weight if k_norm is not None else rope,
        rope,
        at.cache_row,
        at.position,
        at.angle,
        q,
        keys,
        values,
        keys.stride(0),
        keys.stride(1),
        q_norm.eps if q_norm is not None else 0.0,
        NUM_HEADS=config.num_heads,
        NUM_KV=config.num_kv_heads,
        SIZE=size,
        HAS_NORM=has_norm,
        BLOCK=triton.next_power_of_2(size // 2),
        num_warps=1,
    )
    return q


@triton.jit
def _place_heads(
    mixed,
    q_weight,
    k_weight,
    rope,
    cache_row,
    position,
    angle,
    q,
    keys,
    values,
    row_stride,
    head_stride,
    eps,
    NUM_HEADS: tl.constexpr,
    NUM_KV: tl.constexpr,
    SIZE: tl.constexpr,
    HAS_NORM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    pair = tl.arange(0, BLOCK)
    inside = pair < SIZE // 2
    source = mixed + (row * (NUM_HEADS + 2 * NUM_KV) + head) * SIZE + 2 * pair
    even = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    odd = tl.load(source + 1, mask=inside, other=0.0).to(tl.float32)
    if HAS_NORM:  # noqa: SIM102 - decided when it is compiled, the next when it runs
        if head < NUM_HEADS + NUM_KV:
            scale = 1.0 / tl.sqrt((tl.sum(even * even, 0) + tl.sum(odd * odd, 0)) / SIZE + eps)
            is_query = (head < NUM_HEADS) & inside
            is_key = (head >= NUM_HEADS) & inside
            weight = tl.load(q_weight + 2 * pair, mask=is_query, other=0.0)
            weight += tl.load(k_weight + 2 * pair, mask=is_key, other=0.0)
            even = even * scale * weight
            weight = tl.load(q_weight + 2 * pair + 1, mask=is_query, other=0.0)
            weight += tl.load(k_weight + 2 * pair + 1, mask=is_key, other=0.0)
            odd = odd * scale * weight
    if head < NUM_HEADS + NUM_KV:
        turn = rope + tl.load(angle + row) * SIZE + 2 * pair
        cosine = tl.load(turn, mask=inside, other=0.0)
        sine = tl.load(turn + 1, mask=inside, other=0.0)
        turned = even * cosine - odd * sine
        odd = odd * cosine + even * sine
        even = turned
    kind = q.dtype.element_ty
    if head < NUM_HEADS:
        target = q + (row * NUM_HEADS + head) * SIZE + 2 * pair
        tl.store(target, even.to(kind), mask=inside)
        tl.store(target + 1, odd.to(kind), mask=inside)
    else:
        at = tl.load(cache_row + row) * row_stride + tl.load(position + row) * SIZE + 2 * pair
        if head < NUM_HEADS + NUM_KV:
            target = keys + at + (head - NUM_HEADS) * head_stride
            tl.store(target, even.to(kind), mask=inside)
            tl.store(target + 1, odd.to(kind), mask=inside)
        else:
            target = values + at + (head - NUM_HEADS - NUM_KV) * head_stride
            tl.store(target, even.to(kind), mask=inside)
            tl.store(target + 1, odd.to(kind), mask=inside)


def silu_times(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, in the type of both; any shape."""
    gate, up = gate.contiguous(), up.contiguous()
    out = torch.empty_like(gate)
    count = gate.numel()
    _silu_times[(triton.cdiv(count, _GATE_BLOCK),)](gate, up, out, count, BLOCK=_GATE_BLOCK)
    return out


@triton.jit
def _silu_times(gate, up, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    a = tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(up + at, mask=inside, other=0.0).to(tl.float32)
    gated = a / (1.0 + tl.exp(-a)) * b
    tl.store(out + at, gated.to(out.dtype.element_ty), mask=inside)
