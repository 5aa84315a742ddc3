"""Speech that is heard again: what is spoken anew, and what is told."""

import json
from dataclasses import replace

import numpy as np
import ormsgpack
import pytest

from fishs2.engines.base import Capabilities
from fishs2.listening.comparing import Difference
from fishs2.service.speech.verify import Verdict, is_far, judge, summarise, verify_header
from tests.fakes import FakeEngine, fake_speech
from tests.listeners import AbsentListener, FakeListener
from tests.serving import Served, serving

RIGHT = "The harbour is busy before the sun comes up."
WRONG = "Something else entirely was said by that strange machine."
CAPABILITIES = Capabilities(
    name="fake",
    backend="cpu",
    sample_rate_hz=24_000,
    num_turns=1,
    max_utterance_chars=200,
    voices=("fake",),
)
MODEL = {"model": "fishs2"}
SEEDED = replace(CAPABILITIES, honours=frozenset({"seed"}))


class SeededEngine(FakeEngine):
    """One that says the same otherwise with another seed."""

    def __init__(self) -> None:
        super().__init__(capabilities=SEEDED)


async def speak(served: Served, **fields: object) -> tuple[str, bytes]:
    """The verdict and the samples of an answer."""
    body = {"model": "fishs2", "input": RIGHT, "response_format": "pcm", "verify": True, **fields}
    answer = await served.client.post("/v1/audio/speech", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-fishs2-verify"], answer.content


async def test_speech_that_is_as_written_is_sent_as_it_is() -> None:
    engine, listener = SeededEngine(), FakeListener(RIGHT.upper())
    async with serving(engine, listener=listener) as served:
        verdict, sound = await speak(served)
        plain = await served.client.post(
            "/v1/audio/speech", json=MODEL | {"input": RIGHT, "response_format": "pcm"}
        )

    assert verdict == "outcome=ok, word_error_rate=0.0, longest_run=0, respoken=0"
    assert sound == plain.content
    assert "x-fishs2-verify" not in plain.headers
    assert len(listener.wishes) == 1


async def test_speech_that_says_something_else_is_spoken_with_another_seed() -> None:
    engine = SeededEngine()
    async with serving(engine, listener=FakeListener(WRONG, RIGHT)) as served:
        verdict, _ = await speak(served, seed=7)
        metrics = (await served.client.get("/metrics")).text

    assert verdict == "outcome=respoken, word_error_rate=0.0, longest_run=0, respoken=1"
    seeds = [utterance.sampling.seed for utterance in engine.utterances]
    assert seeds[0] == 7
    assert len(set(seeds)) == 2
    assert 'fishs2_verify_total{dialect="openai",outcome="respoken"} 1.0' in metrics


async def test_speech_that_never_says_it_is_sent_and_reported() -> None:
    engine = SeededEngine()
    near = f"{RIGHT} And on and on and on it went."
    async with serving(engine, listener=FakeListener(WRONG, near, WRONG)) as served:
        verdict, _ = await speak(served)

    assert verdict.startswith("outcome=differs")
    assert verdict.endswith("longest_run=8, respoken=2, utterances=0")
    assert len(engine.utterances) == 3


async def test_engine_without_seeds_is_not_asked_to_say_the_same_again() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with serving(engine, listener=FakeListener(WRONG)) as served:
        verdict, _ = await speak(served)

    assert verdict.startswith("outcome=differs")
    assert len(engine.utterances) == 1


async def test_each_utterance_has_its_own_verdict_in_an_event() -> None:
    text = f"{RIGHT} {'It was a long day at sea. ' * 8}"
    listener = FakeListener(RIGHT, WRONG)
    async with serving(FakeEngine(capabilities=CAPABILITIES), listener=listener) as served:
        body = {"input": text, "verify": True, "stream_format": "sse", "chunk_length": 100}
        answer = await served.client.post("/v1/audio/speech", json=MODEL | body)

    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    verdict = events[-2]
    assert [event["type"] for event in events[-2:]] == ["speech.verify", "speech.audio.done"]
    assert verdict["outcome"] == "differs"
    assert len(verdict["utterances"]) == len(listener.wishes) > 1
    assert verdict["utterances"][1]["word_error_rate"] > 0.5


async def test_speech_that_nobody_can_hear_is_sent_and_says_so() -> None:
    listener = FakeListener(fails=True)
    async with serving(FakeEngine(capabilities=CAPABILITIES), listener=listener) as served:
        verdict, sound = await speak(served)

    assert verdict.startswith("outcome=unheard")
    expected = fake_speech(RIGHT, 24_000)
    assert len(sound) == 2 * len(expected)
    assert np.abs(np.frombuffer(sound, np.int16)).max() > 1_000


async def test_request_is_refused_where_nothing_listens() -> None:
    engine = FakeEngine()
    async with serving(engine, listener=AbsentListener()) as served:
        answer = await served.client.post(
            "/v1/audio/speech", json=MODEL | {"input": RIGHT, "verify": True}
        )

    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "asr_not_installed")
    assert not engine.utterances


async def test_language_of_the_request_is_listened_for() -> None:
    listener = FakeListener(RIGHT)
    async with serving(FakeEngine(), listener=listener) as served:
        await speak(served, language="de")

    assert listener.wishes[0].language == "de"


async def test_fish_audios_route_has_the_verdict_too() -> None:
    async with serving(FakeEngine(), listener=FakeListener(RIGHT)) as served:
        answer = await served.client.post("/v1/tts", json={"text": RIGHT, "verify": True})
        refused = await served.client.post(
            "/v1/tts/stream/with-timestamp",
            content=ormsgpack.packb({"text": RIGHT, "verify": True}),
            headers={"Content-Type": "application/msgpack"},
        )

    assert answer.headers["x-fishs2-verify"].startswith("outcome=ok")
    assert refused.status_code == 400
    assert "no place for the verdict" in refused.json()["message"]


@pytest.mark.parametrize(
    ("difference", "far"),
    [
        (Difference(2, 2, 1), False),
        (Difference(9, 3, 1), False),
        (Difference(8, 3, 1), True),
        (Difference(100, 6, 6), True),
        (Difference(100, 6, 5), False),
    ],
)
def test_few_words_or_a_short_run_are_no_fault(difference: Difference, far: bool) -> None:
    assert is_far(difference) is far


def test_summary_has_the_worst_outcome_and_the_errors_of_all() -> None:
    verdicts = [
        judge(Difference(10, 0, 0), 0),
        judge(Difference(10, 1, 1), 2),
        Verdict("unheard", None),
    ]

    summary = summarise(verdicts)

    assert summary["outcome"] == "unheard"
    assert (summary["word_error_rate"], summary["respoken"]) == (0.05, 2)
    assert verify_header(verdicts).endswith("respoken=2, utterances=2")
    assert summarise([])["outcome"] == "ok"
