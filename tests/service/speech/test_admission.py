"""Turns and places: given in order, bounded, never lost."""

import asyncio
from contextlib import ExitStack

import pytest

from fishs2.errors import BusyError
from fishs2.service.speech.admission import Admission, AheadTurn


def make_admission(*, num_turns: int = 1, max_queue: int = 10, max_streams: int = 10) -> Admission:
    return Admission(max_streams=max_streams, max_queue=max_queue, num_turns=num_turns)


async def test_turns_are_given_in_the_order_asked_for() -> None:
    admission = make_admission()
    order: list[int] = []

    async def take(name: int) -> None:
        await admission.take_turn()
        order.append(name)

    await admission.take_turn()
    tasks = [asyncio.create_task(take(name)) for name in range(5)]
    for _ in range(6):
        await asyncio.sleep(0)
        admission.give_back_turn(used_s=0.1)
    await asyncio.gather(*tasks)

    assert order == [0, 1, 2, 3, 4]
    admission.check_integrity()


async def test_whoever_has_the_least_sound_in_hand_goes_first() -> None:
    admission = make_admission()
    order: list[float] = []

    async def take(in_hand_s: float) -> None:
        await admission.take_turn(lambda: in_hand_s)
        order.append(in_hand_s)

    await admission.take_turn()
    tasks = [asyncio.create_task(take(in_hand_s)) for in_hand_s in (8.0, 3.0, 5.0)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(take(0.0)))
    for _ in range(5):
        await asyncio.sleep(0)
        admission.give_back_turn(used_s=0.1)
    await asyncio.gather(*tasks)

    assert order == [0.0, 3.0, 5.0, 8.0]
    admission.check_integrity()


async def test_turns_ahead_go_to_the_least_sound_in_hand_too() -> None:
    admission = make_admission()
    far = AheadTurn(lambda: None, lambda: 9.0)
    near = AheadTurn(lambda: None, lambda: 1.0)
    await admission.take_turn()
    waiting = [asyncio.create_task(admission.take_turn_ahead(turn)) for turn in (far, near)]
    await asyncio.sleep(0)
    admission.give_back_turn(used_s=0.1)
    await waiting[1]

    assert not waiting[0].done()
    admission.give_back_turn(near, used_s=0.1)
    await waiting[0]
    admission.give_back_turn(far, used_s=0.1)
    admission.check_integrity()


async def test_a_turn_that_is_free_is_not_kept_for_whoever_has_left() -> None:
    admission = make_admission()
    await admission.take_turn()
    left = asyncio.create_task(admission.take_turn())
    await asyncio.sleep(0)
    left.cancel()
    admission.give_back_turn(used_s=0.1)

    await admission.take_turn()
    admission.give_back_turn(used_s=0.1)
    await asyncio.wait([left])
    admission.check_integrity()


async def test_newcomer_waits_behind_those_who_already_wait() -> None:
    admission = make_admission()
    await admission.take_first_turn()
    waiting = asyncio.create_task(admission.take_turn())
    await asyncio.sleep(0)
    newcomer = asyncio.create_task(admission.take_first_turn())
    await asyncio.sleep(0)
    assert admission.num_queued == 1

    admission.give_back_turn(used_s=0.1)
    await waiting
    assert not newcomer.done()
    admission.give_back_turn(used_s=0.1)
    await newcomer
    admission.give_back_turn(used_s=0.1)
    admission.check_integrity()


async def test_full_queue_refuses_newcomers_only() -> None:
    admission = make_admission(max_queue=0)
    await admission.take_first_turn()

    with pytest.raises(BusyError) as refusal:
        await admission.take_first_turn()
    following = asyncio.create_task(admission.take_turn())
    admission.give_back_turn(used_s=0.1)
    await following

    assert (refusal.value.retry_after_s or 0) >= 1
    admission.give_back_turn(used_s=0.1)
    admission.check_integrity()


async def test_streams_are_bounded_and_their_places_come_back() -> None:
    admission = make_admission(max_streams=1)

    with admission.stream(), pytest.raises(BusyError), admission.stream():
        pass
    with admission.stream():
        assert admission.num_streams == 1

    assert admission.num_streams == 0


@pytest.mark.parametrize("is_handed_over_first", [False, True])
async def test_cancelled_waiter_loses_no_turn(is_handed_over_first: bool) -> None:
    admission = make_admission()
    await admission.take_turn()
    waiter = asyncio.create_task(admission.take_turn())
    await asyncio.sleep(0)

    if is_handed_over_first:
        admission.give_back_turn(used_s=0.1)
        waiter.cancel()
    else:
        waiter.cancel()
        admission.give_back_turn(used_s=0.1)
    await asyncio.wait([waiter])

    assert waiter.cancelled()
    admission.check_integrity()
    await admission.take_turn()


async def test_cancelled_newcomer_leaves_the_queue() -> None:
    admission = make_admission()
    await admission.take_turn()
    newcomer = asyncio.create_task(admission.take_first_turn())
    await asyncio.sleep(0)
    newcomer.cancel()
    await asyncio.wait([newcomer])

    assert admission.num_queued == 0


async def test_retry_after_grows_with_the_queue_and_the_length_of_turns() -> None:
    admission = make_admission(max_queue=5)
    for _ in range(50):
        await admission.take_turn()
        admission.give_back_turn(used_s=8.0)
    await admission.take_turn()
    waiters = [asyncio.create_task(admission.take_first_turn()) for _ in range(5)]
    await asyncio.sleep(0)

    with pytest.raises(BusyError) as refusal:
        await admission.take_first_turn()

    assert refusal.value.retry_after_s in range(30, 42)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)


class Ahead:
    """Somebody who takes a turn ahead, and gives it back when it is revoked."""

    def __init__(self, admission: Admission) -> None:
        self.turn = AheadTurn(self._give_back)
        self.num_revoked = 0
        self._admission = admission

    def _give_back(self) -> None:
        self.num_revoked += 1
        self._admission.give_back_turn(self.turn, used_s=0.1)


async def test_turn_taken_ahead_goes_to_whoever_needs_one() -> None:
    admission = make_admission(num_turns=2)
    ahead = Ahead(admission)
    await admission.take_first_turn()
    await admission.take_turn_ahead(ahead.turn)

    await admission.take_first_turn()

    assert ahead.num_revoked == 1
    for _ in range(2):
        admission.give_back_turn(used_s=0.1)
    admission.check_integrity()


async def test_turn_that_somebody_listens_to_is_not_revoked() -> None:
    admission = make_admission()
    ahead = Ahead(admission)
    await admission.take_turn_ahead(ahead.turn)
    admission.need(ahead.turn)
    newcomer = asyncio.create_task(admission.take_first_turn())
    await asyncio.sleep(0)

    assert (ahead.num_revoked, newcomer.done()) == (0, False)
    admission.give_back_turn(ahead.turn, used_s=0.1)
    await newcomer
    admission.give_back_turn(used_s=0.1)
    admission.check_integrity()


async def test_who_waits_ahead_comes_after_all_others_until_somebody_listens() -> None:
    admission = make_admission()
    first, second = Ahead(admission), Ahead(admission)
    await admission.take_turn()
    waiting = [
        asyncio.create_task(admission.take_turn_ahead(each.turn)) for each in (first, second)
    ]
    await asyncio.sleep(0)
    newcomer = asyncio.create_task(admission.take_first_turn())
    await asyncio.sleep(0)
    admission.need(second.turn)

    order = []
    for expected in (newcomer, waiting[1], waiting[0]):
        admission.give_back_turn(used_s=0.1)
        await asyncio.sleep(0)
        order.append(expected.done())
        await expected
    assert order == [True, True, True]
    admission.give_back_turn(first.turn, used_s=0.1)
    admission.check_integrity()


async def test_cancelled_while_waiting_ahead_loses_no_turn() -> None:
    admission = make_admission()
    ahead = Ahead(admission)
    await admission.take_turn()
    waiting = asyncio.create_task(admission.take_turn_ahead(ahead.turn))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    admission.give_back_turn(used_s=0.1)
    admission.check_integrity()


async def test_a_place_that_rests_lets_others_in_and_is_never_refused() -> None:
    admission = make_admission(max_streams=1)
    with admission.stream() as resting:
        with pytest.raises(BusyError), admission.stream():
            pass
        resting.rest()
        resting.rest()
        with admission.stream():
            assert (admission.num_streams, admission.num_resting) == (1, 1)
            resting.resume()
            resting.resume()
            assert (admission.num_streams, admission.num_resting) == (2, 0)
        resting.rest()

    assert (admission.num_streams, admission.num_resting) == (0, 0)
    admission.check_integrity()


async def test_not_any_number_may_rest() -> None:
    admission = make_admission(max_streams=2)
    with ExitStack() as places:
        for _ in range(8):
            places.enter_context(admission.stream()).rest()
        with pytest.raises(BusyError, match="8 requests wait for slow readers"):
            places.enter_context(admission.stream())
    with admission.stream():
        pass


async def test_of_those_who_have_nothing_the_first_and_the_shortest_take_turns() -> None:
    admission = make_admission()
    order: list[int] = []

    async def take(num_chars: int) -> None:
        await admission.take_first_turn(num_chars)
        order.append(num_chars)

    await admission.take_turn()
    tasks = [asyncio.create_task(take(num_chars)) for num_chars in (501, 502, 503, 504, 60, 70)]
    for _ in range(7):
        await asyncio.sleep(0)
        admission.give_back_turn(used_s=0.1)
    await asyncio.gather(*tasks)

    assert order == [60, 501, 70, 502, 503, 504]
    admission.check_integrity()
