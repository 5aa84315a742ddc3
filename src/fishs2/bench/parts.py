"""The parts of the benchmark: which requests are sent, how many at once, in which order.

Runs are the outer loop and cases the inner one, so that what happens to the machine meanwhile
happens to every case.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import httpx2

from fishs2.bench.figures import Answer, Measurement, Part, describe_failure, percentile
from fishs2.bench.listening import Manner, Question, Server, listen, raise_for
from fishs2.bench.texts import TextMaker
from fishs2.bench.voices import Voice, new_voice, no_reference, stored_voice

LENGTHS = (25, 50, 100, 200, 400, 800, 1600)
"""Characters of the texts in the part `length`."""

_TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured. num_requests: of each client in each run. num_chars: of each text.

    num_warm_up: requests before the first part that no figure counts. voices: names of stored ones.
    """

    parts: tuple[Part, ...]
    manner: Manner
    voices: tuple[str, ...]
    max_clients: int = 8
    num_requests: int = 4
    num_runs: int = 3
    num_chars: int = 200
    num_warm_up: int = 2
    seed: int = 1


@dataclass(slots=True)
class Findings:
    """What was measured. remarks: what a reader of the figures must know besides."""

    measurements: list[Measurement] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def num_failures(self) -> int:
        return sum(a.failure is not None for m in self.measurements for a in m.answers)


@dataclass(frozen=True, slots=True)
class _Case:
    """One condition. make: the questions of one client in one run, in order."""

    part: Part
    name: str
    num_clients: int
    make: Callable[[], Sequence[Question]]


async def measure(
    server: Server, plan: Plan, on_progress: Callable[[str], None] = lambda _: None
) -> Findings:
    """Measure all parts. Raises UserError if the server refuses the warm-up."""
    bench = _Bench(plan, on_progress)
    async with server.connect(plan.max_clients) as client:
        await bench.warm_up(client)
        for part in plan.parts:
            await bench.measure_part(client, part)
    return bench.findings


class _Bench:
    """Texts and seeds go on from part to part, so that no request is ever sent twice."""

    def __init__(self, plan: Plan, on_progress: Callable[[str], None]) -> None:
        self.findings = Findings()
        self._plan = plan
        self._say = on_progress
        self._texts = TextMaker(plan.seed)
        self._seeds = count(plan.seed)
        self._indices = count()

    async def warm_up(self, client: httpx2.AsyncClient) -> None:
        self._say("warm-up")
        for _ in range(self._plan.num_warm_up):
            question = self._question(self._next_voice(), self._plan.num_chars)
            answer = await listen(client, question, self._plan.manner, began_s=time.perf_counter())
            if answer.failure:
                raise_for(answer.failure)

    async def measure_part(self, client: httpx2.AsyncClient, part: Part) -> None:
        cases = list(self._cases(part))
        for run in range(1, self._plan.num_runs + 1):
            for case in list(cases):
                self._say(f"{part}: {case.name}, run {run} of {self._plan.num_runs}")
                measured = await self._measure_case(client, case, run)
                self.findings.measurements.append(measured)
                failures = [each.failure for each in measured.answers if each.failure]
                if part == "sweep" and failures and case is not cases[-1]:
                    # More clients would only be refused more often.
                    cases = cases[: cases.index(case) + 1]
                    self.findings.remarks.append(
                        f"the sweep ends at {case.name} clients: {len(failures)} of "
                        f"{len(measured.answers)} requests failed, the first with "
                        f"{describe_failure(failures[0])}: {failures[0].message}"
                    )
                    break

    def _cases(self, part: Part) -> Iterable[_Case]:
        match part:
            case "single":
                return [_Case("single", "1", 1, self._usual_questions)]
            case "sweep":
                return [
                    _Case("sweep", str(num), num, self._usual_questions)
                    for num in client_counts(self._plan.max_clients)
                ]
            case "length":
                return [
                    _Case("length", str(num), 1, partial(self._usual_questions, num))
                    for num in LENGTHS
                ]
            case "voices":
                return self._voice_cases()

    def _voice_cases(self) -> list[_Case]:
        """The same recordings twice, and no recording; `known` comes after `new` in every run."""
        latest: list[Voice] = []

        def new() -> list[Question]:
            latest[:] = [new_voice(next(self._indices)) for _ in range(self._plan.num_requests)]
            return self._questions_of(latest)

        def known() -> list[Question]:
            return self._questions_of(latest)

        def none() -> list[Question]:
            return self._questions_of([no_reference()] * self._plan.num_requests)

        makers = {"new": new, "known": known, "none": none}
        return [_Case("voices", name, 1, make) for name, make in makers.items()]

    async def _measure_case(self, client: httpx2.AsyncClient, case: _Case, run: int) -> Measurement:
        # Made before the clock runs: the recordings take time to encode.
        by_client = [case.make() for _ in range(case.num_clients)]
        async with _watch_own_delay() as delays_s:
            began_s = time.perf_counter()
            answers = await asyncio.gather(
                *(self._ask_in_turn(client, questions, began_s) for questions in by_client)
            )
            took_s = time.perf_counter() - began_s
        return Measurement(
            part=case.part,
            case=case.name,
            num_clients=case.num_clients,
            run=run,
            took_s=took_s,
            own_delay_s=percentile(delays_s, 99) if delays_s else 0.0,
            answers=tuple(answer for each in answers for answer in each),
        )

    async def _ask_in_turn(
        self, client: httpx2.AsyncClient, questions: Sequence[Question], began_s: float
    ) -> list[Answer]:
        manner = self._plan.manner
        return [await listen(client, each, manner, began_s=began_s) for each in questions]

    def _usual_questions(self, num_chars: int | None = None) -> list[Question]:
        num = num_chars or self._plan.num_chars
        return [self._question(self._next_voice(), num) for _ in range(self._plan.num_requests)]

    def _questions_of(self, voices: Sequence[Voice]) -> list[Question]:
        return [self._question(voice, self._plan.num_chars) for voice in voices]

    def _question(self, voice: Voice, num_chars: int) -> Question:
        return Question(self._texts.make(num_chars), voice, next(self._seeds))

    def _next_voice(self) -> Voice:
        voices = self._plan.voices
        return stored_voice(voices[next(self._indices) % len(voices)])


def client_counts(most: int) -> list[int]:
    """1, 2, 4 and so on, and `most` itself."""
    counts = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*counts, most]


@asynccontextmanager
async def _watch_own_delay() -> AsyncIterator[list[float]]:
    """Note how late a timer in this event loop is: what our own load adds to every figure."""
    delays_s: list[float] = []

    async def watch() -> None:
        while True:
            due_s = time.perf_counter() + _TICK_S
            await asyncio.sleep(_TICK_S)
            delays_s.append(time.perf_counter() - due_s)

    task = asyncio.create_task(watch())
    try:
        yield delays_s
    finally:
        task.cancel()
        await asyncio.wait([task])
