"""/health, /v1/models, the API page, request ids, and how a busy or broken server answers."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fishs2.engines.base import EngineStats
from tests.fakes import FakeEngine, Timing
from tests.serving import serving, until

SPEECH = "/v1/audio/speech"
BODY = {"model": "fishs2", "input": "Hello there."}
MODELS = ["fishaudio/s2-pro", "fishs2", "fish-s2", "s2-pro"]


async def test_health_says_how_things_stand() -> None:
    async with serving() as served:
        await served.services.wait_for_engine()
        # The sample voices are stored behind the open port.
        while len((await served.client.get("/v1/voices")).json()["data"]) < 2:
            pass
        answer = await served.client.get("/health")

    assert answer.status_code == 200
    health = answer.json()
    assert health["status"] == "ok"
    assert health["ready"] is True
    assert health["engine"] == "fake"
    assert health["backend"] == "cpu"
    assert health["model_count"] == 4
    assert "gpu_device" in health
    assert health["version"]
    assert health["queue"] == {"streams": 0, "waiting": 0}


async def test_health_is_ok_while_the_engine_starts_and_requests_wait_for_it() -> None:
    engine = FakeEngine()
    has_started = asyncio.Event()
    engine.start = has_started.wait  # type: ignore[assignment, method-assign]
    async with serving(engine) as served:
        request = asyncio.create_task(served.client.post(SPEECH, json=BODY))
        health = (await served.client.get("/health")).json()
        assert (health["status"], health["ready"]) == ("ok", False)
        assert not request.done()
        has_started.set()
        answer = await request

    assert answer.status_code == 200


async def test_engine_that_cannot_start_is_503_and_not_worth_a_retry() -> None:
    async with serving(FakeEngine(start_error="no library in /opt/secret")) as served:
        answer = await served.client.post(SPEECH, json=BODY)
        health = (await served.client.get("/health")).json()

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "backend_not_available"
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "/opt" not in answer.text
    assert (health["status"], health["ready"]) == ("ok", False)
    assert "/opt" not in health["engine_error"]


async def test_health_is_answered_by_head_too() -> None:
    async with serving() as served:
        answer = await served.client.head("/health")

    assert answer.status_code == 200
    assert answer.content == b""


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_models_are_the_one_model_and_its_aliases(prefix: str) -> None:
    async with serving() as served:
        answer = await served.client.get(f"{prefix}/models")

    listing = answer.json()
    assert listing["object"] == "list"
    assert [model["id"] for model in listing["data"]] == MODELS
    assert all(model["object"] == "model" for model in listing["data"])


@pytest.mark.parametrize("path", ["fishaudio/s2-pro", "fishaudio%2Fs2-pro", "FishS2"])
async def test_one_model_is_found_by_its_name(path: str) -> None:
    async with serving() as served:
        answer = await served.client.get(f"/v1/models/{path}")

    assert answer.status_code == 200
    assert answer.json()["id"] in MODELS


async def test_model_names_are_listed_once_whatever_their_case() -> None:
    async with serving(default_model="A", model_aliases=("a", "B", "b")) as served:
        answer = await served.client.get("/v1/models")

    assert [model["id"] for model in answer.json()["data"]] == ["A", "B"]


async def test_openapi_documents_the_speech_route_and_hides_its_aliases() -> None:
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()

    operation = page["paths"]["/v1/audio/speech"]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = page["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
    assert {"input", "voice", "model", "response_format", "speed"} <= set(fields)
    assert "audio/wav" in operation["responses"]["200"]["content"]
    assert "/audio/speech" not in page["paths"]
    assert "/models" not in page["paths"]


async def test_every_reference_of_the_openapi_page_leads_somewhere() -> None:
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()

    objects = list(_objects_in(page))
    for each in objects:
        if isinstance(reference := each.get("$ref"), str):
            assert _resolve(page, reference), reference
        # Names of Pydantic's that JSON Schema does not know.
        assert not {"ge", "le", "gt", "lt", "$defs"} & set(each)
    limits = page["paths"]["/v1/tts"]["post"]["requestBody"]["content"]["application/json"]
    speed = limits["schema"]["properties"]["prosody"]["anyOf"][0]["properties"]["speed"]
    assert (speed["minimum"], speed["maximum"]) == (0.5, 2.0)


def _objects_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from _objects_in(item)


def _resolve(page: Any, reference: str) -> bool:
    for name in reference.removeprefix("#/").split("/"):
        if name not in page:
            return False
        page = page[name]
    return True


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/model", "GET, HEAD, POST"),
        ("/model/x", "DELETE, GET, HEAD, PATCH"),
        ("/v1/health", "GET, HEAD, POST"),
        ("/v1/tts", "POST"),
    ],
)
async def test_wrong_method_is_told_all_that_the_path_knows(path: str, allowed: str) -> None:
    async with serving() as served:
        for method in ("PUT", "TRACE"):
            answer = await served.client.request(method, path)
            assert answer.status_code == 405
            assert answer.headers["allow"] == allowed
            assert set(answer.json()) == {"status", "message"}


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_api_page_needs_no_other_host(path: str) -> None:
    async with serving() as served:
        page = await served.client.get(path)
        script = await served.client.get("/docs/files/swagger-ui-bundle.js")

    assert page.status_code == 200
    assert "https://" not in page.text
    assert script.status_code == 200


@pytest.mark.parametrize(
    ("given", "expected"),
    [("abc-123_.x", "abc-123_.x"), ("a b\tc<>\"'d", "abcd"), ("x" * 300, "x" * 128)],
)
async def test_request_id_is_cleaned_and_echoed(given: str, expected: str) -> None:
    async with serving() as served:
        answer = await served.client.get("/health", headers={"X-Request-ID": given})

    assert answer.headers["x-request-id"] == expected


async def test_request_id_is_made_where_none_is_given() -> None:
    async with serving(request_id_header="X-Trace") as served:
        first = await served.client.get("/health")
        second = await served.client.get("/nowhere")

    assert len(first.headers["x-trace"]) == 32
    assert first.headers["x-trace"] != second.headers["x-trace"]


async def test_full_queue_is_429_with_retry_after() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    text = "This is long enough for several chunks of audio."
    async with serving(engine, max_queue=1) as served:
        num_turns = engine.capabilities.num_turns
        requests = [
            asyncio.create_task(served.client.post(SPEECH, json={**BODY, "input": text}))
            for _ in range(num_turns + 3)
        ]
        done, waiting = await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 2:
            more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        engine.gate.set()
        accepted = await asyncio.gather(*waiting)

    assert [request.result().status_code for request in done] == [429, 429]
    refused = next(iter(done)).result()
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "server_busy"
    assert [answer.status_code for answer in accepted] == [200] * (num_turns + 1)


async def test_too_many_streams_are_429() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    text = "This is long enough for several chunks of audio."
    async with serving(engine, max_streams=1) as served:
        async with served.client.stream(
            "POST", SPEECH, json={**BODY, "input": text, "stream": True}
        ):
            refused = await served.client.post(SPEECH, json=BODY)
            engine.gate.set()

    assert refused.status_code == 429
    assert refused.headers["retry-after"]


async def test_defect_of_ours_is_a_500_in_shape_with_a_request_id() -> None:
    class BrokenEngine(FakeEngine):
        def find_voice(self, voice: str | None, language: str | None) -> str:
            raise RuntimeError("/opt/secret is broken")

    async with serving(BrokenEngine()) as served:
        answer = await served.client.post(SPEECH, json=BODY)

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_server_error"
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["x-request-id"]
    assert "/opt" not in answer.text


async def test_short_request_overtakes_a_long_one() -> None:
    engine = FakeEngine(timing=Timing(rtf=0.001))
    long_text = " ".join(f"Sentence number {n} goes on for a while." for n in range(60))
    async with serving(engine) as served:
        long = asyncio.create_task(served.client.post(SPEECH, json={**BODY, "input": long_text}))
        await until(lambda: len(engine.utterances) >= 2)
        short = await served.client.post(SPEECH, json=BODY)
        assert not long.done()
        await long

    assert short.status_code == 200


class TroubledEngine(FakeEngine):
    """Once it could speak."""

    def stats(self) -> EngineStats:  # type: ignore[override]
        return EngineStats(num_restarts=6, trouble="the engine was lost 6 times in a row")


async def test_engine_in_trouble_is_not_ready_and_the_reason_stays_in_the_log() -> None:
    async with serving(TroubledEngine()) as served:
        await until(lambda: served.services.status().capabilities is not None)
        health = (await served.client.get("/health")).json()
        metrics = (await served.client.get("/metrics")).text

    assert (health["status"], health["ready"], health["engine"]) == ("ok", False, "fake")
    assert health["engine_error"]
    assert "6 times" not in health["engine_error"]
    assert "fishs2_ready 0.0" in metrics
    assert "fishs2_engine_restarts_total 6.0" in metrics
