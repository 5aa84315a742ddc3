"""Draws tokens: the official filter, repetition-aware sampling, counted random numbers (spec 4).

All arithmetic is float32 and per row, and a random number depends on (seed, frame, draw) alone, so
a row draws the same whatever else is in the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

RAS_WINDOW = 10  # frames
_RAS_TEMPERATURE, _RAS_TOP_P = 1.0, 0.9
_MIN_TEMPERATURE = 1e-5
NO_CODE = -1
"""In a window: no semantic code stands here."""
END = 0
"""Index of the end token among the semantic logits; code c has index 1 + c."""

# Philox4x32-10: Salmon et al., Parallel random numbers: as easy as 1, 2, 3 (SC 2011), section 3.3.
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, eq=False)
class SamplingRows:
    """How each row draws. temperature, top_p: float32 [B]. top_k: int64 [B], at least 1.

    max_top_k: the largest top_k, known to the host.
    """

    temperature: Tensor
    top_p: Tensor
    top_k: Tensor
    max_top_k: int


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The tokens of each row that can be drawn, by rising index.

    index: int64 [B, k]. probability: float32 [B, k], zero for those that were cut after all.
    """

    index: Tensor
    probability: Tensor

    def spread(self, num_tokens: int) -> Tensor:
        """Probabilities of all tokens: float32 [B, num_tokens]."""
        shape = (self.index.shape[0], num_tokens)
        empty = torch.zeros(shape, device=self.probability.device)
        return empty.scatter(-1, self.index, self.probability)


def keep_likely(logits: Tensor, sampling: SamplingRows) -> Kept:
    """Tokens after nucleus and rank cut at temperature 1, then temperature.

    logits: float32 [B, V]. The token that crosses top_p is cut itself; the best one always stays.
    """
    # More than `max_top_k` of them are never looked at: to find these is far cheaper than to sort.
    num_kept = max(1, min(sampling.max_top_k, logits.shape[-1]))
    order = _ranks(logits).topk(num_kept, dim=-1).indices
    ordered = logits.gather(-1, order)
    mass = (ordered - logits.logsumexp(-1, keepdim=True)).exp().cumsum(-1)
    rank = torch.arange(num_kept, device=logits.device)
    # At top_p = 1 the sum may pass 1 by rounding, which must not cut anything.
    crosses = (mass > sampling.top_p[:, None]) & (sampling.top_p[:, None] < 1)
    is_cut = (crosses | (rank >= sampling.top_k[:, None])) & (rank > 0)
    kept = ordered.masked_fill(is_cut, float("-inf"))
    kept = kept / sampling.temperature.clamp(min=_MIN_TEMPERATURE)[:, None]
    index, by_index = order.sort(dim=-1)
    return Kept(index, kept.softmax(-1).gather(-1, by_index))


def _ranks(logits: Tensor) -> Tensor:
    """Integers in the order of the logits; of equal logits the first is the greater."""
    # The bits of a float rise with it, of negative ones they fall; adding 0 makes -0 a 0.
    bits = (logits + 0.0).view(torch.int32).long()
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (rising << 20) - torch.arange(logits.shape[-1], device=logits.device)


def draw(kept: Kept, uniform: Tensor) -> Tensor:
    """Tokens by inverse distribution function in index order.

    uniform: [B], in [0, 1). Returns int64 [B].
    """
    mass = kept.probability.cumsum(-1)
    wanted = uniform.to(mass.dtype)[:, None] * mass[:, -1:]
    place = torch.searchsorted(mass, wanted, right=True)[:, 0]
    # Rounding may carry `wanted` up to the whole mass, past the last token that is possible.
    rank = torch.arange(mass.shape[-1], device=mass.device)
    last = ((kept.probability > 0) * rank).amax(-1)
    return kept.index.gather(-1, torch.minimum(place, last)[:, None])[:, 0]


def draw_semantic(
    logits: Tensor, sampling: SamplingRows, window: Tensor, uniforms: Tensor
) -> Tensor:
    """Repetition-aware draw: a code that stands in the window is replaced by a freer draw.

    logits: float32 [B, 1 + codes], the end token first. window: int64 [B, 10], recent codes or
    NO_CODE; rows of NO_CODE alone draw plainly. uniforms: [B, 2]. Returns indices, int64 [B].
    """
    plain = draw(keep_likely(logits, sampling), uniforms[:, 0])
    freer = SamplingRows(
        torch.full_like(sampling.temperature, _RAS_TEMPERATURE),
        torch.full_like(sampling.top_p, _RAS_TOP_P),
        sampling.top_k,
        sampling.max_top_k,
    )
    other = draw(keep_likely(logits, freer), uniforms[:, 1])
    is_repeated = (window == plain[:, None] - 1).any(-1) & (plain != END)
    return torch.where(is_repeated, other, plain)


def uniform_numbers(seeds: Tensor, frames: Tensor, num_draws: int) -> Tensor:
    """Counted random numbers: float32 [B, num_draws] in [0, 1), 24 bits each.

    seeds, frames: int64 [B]. Number (b, i) depends on seeds[b], frames[b] and i only.
    """
    draws = torch.arange(num_draws, device=seeds.device).expand(seeds.shape[0], -1)
    frame = frames[:, None].expand_as(draws)
    seed = seeds[:, None].expand_as(draws)
    zero = torch.zeros_like(draws)
    word = philox((frame & _WORD, draws, zero, zero), (seed & _WORD, (seed >> 32) & _WORD))[0]
    return (word >> 8).float() * 2.0**-24


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10. Words are int64 tensors with 32 used bits."""
    a, b, c, d = counter
    key_a, key_b = key
    for _ in range(_ROUNDS):
        # The product of two words fills 64 bits; int64 wraps, and the masks drop the sign.
        product_a, product_c = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a = ((product_c >> 32) & _WORD) ^ b ^ key_a
        b = product_c & _WORD
        c = ((product_a >> 32) & _WORD) ^ d ^ key_b
        d = product_a & _WORD
        key_a, key_b = (key_a + _KEY_STEPS[0]) & _WORD, (key_b + _KEY_STEPS[1]) & _WORD
    return a, b, c, d
