"""Who gets a slot, whose prompt is read, who gets a frame: without any model."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.engines.s2.engine.scheduler import Batch, Scheduler
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.params import Frame, GenerateParams

END = 9
FRAME: Frame = np.array([1, 2], np.int32)
LAST: Frame = np.array([END, 0], np.int32)


def make(num_prompt: int = 5, *, num_prefix: int = 2, max_frames: int = 3) -> UtteranceState:
    prompt = np.zeros((2, num_prompt), np.int32)
    return UtteranceState(prompt, num_prefix, GenerateParams(), max_frames)


def scheduler(num_slots: int = 2, *, piece: int = 4, step: int = 4) -> Scheduler:
    return Scheduler(num_slots=num_slots, piece_tokens=piece, step_tokens=step, end_id=END)


def admit_all(scheduled: Scheduler) -> None:
    while scheduled.admit() is not None:
        pass


def run(scheduled: Scheduler) -> Batch:
    admit_all(scheduled)
    batch = scheduled.schedule()
    scheduled.update(batch, [FRAME] * len(batch.decode))
    return batch


def test_first_come_first_served_and_lowest_slot_first() -> None:
    scheduled = scheduler(2)
    first, second, third = (make() for _ in range(3))
    for each in (first, second, third):
        scheduled.add(each)

    admit_all(scheduled)
    assert (first.slot, second.slot, third.state) == (0, 1, "waiting")
    scheduled.release(first)
    admit_all(scheduled)

    assert third.slot == 0
    assert scheduled.num_waiting == 0
    scheduled.check_integrity()


def test_prompt_is_cut_at_the_prefix_and_into_pieces_whoever_else_is_there() -> None:
    alone, beside = scheduler(1, piece=4), scheduler(3, piece=4, step=4)
    cuts = []
    for scheduled in (alone, beside):
        watched = make(15, num_prefix=6, max_frames=99)
        if scheduled is beside:
            scheduled.add(make(3, num_prefix=1, max_frames=99))
            run(scheduled)
        scheduled.add(watched)
        pieces = []
        while watched.state != "decoding":
            batch = run(scheduled)
            pieces += [(p.start, p.stop) for p in batch.prefill if p.utterance is watched]
        cuts.append(pieces)

    assert cuts[0] == cuts[1] == [(0, 4), (4, 6), (6, 10), (10, 14), (14, 15)]


def test_who_speaks_gets_a_frame_in_every_step_while_others_begin() -> None:
    scheduled = scheduler(2, piece=4, step=4)
    speaking, long = make(4, max_frames=99), make(400, num_prefix=200, max_frames=99)
    scheduled.add(speaking)
    run(scheduled)
    scheduled.add(long)

    for step in range(2, 12):
        batch = run(scheduled)
        assert len(speaking.frames) == step
        assert sum(piece.stop - piece.start for piece in batch.prefill) <= 4


def test_short_prompt_waits_for_one_step_of_a_long_one_which_goes_on() -> None:
    scheduled = scheduler(3, piece=4, step=4)
    speaking, long = make(4, max_frames=99), make(400, num_prefix=200, max_frames=99)
    for each in (speaking, long):
        scheduled.add(each)
    run(scheduled)
    run(scheduled)
    short = make(4, num_prefix=1)
    scheduled.add(short)

    for _ in range(3):
        run(scheduled)
    assert short.frames
    before = long.num_prefilled
    run(scheduled)
    assert long.num_prefilled > before


def test_nobody_speaking_means_prompts_are_read_at_once() -> None:
    scheduled = scheduler(1, piece=4, step=4)
    scheduled.add(make(4, num_prefix=2))

    batch = run(scheduled)

    assert [(piece.start, piece.stop) for piece in batch.prefill] == [(0, 2), (2, 4)]
    assert len(batch.decode) == 1


def test_end_token_and_limit_finish_an_utterance() -> None:
    scheduled = scheduler(2)
    ended, limited = make(2, num_prefix=1), make(2, num_prefix=1, max_frames=1)
    scheduled.add(ended)
    scheduled.add(limited)
    admit_all(scheduled)

    batch = scheduled.schedule()
    scheduled.update(batch, [LAST, FRAME])

    assert (ended.state, len(ended.frames)) == ("finished", 0)
    assert (limited.state, len(limited.frames)) == ("finished", 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["add", "step", "abort", "finish"]), max_size=60), st.data())
def test_slots_are_never_lost_or_given_twice(steps: list[str], data: st.DataObject) -> None:
    scheduled = scheduler(3)
    known: list[UtteranceState] = []
    for step in steps:
        if step == "add":
            known.append(make(data.draw(st.integers(2, 12)), num_prefix=1))
            scheduled.add(known[-1])
        elif step == "step":
            run(scheduled)
        elif known and step == "abort":
            scheduled.release(known.pop(data.draw(st.integers(0, len(known) - 1))))
        for each in [each for each in known if each.state == "finished"]:
            known.remove(each)
            scheduled.release(each)
        scheduled.check_integrity()
        slots = [each.slot for each in known if each.state != "waiting"]
        assert len(slots) == len(set(slots))
    for each in known:
        scheduled.release(each)
    assert scheduled.is_idle
