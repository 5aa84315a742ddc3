"""When workers are started again, and when that is given up for a while."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fishs2.errors import Fishs2Error
from fishs2.processes.supervisor import (
    Ending,
    LostError,
    NoWorkerError,
    RestartRules,
    Supervisor,
)
from tests.serving import until


class FakeWorker:
    """Ends when it is told to."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.is_free = False
        self.is_closed = False
        self._failure = failure
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        await asyncio.sleep(0)
        if self._failure is not None:
            raise self._failure
        self.is_free = True

    async def listen(self) -> Ending:
        return await self._ending

    def end(self, ending: Ending) -> None:
        self.is_free = False
        if not self._ending.done():
            self._ending.set_result(ending)

    def ask_to_leave(self) -> None:
        self.end(Ending("was stopped", has_served=False))

    async def close(self) -> None:
        self.is_closed = True


class Workshop:
    """Makes workers, and remembers them. failure: what the next ones fail with at their start."""

    def __init__(self) -> None:
        self.made: list[FakeWorker] = []
        self.failure: Exception | None = None

    def make(self) -> FakeWorker:
        self.made.append(FakeWorker(self.failure))
        return self.made[-1]


LOST = Ending("died", has_served=False)
QUICK = RestartRules(pause_s=0.001, open_s=0.002, max_losses=3)
SLOW = RestartRules(pause_s=1_000, open_s=1_000, max_losses=2)


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
async def patient(workshop: Workshop) -> AsyncIterator[Supervisor[FakeWorker]]:
    """Two places; the second loss in a row of one of them is mended by nobody."""
    made = Supervisor("the test", workshop.make, num_workers=2, rules=SLOW)
    await made.start()
    yield made
    await made.close()
    assert all(worker.is_closed for worker in workshop.made)


async def test_first_loss_is_replaced_at_once(
    workshop: Workshop, patient: Supervisor[FakeWorker]
) -> None:
    workshop.made[0].end(LOST)

    await until(lambda: len(workshop.made) == 3 and workshop.made[2].is_free)

    assert workshop.made[0].is_closed
    assert patient.num_restarts == 1


async def test_worker_that_has_served_may_be_lost_as_often_as_it_likes(
    workshop: Workshop, patient: Supervisor[FakeWorker]
) -> None:
    for number in range(10):
        workshop.made[-1].end(Ending("died", has_served=True))
        await until(lambda number=number: patient.num_restarts == number + 1)  # type: ignore[misc]

    assert not patient.trouble


@pytest.mark.parametrize(
    "ending",
    [
        Ending("left", has_served=False, is_expected=True),
        Ending("was killed", has_served=False, is_blameless=True),
    ],
)
async def test_what_is_no_fault_opens_no_breaker(
    ending: Ending, workshop: Workshop, patient: Supervisor[FakeWorker]
) -> None:
    for number in range(2, 12):
        workshop.made[-1].end(ending)
        await until(lambda number=number: len(workshop.made) == number + 1)  # type: ignore[misc]
        await until(lambda: workshop.made[-1].is_free)

    assert not patient.trouble
    assert patient.num_restarts == (10 if ending.is_blameless else 0)


async def test_one_place_in_trouble_is_none_while_the_other_works(
    workshop: Workshop, patient: Supervisor[FakeWorker]
) -> None:
    workshop.failure = LostError("died")
    workshop.made[0].end(LOST)
    await until(lambda: workshop.made[-1].is_closed)

    assert not patient.trouble
    assert await patient.take() is workshop.made[1]


async def test_trouble_is_told_to_those_who_wait_and_those_who_come(
    workshop: Workshop, patient: Supervisor[FakeWorker]
) -> None:
    for worker in workshop.made:
        worker.is_free = False
    waiting = [asyncio.create_task(patient.take()) for _ in range(3)]
    await asyncio.sleep(0)
    workshop.failure = LostError("died young")
    for worker in list(workshop.made):
        worker.end(LOST)

    for each in (*waiting, patient.take()):
        with pytest.raises(NoWorkerError, match="lost 2 times in a row, last because: its process"):
            await each


@pytest.mark.parametrize("failure", [LostError("died"), Fishs2Error("there is no library")])
async def test_trouble_ends_when_a_worker_starts(failure: Exception, workshop: Workshop) -> None:
    supervisor = Supervisor("the test", workshop.make, rules=QUICK)
    await supervisor.start()
    workshop.failure = failure
    workshop.made[0].end(LOST)
    await until(lambda: str(failure) in supervisor.trouble)
    workshop.failure = None
    await until(lambda: not supervisor.trouble)

    assert await supervisor.take() is workshop.made[-1]
    await supervisor.close()


async def test_start_that_fails_closes_all_workers(workshop: Workshop) -> None:
    workshop.failure = LostError("died")
    with pytest.raises(LostError):
        await Supervisor("the test", workshop.make, num_workers=3, rules=QUICK).start()

    assert [worker.is_closed for worker in workshop.made] == [True] * 3


async def test_closed_supervisor_gives_no_worker(workshop: Workshop) -> None:
    supervisor = Supervisor("the test", workshop.make, rules=QUICK)
    (worker,) = await supervisor.start()
    worker.is_free = False
    waiting = asyncio.create_task(supervisor.take())
    await asyncio.sleep(0)

    await supervisor.close()

    with pytest.raises(NoWorkerError, match="the test was closed"):
        await waiting
    assert worker.is_closed


async def test_those_who_wait_are_served_in_order(
    workshop: Workshop, patient: Supervisor[FakeWorker]
) -> None:
    for worker in workshop.made:
        worker.is_free = False
    served: list[int] = []

    async def take(number: int) -> None:
        (await patient.take()).is_free = False
        served.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    for number in range(5):
        workshop.made[number % 2].is_free = True
        patient.announce()
        await until(lambda number=number: len(served) == number + 1)  # type: ignore[misc]

    assert served == [0, 1, 3, 4, 5]
