"""The steps that a decode step is made of, in plain PyTorch: the truth for `device.triton`.

Everything is row by row, one token each; nothing waits for the device, so that the whole can be
captured as a CUDA graph. `RowOps` holds one function for each step; `device.choose_ops` puts
kernels in the place of those that a card computes right.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fishs2.engines.s2.model.layers import Attention, RmsNorm, rotate
from fishs2.engines.s2.model.linear import Linear, PackedRows, QuantLinear
from fishs2.engines.s2.model.sampler import (
    END,
    SamplingRows,
    draw,
    keep_likely,
    uniform_numbers,
)
from fishs2.engines.s2.model.sampler import draw_semantic as draw_semantic_freely


@dataclass(frozen=True, slots=True, eq=False)
class RowPlaces:
    """Where the tokens of N rows lie. All tensors int64 [N], on the device.

    cache_row, position: where keys and values are written. angle: row of the RoPE table. seen: how
    many positions of the cache row are read. span: no `seen` is above it; known to the host.
    """

    cache_row: Tensor
    position: Tensor
    angle: Tensor
    seen: Tensor
    span: int


@dataclass(frozen=True, slots=True)
class RowOps:
    """One function for each step; see the plain ones below. reads_filled: `attend` reads no more
    than is filled, whatever `span` says.
    """

    add_norm: Callable[[Tensor, Tensor | None, RmsNorm, torch.dtype], Tensor]
    place_heads: Callable[[Tensor, Attention, RowPlaces, Tensor, Tensor, Tensor], Tensor]
    attend: Callable[[Tensor, Tensor, Tensor, RowPlaces], Tensor]
    attend_piece: Callable[[Tensor, Tensor, Tensor, RowPlaces], Tensor]
    multiply: Callable[[Tensor, Linear | QuantLinear], Tensor]
    multiply_parts: Callable[[Tensor, Linear | QuantLinear], Tensor]
    gate: Callable[[Tensor, Linear | QuantLinear, Linear | QuantLinear], Tensor]
    uniform_numbers: Callable[[Tensor, Tensor, int], Tensor]
    draw_code: Callable[[Tensor, SamplingRows, Tensor], Tensor]
    draw_semantic: Callable[[Tensor, SamplingRows, Tensor, Tensor, Tensor], Tensor]
    reads_filled: bool = False


def add_norm(x: Tensor, delta: Tensor | None, norm: RmsNorm, dtype: torch.dtype) -> Tensor:
    """Add to the residual stream, in place, and norm it.

    x: float32 [N, D]. delta: [S, N, D], parts to be summed, or None. Returns `dtype` [N, D].
    """
    if delta is not None:
        for part in delta:
            x += part
    normed: Tensor = norm(x)
    return normed.to(dtype)


def place_heads(
    mixed: Tensor,
    attention: Attention,
    at: RowPlaces,
    rope: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    """Norm and rotate heads; write keys and values into the cache, in place.

    mixed: [N, (Hq + 2 Hkv) d]. rope: table [P, d / 2, 2]. keys, values: [rows, Hkv, P, d]. Returns
    the queries, [N, Hq, d].
    """
    config = attention.config
    num_kv = config.num_kv_heads
    heads = mixed.view(mixed.shape[0], -1, 1, config.head_dim)  # [N, H, 1, d]
    q, k, v = torch.split(heads, [config.num_heads, num_kv, num_kv], dim=1)
    if attention.q_norm is not None and attention.k_norm is not None:
        q, k = attention.q_norm(q), attention.k_norm(k)
    turn = rope[at.angle][:, None]  # [N, 1, d / 2, 2]
    keys[at.cache_row, :, at.position] = rotate(k, turn).to(mixed.dtype)[:, :, 0]
    values[at.cache_row, :, at.position] = v[:, :, 0]
    return rotate(q, turn).to(mixed.dtype)[:, :, 0]


def attend(q: Tensor, keys: Tensor, values: Tensor, at: RowPlaces) -> Tensor:
    """Attention of each row over the first `seen` positions of its cache row.

    q: [N, Hq, d]. keys, values: [rows, Hkv, P, d]. Returns [N, Hq d].
    """
    columns = torch.arange(at.span, device=q.device)
    mask = (columns < at.seen[:, None])[:, None, None]  # [N, 1, 1, span]
    is_unset = ~mask.transpose(2, 3)
    # A weight of zero times an unset value may still be NaN.
    k = keys[:, :, : at.span][at.cache_row].masked_fill(is_unset, 0)
    v = values[:, :, : at.span][at.cache_row].masked_fill(is_unset, 0)
    grouped = q.view(q.shape[0], keys.shape[1], -1, q.shape[2])  # [N, Hkv, G, d]
    seen = F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask)
    return seen.flatten(1)


def attend_piece(q: Tensor, keys: Tensor, values: Tensor, at: RowPlaces) -> Tensor:
    """Attention of tokens in one row of a cache, which is filled up to the last of them.

    q: [T, Hq, d], of neighbouring positions. keys, values: [1, Hkv, P, d]. Returns [T, Hq d].
    """
    k, v = (each[:, :, : at.span].transpose(0, 1) for each in (keys, values))  # [Hkv, 1, S, d]
    # Key heads as the batch: no key is copied, and no kernel has to know of groups.
    grouped = q.unflatten(1, (keys.shape[1], -1)).permute(1, 2, 0, 3)  # type: ignore[no-untyped-call]
    group = grouped.shape[1]
    mask = torch.arange(at.span, device=q.device) < at.seen[:, None]  # [T, S]
    seen = F.scaled_dot_product_attention(
        grouped, k.expand(-1, group, -1, -1), v.expand(-1, group, -1, -1), attn_mask=mask
    )
    return seen.permute(2, 0, 1, 3).flatten(1)


def multiply(x: Tensor, matrix: Linear | PackedRows) -> Tensor:
    """x W^T: [N, C] to [N, R], in the compute type."""
    y: Tensor = matrix(x)
    return y


def multiply_parts(x: Tensor, matrix: Linear | PackedRows) -> Tensor:
    """x W^T as parts that are still to be summed: [N, C] to [S, N, R]."""
    return multiply(x, matrix)[None]


def gate(x: Tensor, w1: Linear | PackedRows, w3: Linear | PackedRows) -> Tensor:
    """silu(W1 x) * W3 x: [N, C] to [N, R], in the compute type."""
    return F.silu(multiply(x, w1)) * multiply(x, w3)


def draw_code(logits: Tensor, sampling: SamplingRows, uniform: Tensor) -> Tensor:
    """Draw a code for each row. logits: [N, V]. uniform: [N]. Returns int64 [N]."""
    return draw(keep_likely(logits.float(), sampling), uniform)


def draw_semantic(
    logits: Tensor, sampling: SamplingRows, window: Tensor, uniforms: Tensor, may_end: Tensor
) -> Tensor:
    """Draw a semantic code or the end, repetition-aware.

    logits: [N, 1 + codes], the end first. window: int64 [N, 10]. uniforms: [N, 2 or more]. may_end:
    bool [N]. Returns indices, int64 [N].
    """
    scores = logits.float()
    barred = scores[:, END].masked_fill(~may_end, float("-inf"))
    scores = torch.cat((barred[:, None], scores[:, 1:]), dim=1)
    return draw_semantic_freely(scores, sampling, window, uniforms[:, :2])


PLAIN = RowOps(
    add_norm,
    place_heads,
    attend,
    attend_piece,
    multiply,
    multiply_parts,
    gate,
    uniform_numbers,
    draw_code,
    draw_semantic,
)
