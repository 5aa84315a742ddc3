"""The fast AR: from a hidden state and its semantic code to all codes of the frame (spec 3)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fishs2.engines.s2.model.kv_cache import KvCache
from fishs2.engines.s2.model.layers import Block, RmsNorm, place, rope_table, run_blocks
from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.weights.config import ArConfig

Choose = Callable[[int, Tensor], Tensor]
"""(codebook 1..K-1, logits float32 [B, V]) -> codes int64 [B]."""


class FastAr(nn.Module):
    """Weights of the fast AR. One table for all codebooks, and a head of its own."""

    def __init__(self, config: ArConfig, load: Loader) -> None:
        super().__init__()
        stack = config.fast
        table = (config.codebook_size, stack.dim)
        self.num_codebooks = config.num_codebooks
        self.embeddings = load.embedding("fast_embeddings.weight", table)
        self.layers = nn.ModuleList(
            Block(stack, load, f"fast_layers.{index}") for index in range(stack.num_layers)
        )
        self.norm = RmsNorm(load.vector("fast_norm.weight", (stack.dim,)), stack.norm_eps)
        self.output = load.linear("fast_output.weight", table)
        self.rope: Tensor
        self.register_buffer("rope", rope_table(stack, load.device))


def run_fast(model: FastAr, x: Tensor, cache: KvCache, *, start: int) -> Tensor:
    """One pass over positions `start`… of a frame: x float32 [B, T, D] to logits [B, T, V]."""
    stop = start + x.shape[1]
    positions = torch.arange(start, stop, device=x.device).expand(x.shape[0], -1)
    # Positions restart with every frame and are written in order: nothing unset is in the span.
    placement = place(positions, model.rope, span=stop)
    logits: Tensor = model.output(model.norm(run_blocks(model.layers, x, placement, cache)))
    return logits.float()


def decode_codes(
    model: FastAr, hidden: Tensor, first: Tensor, cache: KvCache, *, choose: Choose
) -> Tensor:
    """All codes of a frame.

    hidden: float32 [B, D], normed, of the position that gave the semantic code. first: int64 [B],
    that code. cache: K positions, its content does not matter. Returns int64 [B, K].

    Positions 0 and 1 have known inputs and run as one pass; the logits of position 0 are of no use.
    """
    x = torch.stack((hidden, model.embeddings(first).float()), dim=1)  # [B, 2, D]
    codes = [first, choose(1, run_fast(model, x, cache, start=0)[:, -1])]
    for index in range(2, model.num_codebooks):
        x = model.embeddings(codes[-1]).float()[:, None]
        codes.append(choose(index, run_fast(model, x, cache, start=index)[:, -1]))
    return torch.stack(codes, dim=1)
