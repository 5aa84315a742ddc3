"""One utterance from text to samples, piece by piece, in the engine thread.

Joins prompt, frames and codec; knows no queue, event loop or client.
"""

import secrets
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat, takewhile

import numpy as np
import torch

from fishs2.engines.base import Pcm, Sampling, Utterance
from fishs2.engines.s2.codec import decode_step
from fishs2.engines.s2.generate import GenerateParams, check_params, generate_frames
from fishs2.engines.s2.model import Model
from fishs2.engines.s2.prompt import build_prompt
from fishs2.engines.s2.references import ReferenceCache
from fishs2.engines.s2.streaming import new_state

# Frames per piece: few until the first sound, then more, so that the codec is called less often.
# A frame is 46 ms. Source: performance notes 4b, "first chunk 2-4 frames, ramp 2-4-8-16".
_RAMP_FRAMES = (2, 4, 8, 16)

_ALL_TOKENS = 2**31 - 1

HONOURED = frozenset(
    {"temperature", "top_p", "top_k", "max_new_tokens", "min_tokens_before_end", "seed"}
)
"""Fields of `Sampling` that change the result. `repetition_penalty` is not one of them: the model
has repetition-aware sampling in its place, and the official code ignores the field (spec 4.1)."""


def params_of(sampling: Sampling) -> GenerateParams:
    """What the caller asked for, over our defaults. Raises UserError for values out of range.

    Without a seed every call draws its own; top_k 0 draws from all tokens.
    """
    asked = {
        name: getattr(sampling, name) for name in HONOURED if getattr(sampling, name) is not None
    }
    if asked.get("top_k") == 0:
        asked["top_k"] = _ALL_TOKENS
    params = GenerateParams(**{"seed": secrets.randbits(63), **asked})
    check_params(params)
    return params


@torch.inference_mode()
def speak_utterance(
    model: Model,
    references: ReferenceCache,
    utterance: Utterance,
    *,
    is_wanted: Callable[[], bool],
) -> Iterator[Pcm]:
    """Yield float32 samples at the codec's rate as they are made. Every sample is final.

    is_wanted: asked before every frame; the speech ends there once it says no. Raises UserError,
    before the first piece, for a request that cannot be spoken as it is.
    """
    params = params_of(utterance.sampling)
    shown = [references.encode(utterance.reference)] if utterance.reference else []
    prompt = build_prompt(
        model.tokenizer,
        utterance.text,
        references=shown,
        num_codebooks=model.ar.config.num_codebooks,
    )
    frames = takewhile(lambda _: is_wanted(), generate_frames(model.ar, prompt, params))
    state = new_state(model.codec.decoder, 1, model.codec.device)
    for num_frames in chain(_RAMP_FRAMES, repeat(_RAMP_FRAMES[-1])):
        piece = list(islice(frames, num_frames))
        if piece and is_wanted():
            # [T, 1 + K] -> [1, K, T], without the token ids
            codes = torch.from_numpy(np.stack(piece)[None, :, 1:]).transpose(1, 2).long()
            samples = decode_step(model.codec, codes.to(model.codec.device), state)
            pcm: Pcm = samples[0].cpu().numpy()
            yield pcm
        if len(piece) < num_frames:
            return
