"""Decode steps through recorded graphs: a fake recorder replays on a CPU what a card would."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fishs2.engines.s2.device.model import Model
from fishs2.engines.s2.device.ops import PLAIN, RowOps
from fishs2.engines.s2.device.recorded_step import RecordedStep, batch_sizes, spans
from fishs2.engines.s2.device.recorder import Recorder
from fishs2.engines.s2.device.row_pass import read_prompt
from fishs2.engines.s2.engine.core import Core
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.slow_ar import prefill
from fishs2.engines.s2.model.step import (
    NUM_COLUMNS,
    DecodeStep,
    SlotTables,
    StepColumn,
    allocate_tables,
    describe_row,
)
from tests.engines.s2.engine.test_core import LIMITS, TEXTS, make, speak
from tests.engines.s2.golden import load_golden_model
from tests.engines.s2.steps import FakeRecorder

NUM_SLOTS, MAX_POSITIONS = 5, 600


@pytest.fixture(scope="module")
def plain() -> Model:
    """The model as it decodes step by step."""
    return load_golden_model()


@pytest.fixture(scope="module")
def model(plain: Model) -> Model:
    """The same for decoding in rows."""
    return replace(plain, ops=PLAIN)


def open_recorded(
    model: Model, recorder: Recorder | None = None, ops: RowOps = PLAIN
) -> RecordedStep:
    """A step over caches in which no number is set."""
    tables = allocate_tables(model.ar, NUM_SLOTS, MAX_POSITIONS)
    for each in caches_of(tables):
        each.fill_(float("nan"))
    return RecordedStep(model.ar, ops, tables, recorder)


def caches_of(tables: SlotTables) -> list[torch.Tensor]:
    return [*tables.cache.keys, *tables.cache.values]


@pytest.mark.parametrize(("num_tokens", "start"), [(1, 0), (40, 0), (40, 7)])
def test_prompt_is_read_by_the_ops_as_the_layers_read_it(
    plain: Model, num_tokens: int, start: int
) -> None:
    ar = plain.ar
    seeded = torch.Generator().manual_seed(num_tokens)
    tokens = torch.randint(64, (1 + ar.config.num_codebooks, start + num_tokens), generator=seeded)
    tokens[0, ::2] = ar.config.semantic_begin_id + 5  # frames among the text
    ours, theirs = (allocate_tables(ar, 1, MAX_POSITIONS).cache.rows(0, 1) for _ in range(2))
    for each in (*ours.keys, *ours.values):
        each.fill_(float("nan"))
    expected = prefill(ar.slow, tokens[None], theirs)

    if start:
        read_prompt(ar.slow, tokens[:, :start], ours, start=0, ops=PLAIN, dtype=ar.dtype)
    hidden = read_prompt(ar.slow, tokens[:, start:], ours, start=start, ops=PLAIN, dtype=ar.dtype)

    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-5)
    stop = start + num_tokens
    for mine, other in zip((*ours.keys, *ours.values), (*theirs.keys, *theirs.values), strict=True):
        torch.testing.assert_close(mine[:, :, :stop], other[:, :, :stop], rtol=1e-4, atol=1e-5)
        assert mine[:, :, stop:].isnan().all()


def row(slot: int, position: int, **columns: int) -> list[int]:
    """A row in the middle of its speech: whatever lies before its position is as it was."""
    params = GenerateParams(0.9, 0.9, 30, seed=7)
    values = describe_row(slot, params, num_prompt=position, num_frames=1)
    for name, value in columns.items():
        values[StepColumn[name]] = value
    return values


def draw(step: DecodeStep, rows: list[list[int]]) -> NDArray[np.int32]:
    return step.draw(np.array(rows, np.int64))


@pytest.mark.parametrize("num_streams", [1, 3, 8])
def test_frames_are_those_of_the_plain_step(plain: Model, model: Model, num_streams: int) -> None:
    def spoken(by: Model) -> list[UtteranceState]:
        utterances = [
            make(by, TEXTS[n % 4], seed=n, frames=4 + 3 * n, voice=n % 2)
            for n in range(num_streams)
        ]
        speak(Core(by, LIMITS), utterances)
        return utterances

    for ours, theirs in zip(spoken(model), spoken(plain), strict=True):
        np.testing.assert_array_equal(ours.frames, theirs.frames)


def test_aborts_and_late_comers_change_nothing_for_others(plain: Model, model: Model) -> None:
    chance = random.Random(3)
    core = Core(model, LIMITS)
    expected = {}
    for seed in range(8):
        alone = make(plain, TEXTS[seed % 4], seed=seed, frames=9)
        speak(Core(plain, LIMITS), [alone])
        expected[seed] = alone.frames
    waiting = [(make(model, TEXTS[seed % 4], seed=seed, frames=9), seed) for seed in range(8)]
    doomed = {utterance for utterance, _ in waiting[1::3]}
    left: list[tuple[UtteranceState, int]] = []
    while waiting or left:
        if waiting and chance.random() < 0.5:
            left.append(waiting.pop(0))
            core.add(left[-1][0])
        core.step()
        for utterance, seed in list(left):
            if utterance.state == "finished":
                np.testing.assert_array_equal(utterance.frames, expected[seed])
            elif utterance not in doomed or chance.random() < 0.7:
                continue
            left.remove((utterance, seed))
            core.release(utterance)
    core.check_integrity()


def test_replayed_steps_are_those_computed_anew(model: Model) -> None:
    rows = [row(4, 0), row(1, 0, SEED=-5), row(2, 0, TOP_K=1)]
    recorder = FakeRecorder()
    recorded, anew = open_recorded(model, recorder), open_recorded(model)

    for step in range(6):
        for each in rows:
            each[StepColumn.POSITION : StepColumn.FRAME + 1] = [step, step + 1, step + 1]
        np.testing.assert_array_equal(draw(recorded, rows), draw(anew, rows))

    assert recorder.num_replayed == 6


def test_same_row_draws_the_same_in_any_slot_and_company(model: Model) -> None:
    alone, crowd = open_recorded(model), open_recorded(model)

    for step in range(5):
        frame = {"FRAME": step + 1, "SEED": 11}
        [one] = draw(alone, [row(0, step, **frame)])
        rows = [row(2, step, SEED=1), row(4, step), row(1, step, **frame)]
        np.testing.assert_array_equal(draw(crowd, rows)[2], one)


def test_padding_touches_no_position_that_belongs_to_anybody(model: Model) -> None:
    step = open_recorded(model)
    caches = caches_of(step.tables)
    for each in caches:
        each.fill_(0.5)

    draw(step, [row(0, 3), row(3, 8), row(4, 2)])  # of four

    for cache in caches:
        changed = (cache != 0.5).any(-1).any(1)
        # The three that were asked for, and the spare position of the last slot.
        assert changed.nonzero().tolist() == [[0, 3], [3, 8], [4, 2], [4, MAX_POSITIONS]]


def test_first_frame_comes_from_the_prompt_and_not_from_an_earlier_owner(model: Model) -> None:
    frames = []
    for earlier in range(2):
        step = open_recorded(model)
        tables = step.tables
        for position in range(earlier * 3):
            draw(step, [row(2, position)])
        torch.manual_seed(0)
        tables.hidden[2] = torch.randn(tables.hidden.shape[1])
        frames.append(draw(step, [row(2, 9, SEEN=1, IS_FIRST=1, FRAME=0)]))
        assert (tables.window[2] == -1).all()

    np.testing.assert_array_equal(frames[0], frames[1])


def test_every_size_is_recorded_and_replayed(model: Model) -> None:
    recorder = FakeRecorder()
    step = open_recorded(model, recorder)

    # Attention that cannot read lengths from the device has a graph per number of positions.
    assert recorder.num_recorded == len(batch_sizes(NUM_SLOTS)) * len(spans(MAX_POSITIONS)) == 8
    for num_rows in range(1, NUM_SLOTS + 1):
        for position in (3, MAX_POSITIONS - 1):
            draw(step, [row(slot, position) for slot in range(num_rows)])
    assert recorder.num_replayed == 2 * NUM_SLOTS


def test_attention_that_reads_lengths_has_one_graph_per_size(model: Model) -> None:
    recorder = FakeRecorder()
    open_recorded(model, recorder, replace(PLAIN, reads_filled=True))

    assert recorder.num_recorded == 4


@pytest.mark.parametrize("num_slots", [1, 3, 64, 100, 256])
def test_sizes_grow_and_end_at_the_number_of_slots(num_slots: int) -> None:
    sizes = batch_sizes(num_slots)

    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, num_slots)


def test_graph_that_cannot_be_recorded_is_replaced_by_plain_steps(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = FakeRecorder(num_failures=2)
    step, anew = open_recorded(model, recorder), open_recorded(model)
    rows = [row(slot, 0) for slot in range(5)]

    np.testing.assert_array_equal(draw(step, rows), draw(anew, rows))

    assert recorder.num_replayed == 0
    # The largest is recorded first: smaller ones fit into its memory.
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "for 5 rows and 600 positions cannot be captured" in warnings[0]
    assert warnings[0].endswith("out of memory")


def test_columns_have_one_place_each() -> None:
    assert len(row(0, 0)) == NUM_COLUMNS == 10
