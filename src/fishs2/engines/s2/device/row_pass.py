"""Rows through the blocks of a stack, one token each, by the ops of a card.

The rows are those of a decode step, or the tokens of a piece of a prompt; nothing waits for the
device.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fishs2.engines.s2.device.ops import RowOps, RowPlaces
from fishs2.engines.s2.model.kv_cache import KvCache
from fishs2.engines.s2.model.layers import Block
from fishs2.engines.s2.model.slow_ar import PREFILL_TOKENS, SlowAr, embed

Attend = Callable[[Tensor, Tensor, Tensor, RowPlaces], Tensor]
"""See `device.ops.attend`."""


def run_rows(
    blocks: nn.ModuleList,
    x: Tensor,
    at: RowPlaces,
    rope: Tensor,
    cache: KvCache,
    *,
    ops: RowOps,
    dtype: torch.dtype,
    attend: Attend,
) -> Tensor:
    """Rows through all blocks. x: float32 [N, D], in place. Returns what is to be added to it."""
    delta: Tensor | None = None
    for block, keys, values in zip(blocks, cache.keys, cache.values, strict=True):
        assert isinstance(block, Block)
        attention, forward = block.attention, block.feed_forward
        mixed = ops.multiply(ops.add_norm(x, delta, block.attention_norm, dtype), attention.wqkv)
        q = ops.place_heads(mixed, attention, at, rope, keys, values)
        delta = ops.multiply_parts(attend(q, keys, values, at), attention.wo)
        normed = ops.add_norm(x, delta, block.ffn_norm, dtype)
        delta = ops.multiply_parts(ops.gate(normed, forward.w1, forward.w3), forward.w2)
    assert delta is not None
    return delta


def read_prompt(
    slow: SlowAr, tokens: Tensor, cache: KvCache, *, start: int, ops: RowOps, dtype: torch.dtype
) -> Tensor:
    """Read a prompt into a cache of one row, from position `start` on: `slow_ar.prefill` on a card.

    tokens: int64 [1 + K, T]. Returns the normed hidden state of the last position, float32 [1, D].
    """
    hidden = torch.empty(0)
    for first in range(0, tokens.shape[1], PREFILL_TOKENS):
        piece = tokens[:, first : first + PREFILL_TOKENS]
        begin, stop = start + first, start + first + piece.shape[1]
        position = torch.arange(begin, stop, device=tokens.device)
        at = RowPlaces(torch.zeros_like(position), position, position, position + 1, stop)
        x = embed(slow, piece[None])[0].contiguous()  # [T, D]
        delta = run_rows(
            slow.layers, x, at, slow.rope, cache, ops=ops, dtype=dtype, attend=ops.attend_piece
        )
        hidden = ops.add_norm(x[-1:], delta[:, -1:], slow.norm, torch.float32)
    return hidden
