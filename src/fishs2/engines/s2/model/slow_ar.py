"""The slow AR: prompt and frames in, hidden states and semantic logits out (spec 2)."""

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fishs2.engines.s2.model.kv_cache import KvCache
from fishs2.engines.s2.model.layers import Block, RmsNorm, place, rope_table, run_blocks
from fishs2.engines.s2.model.loader import Loader
from fishs2.engines.s2.weights.config import ArConfig

# Tokens per prefill pass: bounds the attention scores and the gathered codebook rows.
PREFILL_TOKENS = 512


class SlowAr(nn.Module):
    """Weights of the slow AR.

    end_id: of `<|im_end|>`. Its row and the semantic rows of the tied head are kept as one dense
    matrix: all other logits are masked before they matter (spec 1.3), so they are never computed.
    """

    def __init__(self, config: ArConfig, load: Loader, *, end_id: int) -> None:
        super().__init__()
        self.config = config
        stack = config.slow
        self.embeddings = load.embedding("embeddings.weight", (config.vocab_size, stack.dim))
        self.codebook_embeddings = load.embedding(
            "codebook_embeddings.weight", (config.num_codebooks * config.codebook_size, stack.dim)
        )
        self.layers = nn.ModuleList(
            Block(stack, load, f"layers.{index}") for index in range(stack.num_layers)
        )
        self.norm = RmsNorm(load.vector("norm.weight", (stack.dim,)), stack.norm_eps)
        self.rope: Tensor
        self.register_buffer("rope", rope_table(stack, load.device))
        semantic = slice(config.semantic_begin_id, config.semantic_end_id + 1)
        end = self.embeddings.rows(slice(end_id, end_id + 1))
        self.head: Tensor
        self.register_buffer("head", torch.cat((end, self.embeddings.rows(semantic))))


def embed(model: SlowAr, tokens: Tensor) -> Tensor:
    """Inputs of the first block.

    tokens: int64 [B, 1 + K, T], a prompt or frames. Returns float32 [B, T, D].
    """
    config = model.config
    ids, codes = tokens[:, 0], tokens[:, 1:]
    x: Tensor = model.embeddings(ids).float()
    is_semantic = (ids >= config.semantic_begin_id) & (ids <= config.semantic_end_id)
    # Every codebook owns `codebook_size` rows, also one that has fewer codes.
    offsets = torch.arange(config.num_codebooks, device=codes.device) * config.codebook_size
    rows = codes.transpose(1, 2) + offsets  # [B, T, K]
    spoken = (x + model.codebook_embeddings(rows).float().sum(-2)) / sqrt(config.num_codebooks + 1)
    return torch.where(is_semantic[..., None], spoken, x)


def run_slow(
    model: SlowAr, tokens: Tensor, positions: Tensor, cache: KvCache, *, span: int
) -> Tensor:
    """One pass over new tokens.

    tokens: int64 [B, 1 + K, T]. positions: int64 [B, T]. cache: written in place. span: cache
    positions to read, above every position. Returns the normed hidden states, float32 [B, T, D].
    """
    placement = place(positions, model.rope, span=span)
    x = run_blocks(model.layers, embed(model, tokens), placement, cache)
    hidden: Tensor = model.norm(x)
    return hidden


def prefill(model: SlowAr, tokens: Tensor, cache: KvCache, *, start: int = 0) -> Tensor:
    """Read a prompt into the cache from position `start` on.

    tokens: int64 [B, 1 + K, T], the same length for all rows. Returns the normed hidden state of
    the last position, float32 [B, D].
    """
    num_rows, _, num_tokens = tokens.shape
    hidden = torch.empty(0)
    for first in range(0, num_tokens, PREFILL_TOKENS):
        piece = tokens[:, :, first : first + PREFILL_TOKENS]
        stop = start + first + piece.shape[2]
        positions = torch.arange(start + first, stop, device=tokens.device).expand(num_rows, -1)
        hidden = run_slow(model, piece, positions, cache, span=stop)
    return hidden[:, -1]


def semantic_logits(model: SlowAr, hidden: Tensor) -> Tensor:
    """Scores of the next token: float32 [B, 1 + codes], the end token first, then code 0, 1, ….

    hidden: float32 [B, D].
    """
    rows = hidden.to(model.head.dtype)
    if rows.device.type == "cpu":
        # One by one: a CPU rounds a product of several rows differently, which changes draws.
        alone = [F.linear(rows[index : index + 1], model.head) for index in range(len(rows))]
        return torch.cat(alone).float()
    return F.linear(rows, model.head).float()
