"""The decode step: one frame for each of some rows, by what is remembered of their slots.

    last frames -> slow AR -> semantic draw -> nine fast passes -> frames

What changes from step to step comes in as one array of integers per row (`StepColumn`); what was
drawn stays in tables by slot (`SlotTables`). `PlainStep` computes it as the layers say, anywhere;
`device.recorded_step` replays the same work on a card.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishs2.engines.s2.model.fast_ar import FastAr, decode_codes
from fishs2.engines.s2.model.kv_cache import KvCache, allocate_kv_cache
from fishs2.engines.s2.model.layers import place_steps, run_blocks
from fishs2.engines.s2.model.params import GenerateParams
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
from fishs2.engines.s2.model.slow_ar import SlowAr, embed, semantic_logits
from fishs2.engines.s2.weights.config import ArConfig

UniformNumbers = Callable[[Tensor, Tensor, int], Tensor]
"""See `sampler.uniform_numbers`: of seeds and frame numbers, two for the semantic draw and one for
each other code."""


@dataclass(frozen=True, slots=True, eq=False)
class DualAr:
    """Both ARs with what is needed to run them. end_id: token id of `<|im_end|>`."""

    config: ArConfig
    slow: SlowAr
    fast: FastAr
    end_id: int
    dtype: torch.dtype
    device: torch.device


class StepColumn(IntEnum):
    """What the host says of a row, in order. Temperature and top_p are the bits of a float32."""

    SLOT = 0
    IS_FIRST = 1
    POSITION = 2
    SEEN = 3
    FRAME = 4
    MAY_END = 5
    SEED = 6
    TEMPERATURE = 7
    TOP_P = 8
    TOP_K = 9


NUM_COLUMNS = len(StepColumn)

Rows = NDArray[np.int64]
"""int64 [B, NUM_COLUMNS]."""


def describe_row(
    slot: int, params: GenerateParams, *, num_prompt: int, num_frames: int
) -> list[int]:
    """The columns of the frame that follows `num_frames` others. Host only."""
    position = num_prompt + max(0, num_frames - 1)
    temperature, top_p, top_k = _sampling_columns(params)
    return [
        slot,
        num_frames == 0,
        position,
        position + 1,
        num_frames,
        num_frames >= params.min_tokens_before_end,
        params.folded_seed,
        temperature,
        top_p,
        top_k,
    ]


def _sampling_columns(params: GenerateParams) -> tuple[int, int, int]:
    return _float_bits(params.temperature), _float_bits(params.top_p), params.drawn_top_k


@cache
def _float_bits(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def sampling_of(columns: Tensor, *, max_top_k: int) -> SamplingRows:
    """How the rows draw. columns: int64 [B, NUM_COLUMNS]."""
    column = columns.unbind(1)
    return SamplingRows(
        column[StepColumn.TEMPERATURE].int().view(torch.float32),
        column[StepColumn.TOP_P].int().view(torch.float32),
        column[StepColumn.TOP_K].contiguous(),
        max_top_k,
    )


@dataclass(frozen=True, slots=True, eq=False)
class SlotTables:
    """What the device remembers of S slots, and of one more for rows that pad a batch.

    cache: of the slow AR, with one position more than a row may take, which padding writes to.
    hidden: float32 [S + 1, D], the state that follows what was read. last: int64 [S + 1, 1 + K],
    the last frame. window: int64 [S + 1, 10], recent semantic codes.
    """

    cache: KvCache
    hidden: Tensor
    last: Tensor
    window: Tensor

    @property
    def num_slots(self) -> int:
        return self.hidden.shape[0] - 1

    @property
    def padding(self) -> list[int]:
        """The columns of a row that nobody asked for: it reads one position and writes none."""
        row = [0] * NUM_COLUMNS
        row[StepColumn.SLOT] = self.num_slots
        row[StepColumn.POSITION] = self.cache.num_positions - 1
        row[StepColumn.SEEN] = row[StepColumn.MAY_END] = row[StepColumn.TOP_K] = 1
        return row

    def read_window(self, slot: Tensor, is_first: Tensor) -> Tensor:
        """Recent codes of some rows: int64 [B, 10]. slot: int64 [B]. is_first: bool [B]."""
        # The window of a slot is that of whoever had it before, until its first frame.
        return self.window[slot].masked_fill(is_first[:, None], NO_CODE)

    def note(self, frames: Tensor, slot: Tensor, is_first: Tensor, window: Tensor) -> None:
        """Remember what was drawn. frames: int64 [B, 1 + K]. window: as `read_window` gave it."""
        # The first frame never enters the window (spec 4.2); an end is the last of its row.
        shifted = torch.cat((window[:, 1:], frames[:, 1:2]), dim=1)
        self.window[slot] = torch.where(is_first[:, None], window, shifted)
        self.last[slot] = frames


def allocate_tables(ar: DualAr, num_slots: int, max_positions: int) -> SlotTables:
    """Tables with nothing in them, for rows of up to `max_positions`."""
    device, num_rows = ar.device, num_slots + 1
    return SlotTables(
        allocate_kv_cache(
            ar.config.slow, num_slots, max_positions + 1, dtype=ar.dtype, device=device
        ),
        torch.zeros(num_rows, ar.config.slow.dim, device=device),
        torch.zeros(num_rows, 1 + ar.config.num_codebooks, dtype=torch.int64, device=device),
        torch.full((num_rows, RAS_WINDOW), NO_CODE, device=device),
    )


def allocate_fast_cache(ar: DualAr, num_rows: int) -> KvCache:
    """A cache of the fast AR: what is in it matters within one frame only."""
    return allocate_kv_cache(
        ar.config.fast, num_rows, ar.config.num_codebooks, dtype=ar.dtype, device=ar.device
    )


def semantic_tokens(ar: DualAr, index: Tensor) -> Tensor:
    """Token ids of what was drawn among the semantic logits, int64 [B]."""
    begin = ar.config.semantic_begin_id
    return (begin - 1 + index).masked_fill(index == END, ar.end_id)


OnWait = Callable[[], bool]
"""Called again and again while a step waits for its device. False: no need to, until the next."""


def nothing_else() -> bool:
    """For whoever has nothing to do meanwhile."""
    return False


class DecodeStep(Protocol):
    """Draws the next frame of some rows, each in a slot of its own. One thread at a time."""

    @property
    def tables(self) -> SlotTables:
        """What is remembered of the slots. Whoever reads a prompt writes its cache and state."""
        ...

    def draw(self, rows: Rows, on_wait: OnWait = nothing_else) -> NDArray[np.int32]:
        """The next frame of each row, remembered in the tables.

        rows: int64 [B, NUM_COLUMNS], B of 1 to the number of slots. Returns int32 [B, 1 + K]; the
        codes of an end token mean nothing. Waits for the device, and calls `on_wait` meanwhile.
        """
        ...


class PlainStep:
    """A step as the layers say, on any device: nothing is computed for a row that needs it not."""

    def __init__(
        self, ar: DualAr, tables: SlotTables, *, uniform_numbers: UniformNumbers = uniform_numbers
    ) -> None:
        self.tables = tables
        self._ar = ar
        self._uniform_numbers = uniform_numbers
        self._fast_cache = allocate_fast_cache(ar, tables.num_slots)

    def draw(self, rows: Rows, on_wait: OnWait = nothing_else) -> NDArray[np.int32]:
        """As DecodeStep says; there is no wait in which anything else could be done."""
        self._advance(rows[rows[:, StepColumn.IS_FIRST] == 0])
        ar, tables = self._ar, self.tables
        columns = torch.from_numpy(rows).to(ar.device)
        column = columns.unbind(1)
        slot, is_first = column[StepColumn.SLOT], column[StepColumn.IS_FIRST] > 0
        sampling = sampling_of(columns, max_top_k=int(rows[:, StepColumn.TOP_K].max()))
        uniforms = self._uniform_numbers(
            column[StepColumn.SEED], column[StepColumn.FRAME], 1 + ar.config.num_codebooks
        )
        hidden, window = tables.hidden[slot], tables.read_window(slot, is_first)
        logits = semantic_logits(ar.slow, hidden)
        logits[:, END].masked_fill_(column[StepColumn.MAY_END] == 0, float("-inf"))
        index = draw_semantic(logits, sampling, window, uniforms[:, :2])

        def choose(codebook: int, logits: Tensor) -> Tensor:
            return draw(keep_likely(logits, sampling), uniforms[:, 1 + codebook])

        cache = self._fast_cache.rows(0, len(rows))
        codes = decode_codes(ar.fast, hidden, (index - 1).clamp(min=0), cache, choose=choose)
        frames = torch.cat((semantic_tokens(ar, index)[:, None], codes), dim=1)
        tables.note(frames, slot, is_first, window)
        drawn: NDArray[np.int32] = frames.int().cpu().numpy()
        return drawn

    def _advance(self, rows: Rows) -> None:
        """Put the last frame of each row through the slow AR."""
        if not len(rows):
            return
        slow, tables = self._ar.slow, self.tables
        slots, positions = rows[:, [StepColumn.SLOT, StepColumn.POSITION]].T.tolist()
        placement = place_steps(slots, positions, slow.rope)
        slot = placement.rows[:, 0]
        x = embed(slow, tables.last[slot][:, :, None])
        hidden = slow.norm(run_blocks(slow.layers, x, placement, tables.cache))
        tables.hidden[slot] = hidden[:, 0]
