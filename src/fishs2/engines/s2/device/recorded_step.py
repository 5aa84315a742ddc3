"""The decode step of a card: its work captured as CUDA graphs, one per batch size, and replayed.

A step is some 700 kernels; to launch them one by one takes longer than to compute them. A graph is
launched as one. Everything that it reads and writes stays where it is: columns come in through one
copy, frames go out through one copy, and one event is all that the host waits for.
"""

import logging
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishs2.engines.s2.device.ops import RowOps
from fishs2.engines.s2.device.recorder import CudaRecorder, Recorder, Replay, wait_beside
from fishs2.engines.s2.device.step_work import StepWork
from fishs2.engines.s2.model.step import (
    NUM_COLUMNS,
    DualAr,
    OnWait,
    Rows,
    SlotTables,
    StepColumn,
    nothing_else,
)

logger = logging.getLogger(__name__)

_BATCH_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
_SPANS = tuple(512 << step for step in range(7))
"""Positions that attention reads where it cannot read how many are filled."""


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def batch_sizes(num_slots: int) -> list[int]:
    """Sizes for which a graph is captured; the last holds `num_slots` rows."""
    return [*(size for size in _BATCH_SIZES if size < num_slots), num_slots]


def spans(max_positions: int) -> list[int]:
    """How many positions are read, at least; the last is `max_positions`."""
    return [*(span for span in _SPANS if span < max_positions), max_positions]


class RecordedStep:
    """A DecodeStep for up to `tables.num_slots` rows. Engine thread only."""

    def __init__(
        self, ar: DualAr, ops: RowOps, tables: SlotTables, recorder: Recorder | None
    ) -> None:
        """recorder: None computes every step anew."""
        num_slots, device = tables.num_slots, ar.device
        self._is_card = device.type == "cuda"
        self.tables = tables
        self._work = StepWork(ar, ops, tables)
        self._sizes = batch_sizes(num_slots)
        # The spare position is never read.
        all_spans = spans(tables.cache.num_positions - 1)
        self._spans = all_spans[-1:] if ops.reads_filled else all_spans
        self._padding = np.array(tables.padding, np.int64)
        num_codes = 1 + ar.config.num_codebooks
        self._columns = torch.zeros(num_slots, NUM_COLUMNS, dtype=torch.int64, device=device)
        self._frames = torch.zeros(num_slots, num_codes, dtype=torch.int32, device=device)
        # Pinned memory, so that the copies need nobody to wait for them.
        self._columns_here = self._host_like(self._columns)
        self._frames_here = self._host_like(self._frames)
        self._is_done = _event() if self._is_card else None
        self._replays: dict[tuple[int, int], Replay] = {}
        if recorder is not None:
            self._record_all(recorder)

    def draw(self, rows: Rows, on_wait: OnWait = nothing_else) -> NDArray[np.int32]:
        """As DecodeStep says."""
        self._launch(rows)
        wait_beside(self._is_done or _Reached(), on_wait)
        frames: NDArray[np.int32] = self._frames_here[: len(rows)].numpy().copy()
        return frames

    def _launch(self, rows: Rows) -> None:
        num_seen = int(rows[:, StepColumn.SEEN].max())
        size = next(each for each in self._sizes if each >= len(rows))
        span = next(each for each in self._spans if each >= num_seen)
        here = self._columns_here[:size].numpy()
        here[: len(rows)] = rows
        here[len(rows) :] = self._padding
        self._columns[:size].copy_(self._columns_here[:size], non_blocking=True)
        replay = self._replays.get((size, span))
        if replay is None:
            self._compute(size, span)
        else:
            replay()
        self._frames_here[:size].copy_(self._frames[:size], non_blocking=True)
        if self._is_done is not None:
            self._is_done.record()

    def _compute(self, size: int, span: int) -> None:
        self._frames[:size] = self._work.draw(self._columns[:size], span=span)

    def _host_like(self, values: Tensor) -> Tensor:
        return torch.zeros(values.shape, dtype=values.dtype, pin_memory=self._is_card)

    def _record_all(self, recorder: Recorder) -> None:
        """Record every size, the largest first: smaller ones fit into its memory."""
        self._columns[:] = torch.from_numpy(self._padding).to(self._columns.device)
        wanted = list(self._wanted())
        started_s = time.perf_counter()
        logger.info("capturing %d decode graphs for up to %d rows", len(wanted), self._sizes[-1])
        for size, span in wanted:

            def work(size: int = size, span: int = span) -> None:
                self._compute(size, span)

            try:
                self._replays[size, span] = recorder.record(work)
            except RuntimeError as error:  # lack of memory too
                logger.warning(
                    "the decode graph for %d rows and %d positions cannot be captured; such steps "
                    "run without one, slower: %s",
                    size,
                    span,
                    str(error).partition("\n")[0],
                )
        logger.info(
            "captured %d decode graphs in %.1f s",
            len(self._replays),
            time.perf_counter() - started_s,
        )

    def _wanted(self) -> Iterator[tuple[int, int]]:
        for size in reversed(self._sizes):
            for span in reversed(self._spans):
                yield size, span


class _Reached:
    """The mark of work that is done when it was launched."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


def open_recorded_step(ar: DualAr, ops: RowOps, tables: SlotTables) -> RecordedStep:
    """The step of a model on a card, captured; away from one it is computed anew each time."""
    # Frames are waited for, samples are not: the codec's kernels give way to those of the ARs.
    is_card = ar.device.type == "cuda"
    return RecordedStep(ar, ops, tables, CudaRecorder(ar.device, priority=-1) if is_card else None)
