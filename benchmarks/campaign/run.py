"""A campaign from its first request to its verdict."""

import asyncio
import random
import time
from asyncio import TaskGroup
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.campaign.calls import CHANGING_VOICE, Call, CallMaker, Engine
from benchmarks.campaign.clients import Clients, open_clients
from benchmarks.campaign.listeners import Heard, Listeners, Tally, hear, hear_alone
from benchmarks.campaign.mutations import Mutator, find_seeds
from benchmarks.campaign.recordings import KINDS, make_recording
from benchmarks.campaign.served import Server, run_server
from benchmarks.campaign.troubles import Trouble, Troubles, store_voice
from benchmarks.campaign.verdict import DRIFT_FROM_S, POOLED_FILES, Found, Rest
from benchmarks.campaign.watch import Sample, Watch
from benchmarks.soak import wait_until_idle
from tests.recordings import make_voice, write_wav

_SETTLE_S = 15.0
_MAX_WARM_UP_S = 120.0
_GIVING_BACK_S = 25.0
"""The server gives freed memory back every 20 s."""

_LOGS = ("app.log", "errors.log")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how much at once. num_rounds: calls of every kind that there are."""

    engine: Engine
    seconds: float
    seed: int = 1
    num_rounds: int = 3
    num_listeners: int = 12
    kill_every_s: float = 7.0
    attack_pause_s: float = 0.05
    change_pause_s: float = 1.0


async def run_campaign(folder: Path, plan: Plan) -> Found:
    """The whole of it, with the server's files in `folder`. Raises what the server's end raises."""
    # The packages start tasks that nobody awaits; ours are all in groups.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    faults: list[str] = []
    found: Found | None = None
    try:
        with run_server(folder, plan.engine) as server:
            found = await _run(server, plan)
    except AssertionError as error:
        if found is None:
            raise
        faults += _defects(str(error)) or [str(error)[-2_000:]]
    logs = (folder / "server" / "logs" / name for name in _LOGS)
    faults += [each for log in logs if log.is_file() for each in _defects(log.read_text("utf-8"))]
    database, num_reserved = server.check_database()
    rest = replace(found.rest, num_reserved=num_reserved, database=database, faults=tuple(faults))
    return replace(found, rest=rest)


def _defects(log: str) -> list[str]:
    """How tracebacks end, each with how often, and where: the last place in our own code."""
    counts: Counter[str] = Counter()
    for after in log.split("Traceback (most recent call last):\n")[1:]:
        lines = after.splitlines()
        end = next((line for line in lines if line and not line[0].isspace()), "")
        ours = [line.strip() for line in lines[: lines.index(end)] if "/fishs2/" in line]
        counts[f"{end[:200]}, {ours[-1] if ours else 'not in our code'}"] += 1
    return [f"{number} x {defect}" for defect, number in counts.items()]


@dataclass(frozen=True, slots=True)
class _Stage:
    """Everything that happens at once. expected: what each call may sound like."""

    plan: Plan
    server: Server
    token: str
    calls: list[Call]
    expected: list[list[Heard]]
    mutator: Mutator
    recordings: tuple[bytes, bytes]
    watch: Watch
    tally: Tally
    trouble: Trouble

    async def play(self, seconds: float) -> None:
        """For so long, and until everybody has what they asked for."""
        plan, pick = self.plan, random.Random(self.plan.seed)
        troubles = Troubles(self.server, self.token, self.tally, self.trouble)
        ends_s = time.monotonic() + seconds
        async with open_clients(self.server.url, self.token) as clients, TaskGroup() as group:
            listeners = Listeners(clients, self.calls, self.expected, self.tally)
            for _ in range(plan.num_listeners):
                group.create_task(listeners.work(random.Random(pick.random()), ends_s))
            group.create_task(troubles.attack(self.mutator, plan.attack_pause_s, ends_s))
            group.create_task(troubles.kill(plan.kill_every_s, pick, ends_s))
            group.create_task(troubles.change_voices(self.recordings, plan.change_pause_s, ends_s))
            group.create_task(troubles.change_keys(plan.change_pause_s, ends_s))
            group.create_task(self.watch.work(max(0.2, plan.seconds / 400), ends_s))


async def _run(server: Server, plan: Plan) -> Found:
    token = await server.make_key("campaign")
    stage = await _set_stage(server, plan, token)
    # Pools of threads, connections and caches grow until each has been needed once.
    await stage.play(min(plan.seconds / 4, _MAX_WARM_UP_S))
    watch = stage.watch
    before = await _idle_sample(watch, server, token, plan)
    watch.samples.clear()
    await stage.play(plan.seconds)
    after = await _idle_sample(watch, server, token, plan, wanted=before)
    rest = await _look_at_rest(server, token)
    idle = (before, after)
    return Found(plan.engine, plan.seconds, stage.tally, stage.trouble, watch.samples, idle, rest)


async def _set_stage(server: Server, plan: Plan, token: str) -> _Stage:
    """Store the voices and hear every call alone."""
    low, middle, high = (write_wav(make_voice(pitch_hz=hz)) for hz in (110.0, 150.0, 220.0))
    calls = CallMaker(plan.engine, ("low", "high"), middle, plan.seed).make(plan.num_rounds)
    async with open_clients(server.url, token) as clients:
        await store_voice(clients.http, "low", low)
        await store_voice(clients.http, "high", high)
        expected = await _hear_expected(clients, calls, (low, high))
        page = (await clients.http.get("/openapi.json")).raise_for_status().json()
    # Deleting would take the voices that are listened to.
    seeds = [each for each in find_seeds(page) if each.method in ("GET", "POST")]
    mutator = Mutator(seeds, [make_recording(kind) for kind in KINDS], plan.seed)
    watch = Watch(server, token)
    return _Stage(
        plan, server, token, calls, expected, mutator, (low, high), watch, Tally(), Trouble()
    )


async def _hear_expected(
    clients: Clients, calls: list[Call], recordings: tuple[bytes, bytes]
) -> list[list[Heard]]:
    """What each call may sound like: once with each of the recordings as the changing voice."""
    await store_voice(clients.http, CHANGING_VOICE, recordings[1])
    expected = [[heard] for heard in await hear_alone(calls, clients)]
    await store_voice(clients.http, CHANGING_VOICE, recordings[0])
    for call, heard in zip(calls, expected, strict=True):
        if call.is_changing:
            heard.append(await hear(call, clients))
    return expected


async def _idle_sample(
    watch: Watch, server: Server, token: str, plan: Plan, *, wanted: Sample | None = None
) -> Sample:
    """A look at the server when nothing is in progress; with `wanted`, once it holds as little.

    Connections and their tasks end a moment after their answer, and where memory is judged, what
    is free has been given back.
    """
    await wait_until_idle(server.url, token)
    began_s = time.monotonic()
    least_s = _GIVING_BACK_S if plan.seconds >= DRIFT_FROM_S else 0.0
    while True:
        sample, lasted_s = await watch.look(), time.monotonic() - began_s
        is_little = wanted is None or (
            sample.num_files <= wanted.num_files + POOLED_FILES
            and sample.num_tasks <= wanted.num_tasks
        )
        if lasted_s >= least_s and (is_little or lasted_s > least_s + _SETTLE_S):
            return sample
        await asyncio.sleep(0.2)


async def _look_at_rest(server: Server, token: str) -> Rest:
    metrics = await wait_until_idle(server.url, token)
    temporary = (path for name in ("tmp", "temp") for path in (server.folder / name).rglob("*"))
    return Rest(
        num_streams=int(metrics["fishs2_streams"]),
        num_waiting=int(metrics["fishs2_queued"]),
        num_slots=int(metrics.get("fishs2_engine_active_slots", 0)),
        num_new_files=sum(path.is_file() for path in temporary),
    )
