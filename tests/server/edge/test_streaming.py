"""Streamed answers: first bytes early, honest ends, and nobody left working for nobody."""

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from fishs2.audio.decode import decode_audio
from tests.fakes import CHARS_PER_S, FakeEngine, Timing
from tests.serving import Served, serving, until

SPEECH = "/v1/audio/speech"
LONG_TEXT = " ".join(f"Sentence number {n} goes on for a while." for n in range(30))


def body(**fields: object) -> dict[str, object]:
    return {"model": "fishs2", "input": LONG_TEXT, **fields}


async def wait_for_idle(served: Served) -> None:
    """Wait until the engine works for nobody; the test's own timeout is the limit."""
    await until(lambda: not (served.engine.num_active or served.services.status().num_streams))


@pytest.mark.parametrize("fields", [{"stream_format": "audio"}, {"stream": True}])
async def test_first_bytes_arrive_before_the_speech_is_finished(fields: dict[str, object]) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        async with served.client.stream("POST", SPEECH, json=body(**fields)) as answer:
            pieces = answer.aiter_raw()
            first = await anext(pieces)
            assert engine.num_finished == 0
            engine.gate.set()
            rest = b"".join([piece async for piece in pieces])

    assert answer.headers["transfer-encoding"] == "chunked"
    assert first[:4] == b"RIFF"
    assert first[40:44] == b"\xff\xff\xff\xff"
    decoded = decode_audio(first + rest, max_seconds=600)
    assert len(decoded.pcm) / decoded.sample_rate_hz > len(LONG_TEXT) / CHARS_PER_S * 0.95


@pytest.mark.parametrize(
    ("fields", "is_whole"),
    [
        ({}, True),
        ({"response_format": "wav"}, True),
        ({"response_format": "wav", "stream": True}, False),
        ({"response_format": "wav", "stream_format": "audio"}, False),
        ({"response_format": "wav", "stream_format": "audio", "stream": False}, True),
        ({"model": "tts-1"}, False),
        ({"model": "tts-1", "stream": None}, False),
        ({"model": "tts-1", "stream": False}, True),
        ({"response_format": "pcm"}, False),
        ({"response_format": "opus", "stream": False}, True),
    ],
)
@pytest.mark.parametrize("path", [SPEECH, "/audio/speech"])
async def test_all_but_wav_is_streamed_unless_the_request_says(
    path: str, fields: dict[str, object], is_whole: bool
) -> None:
    async with serving() as served:
        answer = await served.client.post(path, json=body(**fields))

    assert answer.status_code == 200
    assert ("content-length" in answer.headers) is is_whole
    assert ("x-audio-duration" in answer.headers) is is_whole
    assert (answer.headers.get("transfer-encoding") == "chunked") is not is_whole


@pytest.mark.parametrize("path", ["/compat/v1/audio/speech", "/compat/api/v1/audio/speech"])
@pytest.mark.parametrize("name", [None, "wav", "mp3"])
async def test_compatible_prefix_streams_every_format_unless_the_request_says(
    path: str, name: str | None
) -> None:
    fields = {"model": "s2-pro", "response_format": name}
    async with serving() as served:
        streamed = await served.client.post(path, json=body(**fields))
        whole = await served.client.post(path, json=body(**fields, stream=False))

    assert streamed.headers["transfer-encoding"] == "chunked"
    assert int(whole.headers["content-length"]) == len(whole.content)


async def test_default_format_of_the_settings_is_streamed_too() -> None:
    async with serving(default_format="mp3") as served:
        answer = await served.client.post(SPEECH, json=body())

    assert answer.headers["transfer-encoding"] == "chunked"


async def test_streamed_pcm_equals_the_whole() -> None:
    async with serving() as served:
        whole = await served.client.post(SPEECH, json=body(response_format="pcm", stream=False))
        streamed = await served.client.post(SPEECH, json=body(response_format="pcm"))

    assert streamed.content == whole.content


@pytest.mark.parametrize("asked_by", ["field", "header"])
async def test_events_carry_audio_and_end_with_integer_usage(asked_by: str) -> None:
    fields = {"stream_format": "sse"} if asked_by == "field" else {}
    headers = {"Accept": "text/event-stream"} if asked_by == "header" else {}
    async with serving() as served:
        answer = await served.client.post(SPEECH, json=body(**fields), headers=headers)

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    done = events[-1]
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["input_tokens"] == len(LONG_TEXT)
    assert done["usage"]["total_tokens"] == len(LONG_TEXT) + done["usage"]["output_tokens"]
    assert all(type(value) is int for value in done["usage"].values())
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    decoded = decode_audio(audio, max_seconds=600)
    seconds = len(decoded.pcm) / decoded.sample_rate_hz
    assert done["usage"]["output_tokens"] == pytest.approx(seconds * 44_100 / 2_048, abs=2)


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream_format": "sse"}])
async def test_client_that_leaves_frees_the_engine(fields: dict[str, object]) -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        request = asyncio.create_task(served.client.post(SPEECH, json=body(**fields)))
        await until(lambda: engine.num_active >= 2)
        request.cancel()
        await asyncio.wait([request])
        await wait_for_idle(served)

        assert engine.num_aborted == 2
        assert len(engine.utterances) == 2


@pytest.mark.parametrize(
    "fields", [{}, {"model": "tts-1"}, {"stream": True}, {"stream_format": "sse"}]
)
async def test_failure_before_the_first_audio_is_an_error_answer(
    fields: dict[str, object],
) -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        answer = await served.client.post(SPEECH, json=body(**fields))

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "generation_failed"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream_format": "sse"}])
async def test_engine_that_is_lost_now_and_then_is_heard_by_nobody(
    fields: dict[str, object],
) -> None:
    asked = body(input="One sentence.", response_format="pcm", **fields)
    async with serving() as served:
        alone = await served.client.post(SPEECH, json=asked)
    async with serving(FakeEngine(num_losses=2)) as served:
        answer = await served.client.post(SPEECH, json=asked)
        metrics = (await served.client.get("/metrics")).text

    assert answer.status_code == 200
    assert answer.content == alone.content
    assert 'fishs2_requests_total{dialect="openai",outcome="finished"} 1.0' in metrics
    assert 'fishs2_rerolls_total{dialect="openai"} 2.0' in metrics


async def test_engine_that_is_lost_at_every_try_is_an_error_answer() -> None:
    async with serving(FakeEngine(num_losses=99)) as served:
        answer = await served.client.post(SPEECH, json=body())
        metrics = (await served.client.get("/metrics")).text

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "generation_failed"
    assert 'fishs2_requests_total{dialect="openai",outcome="failed"} 1.0' in metrics


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream_format": "sse"}])
@pytest.mark.parametrize("text", ["Room 42.", LONG_TEXT])
async def test_speech_without_a_sound_is_never_an_answer(
    text: str, fields: dict[str, object]
) -> None:
    async with serving(FakeEngine(num_silent=99)) as served:
        answer = await served.client.post(SPEECH, json=body(input=text, **fields))
        metrics = (await served.client.get("/metrics")).text

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "generation_failed"
    assert 'fishs2_requests_total{dialect="openai",outcome="failed"} 1.0' in metrics


@pytest.mark.parametrize("fields", [{}, {"stream": True}, {"stream_format": "sse"}])
async def test_text_that_a_plain_engine_cannot_read_is_refused_at_the_first_try(
    fields: dict[str, object],
) -> None:
    capabilities = replace(FakeEngine().capabilities, spelling="plain", voices=("en",))
    engine = FakeEngine(capabilities=capabilities, num_silent=99)
    async with serving(engine) as served:
        answer = await served.client.post(SPEECH, json=body(input="Hello.", **fields))

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "empty_input"
    assert len(engine.utterances) == 1


async def test_refusal_after_the_first_event_is_an_error_event() -> None:
    capabilities = replace(FakeEngine().capabilities, spelling="plain", voices=("en",))
    engine = FakeEngine(capabilities=capabilities, silent_texts=("ha",))
    async with serving(engine) as served:
        text = "A sentence that is long enough to stand alone, as it has more than sixty.\n\nha"
        answer = await served.client.post(SPEECH, json=body(input=text, stream_format="sse"))

    last = json.loads(answer.text.split("\n\n")[-2][6:])
    assert last["type"] == "speech.audio.error"
    assert last["error"]["code"] == "empty_input"


async def test_failure_in_the_middle_of_a_whole_answer_is_an_error_answer() -> None:
    async with serving(FakeEngine(fail_after_chunks=2)) as served:
        answer = await served.client.post(SPEECH, json=body())

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "generation_failed"


async def test_failure_after_the_first_audio_cuts_the_connection() -> None:
    async with serving(FakeEngine(fail_after_chunks=2)) as served:
        async with served.client.stream("POST", SPEECH, json=body(model="tts-1")) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()
        await wait_for_idle(served)


async def test_failure_after_the_first_event_is_an_error_event() -> None:
    async with serving(FakeEngine(fail_after_chunks=2)) as served:
        answer = await served.client.post(SPEECH, json=body(stream_format="sse"))

    last = json.loads(answer.text.split("\n\n")[-2][6:])
    assert last["type"] == "speech.audio.error"
    assert last["error"]["code"] == "generation_failed"


async def test_slow_reader_delays_nobody_and_holds_at_most_two_utterances() -> None:
    async with serving() as served:
        slow = served.client.build_request(
            "POST", SPEECH, json=body(input=LONG_TEXT * 9, stream=True, response_format="pcm")
        )
        answer = await served.client.send(slow, stream=True)
        other = await served.client.post(SPEECH, json=body())
        assert other.status_code == 200
        assert served.engine.num_active == 0
        num_before = len(served.engine.utterances)
        assert num_before < LONG_TEXT.count(".") * 9
        await answer.aclose()
        await wait_for_idle(served)


async def test_client_that_takes_nothing_for_too_long_is_cut_off() -> None:
    async with serving(client_stall_s=0.2) as served:
        slow = served.client.build_request(
            "POST", SPEECH, json=body(input=LONG_TEXT * 9, stream=True, response_format="pcm")
        )
        answer = await served.client.send(slow, stream=True)
        await wait_for_idle(served)
        with pytest.raises(httpx.RemoteProtocolError):
            await answer.aread()


async def test_next_utterance_is_prepared_while_the_current_one_is_read() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=0.01))
    engine.gate.clear()
    async with serving(engine) as served:
        async with served.client.stream("POST", SPEECH, json=body(stream=True)):
            await until(lambda: len(engine.utterances) >= 2)
            assert engine.num_active == 2
            engine.gate.set()


async def test_mixed_loads_and_random_departures_leak_nothing() -> None:
    rng = np.random.default_rng(7)
    engine = FakeEngine(timing=Timing(first_audio_s=0.002, rtf=0.0005))

    async def one_client(served: Served, index: int) -> None:
        patience_s = float(rng.uniform(0.001, 0.15))
        deliveries: list[dict[str, Any]] = [{}, {"stream": True}, {"stream_format": "sse"}]
        fields = deliveries[index % 3]
        try:
            async with asyncio.timeout(patience_s):
                await served.client.post(SPEECH, json=body(**fields))
        except TimeoutError:
            pass

    async with serving(engine) as served:
        for _ in range(5):
            await asyncio.gather(*(one_client(served, index) for index in range(20)))
        await wait_for_idle(served)
        answer = await served.client.post(SPEECH, json=body(input="Still here."))

    assert answer.status_code == 200
    assert engine.num_finished + engine.num_aborted == len(engine.utterances)


@pytest.mark.parametrize("leaves", [False, True])
async def test_engine_is_told_that_a_speech_has_ended_however_it_ended(leaves: bool) -> None:
    engine = FakeEngine()
    async with serving(engine) as served:
        async with served.client.stream("POST", SPEECH, json=body(stream=True)) as answer:
            pieces = answer.aiter_raw()
            await anext(pieces)
            if not leaves:
                [piece async for piece in pieces]
        await wait_for_idle(served)

    speeches = {utterance.part.speech for utterance in engine.utterances if utterance.part}
    assert len(speeches) == 1
    assert set(engine.ended_speeches) == speeches
