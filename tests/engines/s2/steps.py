"""Both decode steps for tests: what holds for one must hold for the other.

The recorded one runs on a CPU: a fake recorder replays there what a card would.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch

from fishs2.engines.s2.device.ops import PLAIN
from fishs2.engines.s2.device.recorded_step import RecordedStep
from fishs2.engines.s2.model.sampler import uniform_numbers
from fishs2.engines.s2.model.step import (
    DecodeStep,
    DualAr,
    PlainStep,
    UniformNumbers,
    allocate_tables,
)

Kind = Literal["plain", "recorded"]
KINDS: tuple[Kind, ...] = ("plain", "recorded")


class FakeRecorder:
    """Does the work once, as a capture does, and again at every replay; counts both."""

    def __init__(self, *, num_failures: int = 0) -> None:
        self.num_recorded = self.num_replayed = 0
        self._num_failures = num_failures

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        if self.num_recorded < self._num_failures:
            self.num_recorded += 1
            raise torch.OutOfMemoryError("out of memory\nof which there is little")
        work()
        self.num_recorded += 1

        def replay() -> None:
            self.num_replayed += 1
            work()

        return replay


def open_step(
    kind: Kind,
    ar: DualAr,
    *,
    num_slots: int = 1,
    max_positions: int = 512,
    numbers: UniformNumbers = uniform_numbers,
) -> DecodeStep:
    """A step over caches in which no number is set."""
    tables = allocate_tables(ar, num_slots, max_positions)
    for each in (*tables.cache.keys, *tables.cache.values):
        each.fill_(float("nan"))
    if kind == "plain":
        return PlainStep(ar, tables, uniform_numbers=numbers)
    ops = replace(PLAIN, uniform_numbers=numbers)
    return RecordedStep(ar, ops, tables, FakeRecorder())
