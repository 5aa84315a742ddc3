"""Passes over the model for many utterances, and the caches that they need. Engine thread only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.device.recorded_step import open_recorded_step
from fishs2.engines.s2.device.row_pass import read_prompt
from fishs2.engines.s2.engine.scheduler import Piece
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.params import Frame
from fishs2.engines.s2.model.slow_ar import prefill
from fishs2.engines.s2.model.step import (
    DecodeStep,
    DualAr,
    OnWait,
    PlainStep,
    allocate_tables,
    describe_row,
    nothing_else,
)


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keys and values of the first `num_tokens` positions: per layer [H, num_tokens, d]."""

    num_tokens: int
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes for each in (*self.keys, *self.values))


class Runner:
    """Reads prompts into the caches of `num_slots` utterances, and draws their frames."""

    def __init__(
        self, model: Model, *, num_slots: int, max_positions: int, step: DecodeStep | None = None
    ) -> None:
        """step: None takes the one that suits the model's device."""
        self._ar, self._ops = model.ar, model.ops
        self._step = step or open_step(model, num_slots=num_slots, max_positions=max_positions)
        self._cache = self._step.tables.cache

    @property
    def num_bytes(self) -> int:
        """Of the caches."""
        return sum(each.nbytes for each in (*self._cache.keys, *self._cache.values))

    def prefill(self, piece: Piece) -> None:
        """Read a piece of a prompt into the slot of its utterance."""
        slot, slow = piece.utterance.slot, self._ar.slow
        tokens = torch.from_numpy(piece.utterance.prompt[:, piece.start : piece.stop]).long()
        rows = self._cache.rows(slot, slot + 1)
        if self._ops is None:
            hidden = prefill(slow, tokens[None].to(self._ar.device), rows, start=piece.start)
        else:
            hidden = read_prompt(
                slow,
                _to_card(tokens, self._ar.device),
                rows,
                start=piece.start,
                ops=self._ops,
                dtype=self._ar.dtype,
            )
        self._step.tables.hidden[slot] = hidden[0]

    def decode(
        self, utterances: Sequence[UtteranceState], on_wait: OnWait = nothing_else
    ) -> list[Frame]:
        """Draw the next frame of each utterance: its first, or the one after its last.

        on_wait: called again and again while it waits for them.
        """
        rows = [
            describe_row(
                each.slot, each.params, num_prompt=each.num_prompt, num_frames=len(each.frames)
            )
            for each in utterances
        ]
        return list(self._step.draw(np.array(rows, np.int64), on_wait))

    def save_prefix(self, slot: int, num_tokens: int) -> Prefix:
        """A copy of the first positions of a slot."""
        return Prefix(
            num_tokens,
            tuple(each[slot, :, :num_tokens].clone() for each in self._cache.keys),
            tuple(each[slot, :, :num_tokens].clone() for each in self._cache.values),
        )

    def load_prefix(self, slot: int, prefix: Prefix) -> None:
        """Begin a slot with positions that were computed before."""
        for kept, target_cache in (
            (prefix.keys, self._cache.keys),
            (prefix.values, self._cache.values),
        ):
            for source, target in zip(kept, target_cache, strict=True):
                target[slot, :, : prefix.num_tokens] = source


def _to_card(tokens: Tensor, device: torch.device) -> Tensor:
    """Pinned first, so that the copy needs nobody to wait for it."""
    if device.type != "cuda":
        return tokens.to(device)
    return tokens.contiguous().pin_memory().to(device, non_blocking=True)


def open_step(model: Model, *, num_slots: int, max_positions: int) -> DecodeStep:
    """The decode step that suits a model's device, with nothing in its tables."""
    tables = allocate_tables(model.ar, num_slots, max_positions)
    if model.ops is None:
        return PlainStep(model.ar, tables)
    return open_recorded_step(model.ar, model.ops, tables)


def slot_bytes(ar: DualAr, max_positions: int) -> int:
    """Bytes that the cache of one utterance takes."""
    slow, size = ar.config.slow, ar.dtype.itemsize
    return 2 * slow.num_layers * slow.num_kv_heads * slow.head_dim * max_positions * size
