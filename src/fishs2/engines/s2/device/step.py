"""One frame for each of B rows as one piece of work that never waits for the host.

    last frames -> slow AR -> semantic draw -> nine fast passes -> frames

What changes from step to step comes in as one array of integers per row (`StepColumn`); what the
device made itself lies in tables by slot. So the whole can be captured once and replayed for any
sequences in any slots. The slot behind the last belongs to nobody: rows that pad a batch use it.
"""

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from fishs2.engines.s2.device.ops import RowOps, RowPlaces
from fishs2.engines.s2.model.generate import DualAr
from fishs2.engines.s2.model.kv_cache import KvCache, allocate_kv_cache
from fishs2.engines.s2.model.layers import Block
from fishs2.engines.s2.model.linear import Embedding, Linear
from fishs2.engines.s2.model.sampler import END, NO_CODE, RAS_WINDOW, SamplingRows
from fishs2.engines.s2.model.slow_ar import embed


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


@dataclass(frozen=True, slots=True, eq=False)
class SlotTables:
    """What the device remembers of S slots, and of one more for padding.

    cache: of the slow AR, with one position more than a sequence may take, which padding writes to.
    hidden: float32 [S + 1, D], the last state of a prompt. last: int64 [S + 1, 1 + K], the last
    frame. window: int64 [S + 1, 10], recent semantic codes.
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


def allocate_tables(ar: DualAr, num_slots: int, max_positions: int) -> SlotTables:
    """Tables with nothing in them, for sequences of up to `max_positions`."""
    device, num_rows = ar.device, num_slots + 1
    return SlotTables(
        allocate_kv_cache(
            ar.config.slow, num_slots, max_positions + 1, dtype=ar.dtype, device=device
        ),
        torch.zeros(num_rows, ar.config.slow.dim, device=device),
        torch.zeros(num_rows, 1 + ar.config.num_codebooks, dtype=torch.int64, device=device),
        torch.full((num_rows, RAS_WINDOW), NO_CODE, device=device),
    )


class FrameStep:
    """The work of a step for up to `max_rows` rows. Engine thread only."""

    def __init__(self, ar: DualAr, ops: RowOps, tables: SlotTables, *, max_rows: int) -> None:
        self._ar, self._ops, self._tables = ar, ops, tables
        self._head = Linear(ar.slow.head)
        self._fast_cache = allocate_kv_cache(
            ar.config.fast, max_rows, ar.config.num_codebooks, dtype=ar.dtype, device=ar.device
        )
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
        sampling = SamplingRows(
            column[StepColumn.TEMPERATURE].int().view(torch.float32),
            column[StepColumn.TOP_P].int().view(torch.float32),
            column[StepColumn.TOP_K].contiguous(),
            self._head.weight.shape[0],
        )
        uniforms = ops.uniform_numbers(
            column[StepColumn.SEED].contiguous(),
            column[StepColumn.FRAME].contiguous(),
            1 + self._ar.config.num_codebooks,
        )
        hidden = torch.where(is_first[:, None], tables.hidden[slot], self._advance(columns, span))
        # The window of a slot is that of whoever had it before, until its first frame.
        window = tables.window[slot].masked_fill(is_first[:, None], NO_CODE)
        logits = ops.multiply(hidden.to(self._ar.dtype), self._head)
        may_end = column[StepColumn.MAY_END] > 0
        index = ops.draw_semantic(logits, sampling, window, uniforms, may_end)
        code = (index - 1).clamp(min=0)
        codes = self._draw_codes(hidden, code, sampling, uniforms)
        begin = self._ar.config.semantic_begin_id
        token = (begin - 1 + index).masked_fill(index == END, self._ar.end_id)
        frames = torch.cat((token[:, None], codes), dim=1)
        # The first frame never enters the window (spec 4.2); an end is the last of its sequence.
        shifted = torch.cat((window[:, 1:], code[:, None]), dim=1)
        tables.window[slot] = torch.where(is_first[:, None], window, shifted)
        tables.last[slot] = frames
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
        ops, dtype = self._ops, self._ar.dtype
        delta: Tensor | None = None
        for block, keys, values in zip(blocks, cache.keys, cache.values, strict=True):
            assert isinstance(block, Block)
            attention, forward = block.attention, block.feed_forward
            mixed = ops.multiply(
                ops.add_norm(x, delta, block.attention_norm, dtype), attention.wqkv
            )
            q = ops.place_heads(mixed, attention, at, rope, keys, values)
            delta = ops.multiply_parts(ops.attend(q, keys, values, at), attention.wo)
            normed = ops.add_norm(x, delta, block.ffn_norm, dtype)
            delta = ops.multiply_parts(ops.gate(normed, forward.w1, forward.w3), forward.w2)
        assert delta is not None
        return delta


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
