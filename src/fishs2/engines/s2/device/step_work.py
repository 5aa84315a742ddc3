"""The work of a decode step without ever waiting for the host, so that it can be captured.

It is made of the ops of a card (`RowOps`) and draws for any rows in any slots: what changes comes
in as columns, what was drawn lies in tables. Rows that pad a batch use the slot behind the last.
"""

import torch
from torch import Tensor

from fishs2.engines.s2.device.ops import RowOps, RowPlaces
from fishs2.engines.s2.device.row_pass import run_rows
from fishs2.engines.s2.model.kv_cache import KvCache
from fishs2.engines.s2.model.linear import Embedding, Linear
from fishs2.engines.s2.model.sampler import SamplingRows
from fishs2.engines.s2.model.slow_ar import embed
from fishs2.engines.s2.model.step import (
    DualAr,
    SlotTables,
    StepColumn,
    allocate_fast_cache,
    sampling_of,
    semantic_tokens,
)


class StepWork:
    """The work of a step for up to as many rows as there are slots. Engine thread only."""

    def __init__(self, ar: DualAr, ops: RowOps, tables: SlotTables) -> None:
        max_rows = tables.num_slots
        self._ar, self._ops, self._tables = ar, ops, tables
        self._head = Linear(ar.slow.head)
        self._fast_cache = allocate_fast_cache(ar, max_rows)
        # 20 MB as plain numbers: a row is looked up nine times per frame.
        self._codes = Embedding(ar.fast.embeddings.rows(slice(None)).to(ar.dtype))
        self._fast_places = [
            _fast_places(max_rows, index, ar.device) for index in range(ar.config.num_codebooks)
        ]

    def draw(self, columns: Tensor, *, span: int) -> Tensor:
        """Draw the next frame of each row and remember it in the tables.

        columns: int64 [B, NUM_COLUMNS]. span: no row sees more positions; only read where the ops
        do not read lengths from the device. Returns int64 [B, 1 + K]; the codes of an end token
        mean nothing. Does not wait for the device.
        """
        tables, ops = self._tables, self._ops
        column = columns.unbind(1)
        slot, is_first = column[StepColumn.SLOT], column[StepColumn.IS_FIRST] > 0
        sampling = sampling_of(columns, max_top_k=self._head.weight.shape[0])
        uniforms = ops.uniform_numbers(
            column[StepColumn.SEED].contiguous(),
            column[StepColumn.FRAME].contiguous(),
            1 + self._ar.config.num_codebooks,
        )
        hidden = torch.where(is_first[:, None], tables.hidden[slot], self._advance(columns, span))
        window = tables.read_window(slot, is_first)
        logits = ops.multiply(hidden.to(self._ar.dtype), self._head)
        may_end = column[StepColumn.MAY_END] > 0
        index = ops.draw_semantic(logits, sampling, window, uniforms, may_end)
        codes = self._draw_codes(hidden, (index - 1).clamp(min=0), sampling, uniforms)
        frames = torch.cat((semantic_tokens(self._ar, index)[:, None], codes), dim=1)
        tables.note(frames, slot, is_first, window)
        return frames

    def _advance(self, columns: Tensor, span: int) -> Tensor:
        """Put the last frames through the slow AR: normed hidden states, float32 [B, D]."""
        slow, tables = self._ar.slow, self._tables
        column = columns.unbind(1)
        slot, position = column[StepColumn.SLOT], column[StepColumn.POSITION].contiguous()
        at = RowPlaces(
            # Padding writes to the spare position of the last slot.
            slot.clamp(max=tables.num_slots - 1),
            position,
            position.clamp(max=slow.rope.shape[0] - 1),
            column[StepColumn.SEEN].contiguous(),
            span,
        )
        x = embed(slow, tables.last[slot][:, :, None])[:, 0].contiguous()
        delta = self._run(slow.layers, x, at, slow.rope, tables.cache)
        return self._ops.add_norm(x, delta, slow.norm, torch.float32)

    def _draw_codes(
        self, hidden: Tensor, first: Tensor, sampling: SamplingRows, uniforms: Tensor
    ) -> Tensor:
        """All codes of a frame, int64 [B, K]. hidden: float32 [B, D]. first: int64 [B]."""
        num_rows, codes = hidden.shape[0], [first]
        for index in range(1, self._ar.config.num_codebooks):
            x = self._codes(codes[-1]).float()
            at = self._fast_places[index]
            if index == 1:
                # Positions 0 and 1 have known inputs: two rows of one pass.
                x = torch.stack((hidden, x), dim=1).flatten(0, 1)
                logits = self._fast_logits(x, _first_places(at, x.shape[0]))[1::2]
            else:
                logits = self._fast_logits(x, _first_places(at, num_rows))
            codes.append(self._ops.draw_code(logits, sampling, uniforms[:, 1 + index]))
        return torch.stack(codes, dim=1)

    def _fast_logits(self, x: Tensor, at: RowPlaces) -> Tensor:
        fast = self._ar.fast
        delta = self._run(fast.layers, x, at, fast.rope, self._fast_cache)
        normed = self._ops.add_norm(x, delta, fast.norm, self._ar.dtype)
        return self._ops.multiply(normed, fast.output)

    def _run(
        self, blocks: torch.nn.ModuleList, x: Tensor, at: RowPlaces, rope: Tensor, cache: KvCache
    ) -> Tensor:
        """Rows through all blocks. x: float32 [N, D], in place. Returns what is to be added."""
        ops = self._ops
        return run_rows(
            blocks, x, at, rope, cache, ops=ops, dtype=self._ar.dtype, attend=ops.attend
        )


def _fast_places(max_rows: int, index: int, device: torch.device) -> RowPlaces:
    """Places of the pass that gives code `index`: position 1 and before it 0 of the same row."""
    rows = torch.arange(max_rows, device=device)
    if index == 1:
        rows = rows.repeat_interleave(2)
        position = torch.arange(2, device=device).repeat(max_rows)
    else:
        position = torch.full((max_rows,), index, device=device)
    return RowPlaces(rows, position, position, position + 1, index + 1)


def _first_places(at: RowPlaces, num_rows: int) -> RowPlaces:
    return RowPlaces(
        at.cache_row[:num_rows],
        at.position[:num_rows],
        at.angle[:num_rows],
        at.seen[:num_rows],
        at.span,
    )
