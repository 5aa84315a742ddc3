"""Threads for codecs: who has the least sound in hand goes first, and nobody's turn is lost."""

import asyncio
import threading

import pytest

from fishs2.service.speech.coding import CodingThreads
from tests.serving import until


async def test_whoever_has_the_least_sound_in_hand_goes_first() -> None:
    coding, may_end, order = CodingThreads(1), threading.Event(), list[float]()
    working = asyncio.create_task(coding.run(may_end.wait))
    await asyncio.sleep(0)

    def ask(in_hand_s: float) -> asyncio.Task[None]:
        return asyncio.create_task(coding.run(lambda: order.append(in_hand_s), lambda: in_hand_s))

    waiting = [ask(in_hand_s) for in_hand_s in (8.0, 3.0, 5.0, 0.0)]
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(working, *waiting)
    coding.close()

    assert order == [0.0, 3.0, 5.0, 8.0]


async def test_who_leaves_takes_no_turn_along() -> None:
    coding, may_end = CodingThreads(1), threading.Event()
    working = asyncio.create_task(coding.run(may_end.wait))
    await asyncio.sleep(0)
    leaving, staying = (asyncio.create_task(coding.run(threading.get_ident)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    may_end.set()
    await working

    assert await staying
    assert await coding.run(threading.get_ident)
    coding.close()


async def test_a_turn_that_comes_with_the_cancellation_is_passed_on() -> None:
    coding, may_end = CodingThreads(1), threading.Event()
    working = asyncio.create_task(coding.run(may_end.wait))
    await asyncio.sleep(0)
    leaving, staying = (asyncio.create_task(coding.run(threading.get_ident)) for _ in range(2))
    await asyncio.sleep(0)
    may_end.set()
    # In the same round of the loop as its turn.
    working.add_done_callback(lambda _: leaving.cancel())
    await asyncio.wait([working, leaving])

    assert await staying
    coding.close()


async def test_who_fails_gives_its_turn_back() -> None:
    coding = CodingThreads(1)
    with pytest.raises(ZeroDivisionError):
        await coding.run(lambda: 1 // 0)
    done = asyncio.create_task(coding.run(threading.get_ident))
    await until(done.done)
    coding.close()
