"""/metrics: what an operator sees of requests and engine."""

import asyncio
import re

import pytest

from fishs2.engines.base import EngineStats
from tests.fakes import FakeEngine
from tests.serving import serving, until

BODY = {"model": "fishs2", "input": "Hello there."}


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    assert found is not None, name
    return float(found[1])


async def test_requests_are_counted_by_dialect_and_outcome() -> None:
    async with serving() as served:
        for _ in range(2):
            spoken = await served.client.post("/v1/audio/speech", json=BODY)
        opened = await served.client.post(
            "/api/open/tts", json={"reference_id": "default", "text": "Hi."}
        )
        answer = await served.client.get("/metrics")
        health = (await served.client.get("/health")).json()

    assert (spoken.status_code, opened.status_code) == (200, 200)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.text
    assert value(text, 'fishs2_requests_total{dialect="openai",outcome="finished"}') == 2
    assert value(text, 'fishs2_requests_total{dialect="fishaudio_net",outcome="finished"}') == 1
    assert value(text, 'fishs2_characters_total{dialect="openai"}') == 24
    assert value(text, 'fishs2_audio_seconds_total{dialect="openai"}') > 0.1
    # Whole files have no first audio before they have all of it.
    assert value(text, "fishs2_first_audio_seconds_count") == 1
    assert value(text, "fishs2_rtf_count") == 3
    assert value(text, "fishs2_streams") == 0
    assert value(text, "fishs2_ready") == 1
    assert health["rtf"] > 0


async def test_tasks_come_with_requests_and_go_with_them() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:

        async def num_tasks() -> float:
            return value((await served.client.get("/metrics")).text, "fishs2_tasks")

        # Whoever asks for voices has the folder watched for a while.
        await served.services.wait_for_stores()
        await served.client.get("/v1/voices")
        before = await num_tasks()
        streaming = served.client.stream("POST", "/v1/audio/speech", json={**BODY, "stream": True})
        async with streaming as answer:
            await anext(answer.aiter_bytes())
            during = await num_tasks()
        await until(lambda: served.services.status().num_streams == 0)
        await until(lambda: len(asyncio.all_tasks()) <= before)
        after = await num_tasks()

    assert before < during
    assert after <= before


async def test_no_number_has_a_twin_that_says_since_when() -> None:
    async with serving() as served:
        await served.client.post("/v1/audio/speech", json=BODY)
        text = (await served.client.get("/metrics")).text

    assert "fishs2_requests_total" in text
    assert "_created" not in text


async def test_failed_and_aborted_requests_are_told_apart() -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        await served.client.post("/v1/audio/speech", json=BODY)
        text = (await served.client.get("/metrics")).text
    assert value(text, 'fishs2_requests_total{dialect="openai",outcome="failed"}') == 1

    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        async with served.client.stream(
            "POST", "/v1/audio/speech", json={**BODY, "stream": True}
        ) as answer:
            await anext(answer.aiter_bytes())
            running = (await served.client.get("/metrics")).text
        await until(lambda: served.services.status().num_streams == 0)
        text = (await served.client.get("/metrics")).text
    assert value(running, "fishs2_streams") == 1
    assert value(text, 'fishs2_requests_total{dialect="openai",outcome="aborted"}') == 1


async def test_engine_that_counts_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = EngineStats(num_slots=8, num_running=3, num_frames=77, num_restarts=1)
    engine = FakeEngine()
    monkeypatch.setattr(engine, "stats", lambda: stats)
    async with serving(engine) as served:
        await served.services.wait_for_engine()
        text = (await served.client.get("/metrics")).text

    assert value(text, "fishs2_engine_slots") == 8
    assert value(text, "fishs2_engine_active_slots") == 3
    assert value(text, "fishs2_engine_frames_total") == 77
    assert value(text, "fishs2_engine_restarts_total") == 1


async def test_speech_that_ran_away_is_spoken_again_and_counted() -> None:
    async with serving(FakeEngine(num_runaways=2)) as served:
        answer = await served.client.post("/v1/audio/speech", json=BODY)
        text = (await served.client.get("/metrics")).text

    assert answer.status_code == 200
    assert value(text, 'fishs2_rerolls_total{dialect="openai"}') == 2


async def test_speech_that_always_runs_away_is_an_error_and_no_sound() -> None:
    async with serving(FakeEngine(num_runaways=3)) as served:
        answer = await served.client.post("/v1/audio/speech", json=BODY)
        text = (await served.client.get("/metrics")).text

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "generation_failed"
    assert value(text, 'fishs2_requests_total{dialect="openai",outcome="failed"}') == 1
