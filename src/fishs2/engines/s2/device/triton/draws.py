"""Counted random numbers, and draws from logits: one program per row.

What is kept are the tokens from some place in the order of likelihood on; the place is found by
halving, so that no client's settings make a draw longer than a few dozen sums over all tokens. Then
the distribution function runs in index order over what is kept.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fishs2.engines.s2.model.sampler import SamplingRows

MAX_ROUNDS = 54
"""Sums over all tokens that one search for the last token kept takes at most: keys have 53 bits."""

_NOTHING = tl.constexpr(-(1 << 62))  # below every key
_HIGHEST = tl.constexpr((1 << 62) - 1)  # above every key
# A token in the sum of a search: 1 in the upper bits, its probability in units of 2^-36 below.
_ONE = tl.constexpr(1 << 40)
_UNITS = tl.constexpr(68719476736.0)
_WORD = tl.constexpr(0xFFFFFFFF)
_RAS_ROOM = tl.constexpr(int(0.9 * 68719476736))  # sampler._RAS_TOP_P; the temperature there is 1
_MIN_TEMPERATURE = tl.constexpr(1e-5)  # sampler._MIN_TEMPERATURE


def uniform_numbers(seeds: Tensor, frames: Tensor, num_draws: int) -> Tensor:
    """See `sampler.uniform_numbers`."""
    out = torch.empty(seeds.shape[0], num_draws, dtype=torch.float32, device=seeds.device)
    _uniform_numbers[(seeds.shape[0],)](
        seeds,
        frames,
        out,
        NUM_DRAWS=num_draws,
        BLOCK=triton.next_power_of_2(num_draws),
        num_warps=1,
    )
    return out


@triton.jit
def _uniform_numbers(seeds, frames, out, NUM_DRAWS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    draw = tl.arange(0, BLOCK)
    zero = tl.zeros([BLOCK], tl.int64)
    seed = zero + tl.load(seeds + row)
    a = (zero + tl.load(frames + row)) & _WORD
    b = zero + draw
    c = zero
    d = zero
    key_a = seed & _WORD
    key_b = (seed >> 32) & _WORD
    for _ in tl.static_range(10):
        product_a = a * 0xD2511F53
        product_c = c * 0xCD9E8D57
        a = ((product_c >> 32) & _WORD) ^ b ^ key_a
        b = product_c & _WORD
        c = ((product_a >> 32) & _WORD) ^ d ^ key_b
        d = product_a & _WORD
        key_a = (key_a + 0x9E3779B9) & _WORD
        key_b = (key_b + 0xBB67AE85) & _WORD
    number = (a >> 8).to(tl.float32) * (1.0 / 16777216.0)
    tl.store(out + row * NUM_DRAWS + draw, number, mask=draw < NUM_DRAWS)


def draw_code(logits: Tensor, sampling: SamplingRows, uniform: Tensor) -> Tensor:
    """See `device.ops.draw_code`."""
    num_rows, num_tokens = logits.shape
    out = torch.empty(num_rows, dtype=torch.int64, device=logits.device)
    _draw[(num_rows,)](
        logits.contiguous(),
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        uniform,
        uniform,
        uniform,
        out,
        num_tokens,
        uniform.stride(0),
        WINDOW=0,
        IS_SEMANTIC=False,
        BLOCK=triton.next_power_of_2(num_tokens),
        BLOCK_WINDOW=1,
        num_warps=_num_warps(num_tokens),
    )
    return out


def draw_semantic(
    logits: Tensor, sampling: SamplingRows, window: Tensor, uniforms: Tensor, may_end: Tensor
) -> Tensor:
    """See `device.ops.draw_semantic`."""
    num_rows, num_tokens = logits.shape
    out = torch.empty(num_rows, dtype=torch.int64, device=logits.device)
    _draw[(num_rows,)](
        logits.contiguous(),
        sampling.temperature,
        sampling.top_p,
        sampling.top_k,
        uniforms,
        window.contiguous(),
        may_end,
        out,
        num_tokens,
        uniforms.stride(0),
        WINDOW=window.shape[1],
        IS_SEMANTIC=True,
        BLOCK=triton.next_power_of_2(num_tokens),
        BLOCK_WINDOW=triton.next_power_of_2(window.shape[1]),
        num_warps=_num_warps(num_tokens),
    )
    return out


def _num_warps(num_tokens: int) -> int:
    """So many that a program keeps all logits in registers."""
    return 4 if num_tokens <= 2048 else 8 if num_tokens <= 4096 else 16


@triton.jit
def _draw(
    logits,
    temperature,
    top_p,
    top_k,
    uniforms,
    window,
    may_end,
    out,
    num_tokens,
    uniform_stride,
    WINDOW: tl.constexpr,
    IS_SEMANTIC: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_WINDOW: tl.constexpr,
):
    row = tl.program_id(0)
    token = tl.arange(0, BLOCK)
    is_token = token < num_tokens
    logit = tl.load(logits + row * num_tokens + token, mask=is_token, other=float("-inf"))
    logit = logit.to(tl.float32)
    if IS_SEMANTIC:
        is_barred = (token == 0) & (tl.load(may_end + row).to(tl.int32) == 0)
        logit = tl.where(is_barred, float("-inf"), logit)
    # Integers in the order of the logits; of equal logits the first is the greater.
    bits = (logit + 0.0).to(tl.int32, bitcast=True).to(tl.int64)
    rising = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    key = tl.where(is_token, rising * 1048576 - token, _NOTHING)
    peak = tl.max(logit, 0)
    weight = tl.exp(logit - peak)
    whole = tl.sum(weight, 0)
    share = tl.where(is_token, (weight / whole * _UNITS).to(tl.int64) + _ONE, 0)
    wanted = tl.minimum(tl.load(top_k + row), num_tokens)
    limit = tl.load(top_p + row)
    # At top_p = 1 the sum may pass 1 by rounding, which must not cut anything.
    room = tl.where(limit >= 1.0, _ONE, (limit * _UNITS).to(tl.int64))
    least = _least_kept(key, share, is_token, wanted, room)
    warmth = tl.maximum(tl.load(temperature + row), _MIN_TEMPERATURE)
    plain = _invert(
        tl.where(key >= least, tl.exp((logit - peak) / warmth), 0.0),
        token,
        tl.load(uniforms + row * uniform_stride),
        BLOCK,
    )
    if IS_SEMANTIC:
        freely = room * 0 + _RAS_ROOM
        free = _least_kept(key, share, is_token, wanted, freely)
        other = _invert(
            tl.where(key >= free, weight, 0.0),
            token,
            tl.load(uniforms + row * uniform_stride + 1),
            BLOCK,
        )
        place = tl.arange(0, BLOCK_WINDOW)
        past = tl.load(window + row * WINDOW + place, mask=place < WINDOW, other=-1)
        num_same = tl.sum(((past == plain - 1) & (place < WINDOW)).to(tl.int32), 0)
        plain = tl.where((num_same > 0) & (plain != 0), other, plain)
    tl.store(out + row, plain.to(tl.int64))


@triton.jit
def _least_kept(key, share, is_token, wanted, room):
    """A key that is not above the last token kept, and above the next one.

    Kept are the most tokens of the greatest keys that are no more than `wanted` and whose shares
    are no more than `room`; the first one always.
    """
    low = tl.min(tl.where(is_token, key, _HIGHEST), 0) - 1
    high = tl.max(key, 0)
    num_high = room * 0 + 1
    sums = tl.sum(share, 0)
    num_low = sums // _ONE
    # From `low` on there are too many, from `high` on there are not.
    is_whole = (num_low <= wanted) & (sums % _ONE <= room)
    high = tl.where(is_whole, low, high)
    while (high - low > 1) & (num_low - num_high > 1):
        middle = low + (high - low) // 2
        sums = tl.sum(tl.where(key >= middle, share, 0), 0)
        count = sums // _ONE
        fits = ((count <= wanted) & (sums % _ONE <= room)) | (count <= 1)
        high = tl.where(fits, middle, high)
        num_high = tl.where(fits, count, num_high)
        low = tl.where(fits, low, middle)
        num_low = tl.where(fits, num_low, count)
    return high


@triton.jit
def _invert(weight, token, uniform, BLOCK: tl.constexpr):
    """The token at which the sum of the weights in index order passes a share of the whole."""
    mass = tl.cumsum(weight, 0)
    wanted = uniform * tl.max(mass, 0)
    is_possible = weight > 0
    first = tl.min(tl.where(is_possible & (mass > wanted), token, BLOCK), 0)
    last = tl.max(tl.where(is_possible, token, 0), 0)
    return tl.minimum(first, last)
