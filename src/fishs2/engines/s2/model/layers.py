"""Blocks that the slow AR, the fast AR and the codec share: norm, rotation, attention, SwiGLU.

The residual stream and all norms are float32 whatever the compute type, so that float16 cannot
overflow there (spec 9.8). No requests, no clock, no threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fishs2.engines.s2.model.kv_cache import KvCache
from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.weights.config import TransformerConfig


class RmsNorm(nn.Module):
    """x / rms(x) * weight over the last dimension, in float32."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., D]. Returns float32 [..., D]."""
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rope_table(config: TransformerConfig, device: torch.device) -> Tensor:
    """Cosine and sine of every position: float32 [P, head_dim / 2, 2].

    Rounded to bfloat16, as the table with which the model was trained (spec 2.3). An exact table
    changes the speech.
    """
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / config.rope_base**exponents
    angles = torch.arange(config.max_positions, dtype=torch.float32)[:, None] * frequencies
    table = torch.stack((angles.cos(), angles.sin()), dim=-1)
    return table.bfloat16().float().to(device)


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Rotate adjacent pairs of x.

    x: [B, H, T, d]. rope: float32 [B or 1, T, d / 2, 2]. Returns float32 [B, H, T, d].
    """
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
    cosine, sine = rope[:, None].unbind(-1)  # [B, 1, T, d / 2]
    return torch.stack((even * cosine - odd * sine, odd * cosine + even * sine), -1).flatten(-2)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the tokens of one pass lie. All tensors on the device of the model.

    positions: int64 [B, T]. rope: float32 [B, T, d / 2, 2]. rows: int64 [B, 1], the row of the
    cache that belongs to each row of the pass. seen: for passes of one token per row, the same rows
    and how many positions each has, known to the host; None for others, which have a mask.
    mask: bool [B, 1, T, span], true where a token may look. written: bool [B, 1, span, 1], false
    where a row of the cache may be unset; None when no row can have such entries.
    """

    positions: Tensor
    rope: Tensor
    rows: Tensor
    seen: tuple[tuple[int, int], ...] | None = None
    mask: Tensor | None = None
    written: Tensor | None = None
    span: int = 0


def place(positions: Tensor, rope: Tensor, *, span: int) -> Placement:
    """Placement of tokens that see everything before them.

    positions: int64 [B, T], rising along T. rope: table [P, d / 2, 2]. span: how many cache
    positions are read, above every position; known to the host, so that nothing waits for it.
    """
    columns = torch.arange(span, device=positions.device)
    mask = columns <= positions[:, None, :, None]  # [B, 1, T, span]
    # A single row fills its span; rows of other lengths leave entries unset.
    written = None if positions.shape[0] == 1 else mask[:, :, -1, :, None]
    rows = torch.arange(positions.shape[0], device=positions.device)[:, None]
    return Placement(positions, rope[positions], rows, None, mask, written, span)


def place_steps(rows: Sequence[int], positions: Sequence[int], rope: Tensor) -> Placement:
    """Placement of one new token in each of some rows of the cache, at any positions."""
    at = torch.tensor([rows, positions], device=rope.device)[..., None]  # [2, B, 1]
    seen = tuple((row, position + 1) for row, position in zip(rows, positions, strict=True))
    return Placement(at[1], rope[at[1]], at[0], seen)


class Attention(nn.Module):
    """Grouped-query attention over a cache. The module has weights only."""

    def __init__(self, config: TransformerConfig, load: Loader, prefix: str) -> None:
        super().__init__()
        self.config = config
        width = config.num_heads * config.head_dim
        kv_width = config.num_kv_heads * config.head_dim
        self.wqkv = load.linear(f"{prefix}.wqkv.weight", (width + 2 * kv_width, config.dim))
        self.wo = load.linear(f"{prefix}.wo.weight", (config.dim, width))
        self.q_norm: RmsNorm | None = None
        self.k_norm: RmsNorm | None = None
        if config.has_qk_norm:
            shape, eps = (config.head_dim,), config.norm_eps
            self.q_norm = RmsNorm(load.vector(f"{prefix}.q_norm.weight", shape), eps)
            self.k_norm = RmsNorm(load.vector(f"{prefix}.k_norm.weight", shape), eps)

    def project(self, x: Tensor, rope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, in the compute type: [B, heads, T, d] each."""
        config = self.config
        num_kv = config.num_kv_heads
        mixed: Tensor = self.wqkv(x)
        heads = mixed.unflatten(-1, (-1, config.head_dim))  # type: ignore[no-untyped-call]
        q, k, v = heads.transpose(1, 2).split((config.num_heads, num_kv, num_kv), dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return rotate(q, rope).to(v.dtype), rotate(k, rope).to(v.dtype), v

    def mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Attend and project out. q: [B, Hq, T, d]; k, v: [B, Hkv, S, d]. Returns [B, T, D]."""
        is_grouped = self.config.num_heads != self.config.num_kv_heads
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=is_grouped)
        out: Tensor = self.wo(seen.transpose(1, 2).flatten(2))
        return out

    def forward(self, x: Tensor, placement: Placement, keys: Tensor, values: Tensor) -> Tensor:
        """Write this pass into the cache and attend to it. keys, values: [B, H, P, d], in place."""
        q, k, v = self.project(x, placement.rope)
        # Two index tensors around a slice: the indexed shape is [B, T, H, d].
        keys[placement.rows, :, placement.positions] = k.transpose(1, 2)
        values[placement.rows, :, placement.positions] = v.transpose(1, 2)
        if placement.seen is not None:
            return self._mix_steps(q, keys, values, placement.seen)
        assert placement.mask is not None
        k, v = keys[:, :, : placement.span], values[:, :, : placement.span]
        if placement.written is not None:
            # A weight of zero times an unset value may still be NaN.
            k, v = k.where(placement.written, 0), v.where(placement.written, 0)
        return self.mix(q, k, v, placement.mask)

    def _mix_steps(
        self, q: Tensor, keys: Tensor, values: Tensor, seen: tuple[tuple[int, int], ...]
    ) -> Tensor:
        """Each row attends to its own positions alone, so nothing is masked or copied."""
        # Query heads that share a key head side by side: 2 to 10 times as fast as `enable_gqa`.
        num_rows, num_kv, size = q.shape[0], self.config.num_kv_heads, self.config.head_dim
        grouped = q.reshape(num_rows, num_kv, -1, size)  # [B, Hkv, G, d]
        outputs = [
            F.scaled_dot_product_attention(
                grouped[index : index + 1],
                keys[row : row + 1, :, :num_seen],
                values[row : row + 1, :, :num_seen],
            )
            for index, (row, num_seen) in enumerate(seen)
        ]
        out: Tensor = self.wo(torch.cat(outputs).flatten(1)[:, None])
        return out


class FeedForward(nn.Module):
    """W2 (silu(W1 x) * W3 x)."""

    def __init__(self, config: TransformerConfig, load: Loader, prefix: str) -> None:
        super().__init__()
        self.w1 = load.linear(f"{prefix}.w1.weight", (config.ffn_dim, config.dim))
        self.w2 = load.linear(f"{prefix}.w2.weight", (config.dim, config.ffn_dim))
        self.w3 = load.linear(f"{prefix}.w3.weight", (config.ffn_dim, config.dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return out


class Block(nn.Module):
    """Pre-norm attention and feed-forward on a float32 residual stream."""

    def __init__(self, config: TransformerConfig, load: Loader, prefix: str) -> None:
        super().__init__()
        shape, eps = (config.dim,), config.norm_eps
        self.attention = Attention(config, load, f"{prefix}.attention")
        self.feed_forward = FeedForward(config, load, f"{prefix}.feed_forward")
        self.attention_norm = RmsNorm(load.vector(f"{prefix}.attention_norm.weight", shape), eps)
        self.ffn_norm = RmsNorm(load.vector(f"{prefix}.ffn_norm.weight", shape), eps)

    def forward(self, x: Tensor, placement: Placement, keys: Tensor, values: Tensor) -> Tensor:
        """x: float32 [B, T, D]. Returns the same shape; the caches are written in place."""
        x = x + self.attention(self.attention_norm(x), placement, keys, values)
        out: Tensor = x + self.feed_forward(self.ffn_norm(x))
        return out


def run_blocks(blocks: nn.ModuleList, x: Tensor, placement: Placement, cache: KvCache) -> Tensor:
    """x: float32 [B, T, D] through all blocks; `cache` is written in place."""
    for block, keys, values in zip(blocks, cache.keys, cache.values, strict=True):
        x = block(x, placement, keys, values)
    return x
