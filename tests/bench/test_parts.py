"""What is asked of a server, in which order, and what becomes of refusals."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from fishs2.bench.figures import summarize
from fishs2.bench.listening import Manner, Server
from fishs2.bench.parts import LENGTHS, Findings, Plan, client_counts, measure
from fishs2.bench.voices import STORED
from fishs2.errors import UserError
from tests.fakes import FakeEngine, Timing
from tests.recording_server import CAPABILITIES
from tests.serving import serving

PLAN = Plan(
    ("single",),
    Manner(),
    ("fake", "other"),
    max_clients=4,
    num_requests=2,
    num_runs=2,
    num_chars=50,
)


async def run(plan: Plan, engine: FakeEngine, **settings: Any) -> Findings:
    async with serving(engine, **settings) as served:
        return await measure(Server(served.url), plan)


def test_client_counts_double_and_end_where_they_should() -> None:
    assert client_counts(1) == [1]
    assert client_counts(8) == [1, 2, 4, 8]
    assert client_counts(12) == [1, 2, 4, 8, 12]


async def test_every_request_has_its_own_text_and_seed_and_warm_up_does_not_count() -> None:
    engine = FakeEngine()

    findings = await run(replace(PLAN, parts=("single", "sweep"), num_warm_up=3), engine)

    num_counted = 2 * (2 + 2 * (1 + 2 + 4))
    answers = [answer for measured in findings.measurements for answer in measured.answers]
    assert len(answers) == num_counted
    assert len(engine.utterances) == num_counted + 3
    assert len({utterance.text for utterance in engine.utterances}) == num_counted + 3
    assert len({utterance.sampling.seed for utterance in engine.utterances}) == num_counted + 3
    assert Counter(answer.voice for answer in answers).keys() == {"fake", "other"}
    assert all(utterance.sampling.temperature == 0.8 for utterance in engine.utterances)


async def test_same_seed_asks_the_same() -> None:
    first, second, other = FakeEngine(), FakeEngine(), FakeEngine()

    for engine, seed in ((first, 5), (second, 5), (other, 6)):
        await run(replace(PLAN, seed=seed), engine)

    assert [u.text for u in first.utterances] == [u.text for u in second.utterances]
    assert [u.text for u in first.utterances] != [u.text for u in other.utterances]


async def test_runs_are_spread_over_all_cases() -> None:
    findings = await run(replace(PLAN, parts=("length",), num_requests=1), FakeEngine())

    assert [(m.case, m.run) for m in findings.measurements] == [
        (str(num), run) for run in (1, 2) for num in LENGTHS
    ]
    lengths = [summary.num_chars for summary in summarize(findings.measurements)]
    assert all(wanted - 16 <= got <= wanted for got, wanted in zip(lengths, LENGTHS, strict=True))


async def test_figures_are_those_of_the_engine() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=0.05, rtf=0.02, chunk_s=0.5))

    findings = await run(replace(PLAN, num_requests=1, num_runs=1, num_chars=60), engine)

    (summary,) = summarize(findings.measurements)
    spoken = engine.utterances[-1].text
    assert engine.utterances[-1].part is None
    assert summary.audio_s == pytest.approx(len(spoken) / 15, abs=0.01)
    assert summary.first_audio_s is not None
    assert summary.first_audio_s.median >= 0.06
    assert summary.rtf is not None
    assert summary.rtf.median >= 0.02
    assert summary.sample_rates_hz == (24_000,)


async def test_known_voices_are_those_that_were_new_a_moment_ago() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    plan = replace(PLAN, parts=("voices",), voices=STORED, num_warm_up=1)

    findings = await run(plan, engine)

    keys = [[r.key for r in u.references] for u in engine.utterances[1:]]
    new, known, none = keys[0:2], keys[2:4], keys[4:6]
    later_new, later_known = keys[6:8], keys[8:10]
    assert new == known
    assert none == [[], []]
    assert later_new == later_known
    assert len({key for each in new + later_new for key in each}) == 4
    assert findings.num_failures == 0


async def test_sweep_ends_where_the_server_refuses_and_says_so() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=0.05), num_turns=1)

    findings = await run(replace(PLAN, parts=("sweep",)), engine, max_queue=0)

    summaries = summarize(findings.measurements)
    assert [summary.case for summary in summaries] == ["1", "2"]
    assert summaries[0].failures == {}
    assert summaries[1].failures.keys() == {"429 server_busy"}
    (remark,) = findings.remarks
    assert "the sweep ends at 2 clients" in remark
    assert "429 server_busy" in remark
    assert findings.num_failures == sum(summaries[1].failures.values()) > 0


async def test_voice_that_the_server_lacks_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(UserError, match="404 voice_not_found"):
        await run(replace(PLAN, voices=("nobody",)), FakeEngine())


async def test_engine_that_breaks_off_is_counted_and_not_averaged() -> None:
    engine = FakeEngine()

    async with serving(engine) as served:
        plan = replace(PLAN, num_runs=1, num_requests=3)
        server = Server(served.url)
        findings = await measure(server, plan, lambda text: _break(engine, text))

    (summary,) = summarize(findings.measurements)
    assert summary.failures == {"broke_off": 3}
    assert summary.speed is None


def _break(engine: FakeEngine, progress: str) -> None:
    """Let the engine fail once the warm-up is over."""
    if progress != "warm-up":
        engine.fail_after_chunks = 2
