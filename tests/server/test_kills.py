"""Processes of the engine are killed at random while a real server speaks: nobody hears of it."""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.engines.s2.golden import MODEL_FILES
from tests.serving import PATIENCE_S, server_process

SPEECH = "/v1/audio/speech"
LONG_TEXT = " ".join(f"Sentence number {n} of a longer text is spoken here." for n in range(12))

BUILTIN = {"FISHS2_ENGINE": "builtin"}
S2 = {
    "FISHS2_ENGINE": "s2",
    "FISHS2_BACKEND": "cpu",
    "FISHS2_ENGINE_PROCESS": "true",
    "FISHS2_MODEL_PATH": str(MODEL_FILES.model),
    "FISHS2_TOKENIZER_PATH": str(MODEL_FILES.tokenizer),
    "FISHS2_MAX_BATCH": "4",
}

BUILTIN_KINDS: list[dict[str, object]] = [
    {"input": "One short sentence.", "response_format": "wav"},
    {"input": LONG_TEXT, "response_format": "wav", "stream": False},
    {"input": LONG_TEXT, "response_format": "pcm", "stream": True},
    {"input": LONG_TEXT, "response_format": "flac", "stream": False},
]
S2_KINDS: list[dict[str, object]] = [
    {"input": "One short sentence.", "response_format": "wav", "seed": 3, "max_new_tokens": 60},
    {"input": "Another one.", "response_format": "pcm", "stream": True, "max_new_tokens": 60}
    | {"seed": 5},
    {"input": "A third, in FLAC.", "response_format": "flac", "stream": False}
    | {"seed": 7, "max_new_tokens": 40},
]


@dataclass(frozen=True, slots=True)
class Run:
    """Requests to a server with this environment. kill_every: answers between two kills.

    min_kills: so many processes must have died for the run to say anything.
    """

    environment: dict[str, str]
    kinds: list[dict[str, object]]
    num_requests: int
    kill_every: int
    min_kills: int = 2
    num_at_once: int = 8


@contextmanager
def server(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    known = {child.pid for child in psutil.Process().children()}
    with server_process(folder, arguments=("serve",), wait_for_engine=True, **environment) as url:
        (process,) = (c for c in psutil.Process().children() if c.pid not in known)
        yield url, process


def kill_one(process: psutil.Process, rng: random.Random) -> psutil.Process | None:
    """Kill a child that lives, at random; None if there is none at this moment."""
    with suppress(psutil.NoSuchProcess):
        living = [c for c in process.children() if c.status() != psutil.STATUS_ZOMBIE]
        if living:
            child = rng.choice(living)
            child.kill()
            return child
    return None


def num_restarts(metrics: str) -> float:
    """How often the engine noticed that a process was lost."""
    return next(
        float(line.split()[1])
        for line in metrics.splitlines()
        if line.startswith("fishs2_engine_restarts_total ")
    )


async def ask_all(client: httpx.AsyncClient, run: Run, note_answer: Callable[[], None]) -> set[str]:
    """Ask for everything at once; what was not as it is alone."""
    kinds = [{"model": "fishs2", **kind} for kind in run.kinds]
    alone = [await client.post(SPEECH, json=kind) for kind in kinds]
    turns = asyncio.Semaphore(run.num_at_once)
    wrong: set[str] = set()

    async def ask(number: int) -> None:
        kind, expected = kinds[number % len(kinds)], alone[number % len(kinds)]
        async with turns:
            try:
                answer = await client.post(SPEECH, json=kind)
            except httpx.TransportError as error:
                wrong.add(f"{number}: {error!r}")
                return
        note_answer()
        if answer.status_code != 200:
            wrong.add(f"{number}: {answer.status_code} {answer.text}")
        elif answer.content != expected.content:
            wrong.add(f"{number}: {len(answer.content)} bytes, not {len(expected.content)}")

    assert {each.status_code for each in alone} == {200}
    await asyncio.gather(*(ask(number) for number in range(run.num_requests)))
    return wrong


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(Run(BUILTIN, BUILTIN_KINDS, 24, kill_every=3), id="builtin"),
        pytest.param(
            Run(BUILTIN, BUILTIN_KINDS, 300, kill_every=2),
            id="builtin-300",
            marks=[pytest.mark.slow, pytest.mark.timeout(600)],
        ),
        # A child of this engine takes seconds to start, as it imports PyTorch.
        pytest.param(
            Run(S2, S2_KINDS, 300, kill_every=15),
            id="s2-300",
            marks=[pytest.mark.slow, pytest.mark.timeout(600)],
        ),
    ],
)
async def test_no_answer_is_lost_or_other_than_it_should_be(run: Run, tmp_path: Path) -> None:
    rng = random.Random(5)
    num_answers = 0
    killed: set[psutil.Process] = set()
    with server(tmp_path, run.environment) as (url, process):

        def note_answer() -> None:
            nonlocal num_answers
            num_answers += 1
            if num_answers % run.kill_every == 0 and (child := kill_one(process, rng)):
                killed.add(child)

        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
            wrong = await ask_all(client, run, note_answer)
            health = (await client.get("/health")).json()
            metrics = (await client.get("/metrics")).text
        _, living = psutil.wait_procs(killed, timeout=PATIENCE_S)

    assert wrong == set()
    assert living == []
    assert len(killed) >= run.min_kills
    assert num_restarts(metrics) >= run.min_kills
    assert health["ready"]
    assert health["queue"] == {"streams": 0, "waiting": 0}
    num_finished = run.num_requests + len(run.kinds)
    assert f'requests_total{{dialect="openai",outcome="finished"}} {num_finished}.0' in metrics
    assert 'outcome="failed"' not in metrics
    assert 'outcome="aborted"' not in metrics
