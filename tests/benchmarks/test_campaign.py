"""The campaign, in seconds; and it finds what it is made to find."""

import json
import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.campaign.calls import Call
from benchmarks.campaign.clients import Clients, RefusedError
from benchmarks.campaign.listeners import CutError, Heard, Listeners, Tally, hear
from benchmarks.campaign.mutations import CANARY, Attack, Mutator, find_seeds, mutate_bytes
from benchmarks.campaign.run import Plan, run_campaign
from benchmarks.campaign.troubles import Trouble, fault_of, send_attack
from benchmarks.campaign.verdict import Found, Rest, judge, to_json, to_markdown
from benchmarks.campaign.watch import Sample, memory_drift, percentile
from benchmarks.soak_clients import BrokenOffError
from tests.serving import serving

SAMPLE = Sample(0.0, 100_000_000, 30_000_000, 2, 30, 12, 9, 0.001)
SHORT = Plan("builtin", 3, num_rounds=1, num_listeners=6, kill_every_s=1.5, change_pause_s=0.2)


async def test_everything_at_once_for_seconds_keeps_every_bar(tmp_path: Path) -> None:
    found = await run_campaign(tmp_path, SHORT)

    bars = judge(found)
    assert [bar for bar in bars if not bar.is_kept and "without an answer" not in bar.name] == [], (
        to_markdown(found, bars)
    )
    assert len(found.tally.kills_s) >= 1
    assert found.trouble.statuses.total() > 5
    assert found.trouble.num_replaced >= 1
    assert sum(counts["reads"] for counts in found.tally.outcomes.values()) > 5


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["builtin", "s2-tiny"])
async def test_everything_at_once_for_a_minute_keeps_every_bar(engine: str, tmp_path: Path) -> None:
    found = await run_campaign(tmp_path, Plan(engine, 60))  # type: ignore[arg-type] # of the two

    bars = judge(found)
    assert [bar for bar in bars if not bar.is_kept] == [], to_markdown(found, bars)


def make_found(**changes: object) -> Found:
    """What a run found that went well, but for `changes`."""
    tally = Tally()
    tally.outcomes["openai"]["reads"] = 3
    good = Found(
        "builtin", 600.0, tally, Trouble(), [SAMPLE] * 20, (SAMPLE, SAMPLE), Rest(0, 0, 0, 0)
    )
    return replace(good, **changes)  # type: ignore[arg-type] # the test names what there is


def test_good_run_keeps_every_bar() -> None:
    found = make_found()
    bars = judge(found)

    assert all(bar.is_kept for bar in bars)
    assert json.loads(to_json(found, bars))["is_good"] is True
    assert "BAD" not in to_markdown(found, bars)


def wrong_tally(kind: str) -> Tally:
    tally = make_found().tally
    tally.note_fault(kind, "openai, mp3 (7): what was wrong")
    return tally


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tally": wrong_tally("wrong audio")}, "wrong audio"),
        ({"tally": wrong_tally("server error")}, "server error, not provoked"),
        ({"tally": wrong_tally("cut")}, "cut, not provoked"),
        ({"tally": wrong_tally("repeated text")}, "repeated text"),
        ({"idle": (SAMPLE, replace(SAMPLE, memory_bytes=101_000_001))}, "memory"),
        ({"idle": (SAMPLE, replace(SAMPLE, num_files=39))}, "open files"),
        ({"idle": (SAMPLE, replace(SAMPLE, num_tasks=10))}, "tasks"),
        ({"idle": (SAMPLE, replace(SAMPLE, num_threads=13))}, "threads"),
        ({"idle": (SAMPLE, replace(SAMPLE, num_children=3))}, "processes"),
        ({"rest": Rest(1, 0, 0, 0)}, "streams left"),
        ({"rest": Rest(0, 1, 0, 0)}, "requests left"),
        ({"rest": Rest(0, 0, 1, 0)}, "turns left"),
        ({"rest": Rest(0, 0, 0, 1)}, "temporary files"),
        ({"rest": Rest(0, 0, 0, 0, num_reserved=5)}, "characters left"),
        ({"rest": Rest(0, 0, 0, 0, database="row 7 missing")}, "database"),
        ({"rest": Rest(0, 0, 0, 0, faults=("a traceback",))}, "the server's end"),
        ({"trouble": Trouble(key_delays_s=[0.5, 2.1])}, "a disabled key"),
    ],
)
def test_every_fault_breaks_its_bar(changes: dict[str, object], name: str) -> None:
    found = make_found(**changes)
    bars = judge(found)

    [bad] = [bar for bar in bars if not bar.is_kept]
    assert bad.name.startswith(name)
    assert "BAD" in to_markdown(found, bars)
    assert json.loads(to_json(found, bars))["is_good"] is False


def test_dialect_that_nobody_heard_to_the_end_is_named() -> None:
    found = make_found()
    found.tally.outcomes["live"]["leaves early"] = 4

    [bad] = [bar for bar in judge(found) if not bar.is_kept]

    assert bad.value == "live"


def test_drift_compares_the_second_tenth_with_the_last() -> None:
    rising = [replace(SAMPLE, memory_bytes=100_000_000 + 1_000_000 * n) for n in range(20)]
    spike = [SAMPLE] * 17 + [replace(SAMPLE, memory_bytes=10**9), SAMPLE, SAMPLE]
    warming = [replace(SAMPLE, memory_bytes=1_000)] * 2 + [SAMPLE] * 18

    assert memory_drift(rising) == pytest.approx(118.5 / 102.5 - 1)
    assert memory_drift(spike) == memory_drift(warming) == 0


def test_percentiles_are_of_what_was_measured() -> None:
    assert percentile([], 0.5) == 0
    assert percentile(list(range(101)), 0.5) == 50
    assert percentile([5.0, 1.0], 0.99) == 5


def spoken(*pieces: bytes, error: Exception | None = None, **more: object) -> Call:
    """A call that brings these pieces, and then an error."""

    async def stream(_: Clients) -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece
        if error is not None:
            raise error

    return Call("openai", "mp3", stream, **more)  # type: ignore[arg-type] # the test names them


NOBODY: Clients = None  # type: ignore[assignment] # these calls need no client


async def test_refusals_are_heard_and_cut_answers_are_not() -> None:
    assert (await hear(spoken(b"ab", b"c"), NOBODY)).content == b"abc"
    assert (await hear(spoken(error=RefusedError(404, "no")), NOBODY)).status == 404
    with pytest.raises(CutError):
        await hear(spoken(b"ab", error=BrokenOffError("too short")), NOBODY)
    with pytest.raises(ZeroDivisionError):
        await hear(spoken(error=ZeroDivisionError()), NOBODY)


@pytest.mark.parametrize(
    ("call", "killed", "outcome", "faults"),
    [
        (spoken(b"right"), False, "reads", {}),
        (spoken(b"other"), False, "wrong audio", {"wrong audio": 1}),
        (spoken(b"other"), True, "wrong audio", {"wrong audio": 1}),
        (spoken(b"other", likeness="status"), False, "reads", {}),
        (spoken(error=RefusedError(500, "")), False, "unexpected 500", {"server error": 1}),
        (spoken(error=RefusedError(503, "")), True, "503 after a kill", {}),
        (spoken(error=RefusedError(404, "")), True, "unexpected 404", {"other status": 1}),
        (spoken(error=BrokenOffError("")), False, "cut", {"cut": 1}),
        (spoken(error=BrokenOffError("")), True, "cut by a kill", {}),
    ],
)
async def test_what_a_kill_excuses_is_told_from_what_it_does_not(
    call: Call, killed: bool, outcome: str, faults: dict[str, int]
) -> None:
    tally = Tally(kills_s=[1e12] if killed else [])
    listeners = Listeners(NOBODY, [call], [[Heard(200, b"right")]], tally)

    await listeners.listen(0, "reads", random.Random(1))

    assert dict(tally.outcomes["openai"]) == {outcome: 1}
    assert dict(tally.faults) == faults


@pytest.mark.parametrize(
    ("status", "answer", "fault"),
    [
        (200, b"RIFF", None),
        (501, b"not here", None),
        (500, b"", "server error"),
        (422, b"\r\n\r\n" + CANARY.encode(), "repeated text"),
        (422, b"\r\n\r\n/somewhere/voices", "private words"),
        (400, b"\r\n\r\nTraceback (most recent call last)", "private words"),
    ],
)
def test_bad_answer_to_an_attack_is_named(status: int, answer: bytes, fault: str | None) -> None:
    assert fault_of(status, answer, "/somewhere") == fault


async def test_attacks_start_from_every_route_and_are_the_same_for_a_seed() -> None:
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()
        whole = await send_attack(served.url, Attack("GET", "/health"))
        none = await send_attack(served.url, Attack("GET", "/ \x00 \x01"))

    seeds = find_seeds(page)
    first, second = (Mutator(seeds, [b"RIFF"], 3) for _ in range(2))
    drawn = [first.draw() for _ in range(1_000)]
    assert drawn == [second.draw() for _ in range(1_000)]
    assert {each.path for each in seeds} == set(page["paths"])
    heads = {path.partition("{")[0] for path in page["paths"]}
    assert all(any(a.path.startswith(head) for a in drawn) for head in heads)
    assert (whole[0], none[0]) == (200, 400)


def test_bytes_are_changed_and_the_same_for_a_seed() -> None:
    content = bytes(range(256)) * 20
    changed = [mutate_bytes(content, random.Random(seed)) for seed in range(50)]

    assert changed == [mutate_bytes(content, random.Random(seed)) for seed in range(50)]
    assert sum(each != content for each in changed) > 45
    assert mutate_bytes(b"", random.Random(1)) is not None
