"""Thousands of wrong requests to every route of a server: it answers, and gives nothing away."""

import asyncio
import time
from pathlib import Path

import pytest

from benchmarks.campaign.mutations import Attack, Mutator, find_seeds
from benchmarks.campaign.recordings import KINDS, make_recording
from benchmarks.campaign.troubles import fault_of, send_attack
from tests.serving import Served, serving

NUM_AT_ONCE = 4
SLOW_S = 2.0


async def send_all(served: Served, folder: Path, num: int, seed: int) -> tuple[set[int], list[str]]:
    """The statuses that came, and what is wrong with any answer; says what was slow."""
    page = (await served.client.get("/openapi.json")).json()
    files = [make_recording(kind) for kind in KINDS]
    mutator = Mutator(find_seeds(page), files, seed)
    attacks = [mutator.draw() for _ in range(num)]
    statuses: set[int] = set()
    wrong: list[str] = []

    async def send(attack: Attack) -> None:
        started_s = time.monotonic()
        status, answer = await send_attack(served.url, attack)
        statuses.add(status)
        if fault := fault_of(status, answer, str(folder)):
            wrong.append(f"{fault}: {attack.name} -> {status} {answer[-300:]!r}")
        if (took_s := time.monotonic() - started_s) > SLOW_S:
            print(f"slow, {took_s:.1f} s: {attack.name}")

    async def work() -> None:
        while attacks:
            await send(attacks.pop())

    await asyncio.gather(*(work() for _ in range(NUM_AT_ONCE)))
    return statuses, wrong


@pytest.mark.parametrize(
    ("num", "seed"),
    [
        (500, 1),
        pytest.param(10_000, 2, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)]),
    ],
)
async def test_wrong_requests_are_refused_without_a_defect_or_a_secret(
    num: int, seed: int, tmp_path: Path
) -> None:
    voices, data = tmp_path / "voices", tmp_path / "data"
    async with serving(home=tmp_path, voices_dir=voices, data_dir=data) as served:
        statuses, wrong = await send_all(served, tmp_path, num, seed)
        health = (await served.client.get("/health")).json()

    assert wrong == []
    assert {200, 400, 404, 405, 422} <= statuses
    assert health["queue"] == {"streams": 0, "waiting": 0}
