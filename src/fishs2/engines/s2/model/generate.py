"""One utterance from prompt to frames: its prompt is read, then one decode step follows another.

Knows one row and no request, thread or clock.
"""

from collections.abc import Iterator

import numpy as np
import torch

from fishs2.engines.s2.model.params import Frame, GenerateParams, check_params, count_frames
from fishs2.engines.s2.model.prompt import Prompt
from fishs2.engines.s2.model.slow_ar import prefill
from fishs2.engines.s2.model.step import (
    DecodeStep,
    DualAr,
    PlainStep,
    allocate_tables,
    describe_row,
)


def generate_frames(
    ar: DualAr, prompt: Prompt, params: GenerateParams, *, step: DecodeStep | None = None
) -> Iterator[Frame]:
    """The frames that speak `prompt`, without the end token. Closing the iterator stops the work.

    prompt: int32 [1 + K, T]. step: with room for prompt and frames in its first slot; None is a
    plain one. Raises UserError if the prompt does not fit into the context.
    """
    check_params(params)
    num_prompt = prompt.shape[1]
    max_frames = count_frames(num_prompt, params, max_positions=ar.config.slow.max_positions)
    step = step or PlainStep(ar, allocate_tables(ar, 1, num_prompt + max_frames))
    for frame in generate_columns(ar, prompt, params, max_frames=max_frames, step=step):
        if frame[0] == ar.end_id:
            return
        yield frame


def generate_columns(
    ar: DualAr, prompt: Prompt, params: GenerateParams, *, max_frames: int, step: DecodeStep
) -> Iterator[Frame]:
    """`max_frames` frames and end tokens; no end token ends them, and its codes mean nothing."""
    tokens = torch.from_numpy(prompt).long().to(ar.device)[None]
    tables = step.tables
    tables.hidden[0] = prefill(ar.slow, tokens, tables.cache.rows(0, 1))[0]
    for num_frames in range(max_frames):
        row = describe_row(0, params, num_prompt=prompt.shape[1], num_frames=num_frames)
        frame: Frame = step.draw(np.array([row], np.int64))[0]
        yield frame
