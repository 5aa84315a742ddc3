"""One utterance from prompt to frames: the loop over slow AR, sampler and fast AR.

Knows one row at a time and no request, thread or clock. `next_frame` is the part that is the same
for any number of rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fishs2.engines.s2.model.fast_ar import FastAr, decode_codes
from fishs2.engines.s2.model.kv_cache import KvCache, allocate_kv_cache
from fishs2.engines.s2.model.params import Frame, GenerateParams, check_params, count_frames
from fishs2.engines.s2.model.prompt import Prompt
from fishs2.engines.s2.model.sampler import (
    END,
    NO_CODE,
    RAS_WINDOW,
    SamplingRows,
    draw,
    draw_semantic,
    keep_likely,
    uniform_numbers,
)
from fishs2.engines.s2.model.slow_ar import SlowAr, prefill, run_slow, semantic_logits
from fishs2.engines.s2.weights.config import ArConfig

Uniforms = Callable[[int], Tensor]
"""frame number -> random numbers [1, 1 + K]: two for the semantic draw, one per other code."""


@dataclass(frozen=True, slots=True, eq=False)
class DualAr:
    """Both ARs with what is needed to run them.

    end_id: token id of `<|im_end|>`.
    """

    config: ArConfig
    slow: SlowAr
    fast: FastAr
    end_id: int
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True, eq=False)
class FrameDraw:
    """What decides the draws of one frame.

    uniforms: [B, 1 + K]. window: int64 [B, 10], recent semantic codes or NO_CODE.
    may_end: bool [B], whether the end token is allowed.
    """

    sampling: SamplingRows
    uniforms: Tensor
    window: Tensor
    may_end: Tensor


def next_frame(ar: DualAr, hidden: Tensor, how: FrameDraw, cache: KvCache) -> Tensor:
    """Draw the frame that follows `hidden`.

    hidden: float32 [B, D], normed. cache: of the fast AR; its content does not matter. Returns
    int64 [B, 1 + K]; the codes of an end token mean nothing.
    """
    logits = semantic_logits(ar.slow, hidden)
    logits[:, END].masked_fill_(~how.may_end, float("-inf"))
    index = draw_semantic(logits, how.sampling, how.window, how.uniforms[:, :2])

    def choose(codebook: int, logits: Tensor) -> Tensor:
        return draw(keep_likely(logits, how.sampling), how.uniforms[:, 1 + codebook])

    codes = decode_codes(ar.fast, hidden, (index - 1).clamp(min=0), cache, choose=choose)
    token = torch.where(index == END, ar.end_id, ar.config.semantic_begin_id + index - 1)
    return torch.cat((token[:, None], codes), dim=1)


def seeded_uniforms(ar: DualAr, seed: int) -> Uniforms:
    """Random numbers that depend on seed and frame alone."""
    folded = GenerateParams(seed=seed).folded_seed
    seeds = torch.tensor([folded], dtype=torch.int64, device=ar.device)

    def uniforms(frame: int) -> Tensor:
        frames = torch.tensor([frame], dtype=torch.int64, device=ar.device)
        return uniform_numbers(seeds, frames, 1 + ar.config.num_codebooks)

    return uniforms


def generate_frames(
    ar: DualAr, prompt: Prompt, params: GenerateParams, *, uniforms: Uniforms | None = None
) -> Iterator[Frame]:
    """The frames that speak `prompt`, without the end token. Closing the iterator stops the work.

    prompt: int32 [1 + K, T]. Raises UserError if it does not fit into the context.
    """
    for frame in generate_columns(ar, prompt, params, uniforms or seeded_uniforms(ar, params.seed)):
        if frame[0] == ar.end_id:
            return
        yield frame


def generate_columns(
    ar: DualAr, prompt: Prompt, params: GenerateParams, uniforms: Uniforms
) -> Iterator[Frame]:
    """Frames and end tokens, up to the limit of `params`; no end token ends them.

    The codes of an end token mean nothing. Raises UserError if the prompt does not fit.
    """
    check_params(params)
    num_prompt = prompt.shape[1]
    max_frames = count_frames(num_prompt, params, max_positions=ar.config.slow.max_positions)
    slow_cache = allocate_kv_cache(
        ar.config.slow, 1, num_prompt + max_frames, dtype=ar.dtype, device=ar.device
    )
    fast_cache = allocate_kv_cache(
        ar.config.fast, 1, ar.config.num_codebooks, dtype=ar.dtype, device=ar.device
    )
    sampling = sampling_rows([params], ar.device)
    window = torch.full((1, RAS_WINDOW), NO_CODE, device=ar.device)
    tokens = torch.from_numpy(prompt).long().to(ar.device)[None]
    hidden = prefill(ar.slow, tokens, slow_cache)
    for index in range(max_frames):
        may_end = torch.tensor([index >= params.min_tokens_before_end], device=ar.device)
        how = FrameDraw(sampling, uniforms(index).to(ar.device), window, may_end)
        frame = next_frame(ar, hidden, how, fast_cache)
        column: Frame = frame[0].int().cpu().numpy()
        yield column
        if index > 0:  # the first frame never enters the window (spec 4.2)
            code = torch.where(frame[:, :1] == ar.end_id, NO_CODE, frame[:, 1:2])
            window = torch.cat((window[:, 1:], code), dim=1)
        position = torch.tensor([[num_prompt + index]], device=ar.device)
        hidden = run_slow(
            ar.slow, frame[:, :, None], position, slow_cache, span=num_prompt + index + 1
        )[:, -1]


def sampling_rows(params: list[GenerateParams], device: torch.device) -> SamplingRows:
    """The values of several utterances as rows. Temperature 0 becomes a choice of one token."""
    top_k = [each.drawn_top_k for each in params]
    return SamplingRows(
        torch.tensor([each.temperature for each in params], dtype=torch.float32, device=device),
        torch.tensor([each.top_p for each in params], dtype=torch.float32, device=device),
        torch.tensor(top_k, device=device),
        max(top_k),
    )
