"""How an utterance is drawn: values, their ranges, and what a request says over our defaults.

Also what is drawn: a frame.
"""

import secrets
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fishs2.engines.base import Sampling
from fishs2.errors import UserError

Frame = NDArray[np.int32]
"""int32 [1 + K]: a token id and the codes that belong to it."""

HONOURED = frozenset(
    {"temperature", "top_p", "top_k", "max_new_tokens", "min_tokens_before_end", "seed"}
)
"""Fields of `Sampling` that change the result. `repetition_penalty` is not one of them: the model
has repetition-aware sampling in its place, and the official code ignores the field (spec 4.1)."""

_ALL_TOKENS = 2**31 - 1
_MIN_ROOM = 2048  # positions that a prompt must leave (spec 4.3)


@dataclass(frozen=True, slots=True)
class GenerateParams:
    """How one utterance is drawn; defaults of the official API (spec 4.4).

    temperature: 0 takes the best token always. top_k: at least 1. max_new_tokens: frames at most,
    0 for as many as the context holds. min_tokens_before_end: frames before it may end.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 30
    seed: int = 0
    max_new_tokens: int = 1024
    min_tokens_before_end: int = 0

    @property
    def drawn_top_k(self) -> int:
        """How many tokens are drawn from: one where temperature 0 asks for the best."""
        return self.top_k if self.temperature > 0 else 1

    @property
    def folded_seed(self) -> int:
        """The 64 bits that any whole number is folded to, as a signed number."""
        return (self.seed + (1 << 63)) % (1 << 64) - (1 << 63)


def check_params(params: GenerateParams) -> None:
    """Raise UserError for a value outside its range."""
    for name, value, is_valid, limit in (
        ("temperature", params.temperature, 0 <= params.temperature <= 2, "0 to 2"),
        ("top_p", params.top_p, 0 <= params.top_p <= 1, "0 to 1"),
        ("top_k", params.top_k, params.top_k >= 1, "at least 1"),
        ("max_new_tokens", params.max_new_tokens, params.max_new_tokens >= 0, "at least 0"),
        (
            "min_tokens_before_end",
            params.min_tokens_before_end,
            params.min_tokens_before_end >= 0,
            "at least 0",
        ),
    ):
        if not is_valid:
            raise UserError(
                f"{name} is {value}; it must be {limit}", code="value_out_of_range", param=name
            )


def params_of(sampling: Sampling) -> GenerateParams:
    """What the caller asked for, over our defaults. Raises UserError for values out of range.

    Without a seed every call draws its own; top_k 0 draws from all tokens.
    """
    asked = {
        name: getattr(sampling, name) for name in HONOURED if getattr(sampling, name) is not None
    }
    if asked.get("top_k") == 0:
        asked["top_k"] = _ALL_TOKENS
    params = replace(GenerateParams(seed=secrets.randbits(63)), **asked)
    check_params(params)
    return params


def count_frames(
    num_prompt: int, params: GenerateParams, *, max_positions: int, min_room: int = _MIN_ROOM
) -> int:
    """How many frames may follow a prompt.

    Raises UserError if it leaves less than `min_room`, or half of the positions if that is less.
    """
    limit = max_positions - min(min_room, max_positions // 2)
    if num_prompt > limit:
        raise UserError(
            f"text and references make a prompt of {num_prompt} tokens; the limit is {limit}; "
            "shorten the text or the references",
            code="prompt_too_long",
        )
    room = max_positions - num_prompt
    return min(room, params.max_new_tokens or room)
