"""The official `openai` package against a real server process with the `builtin` engine."""

import io
import time
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.audio.pcm import from_int16
from tests.fakes import FakeEngine
from tests.serving import server_process, serving

TEXT = "The quick brown fox jumps over the lazy dog."
FORMATS = ["mp3", "opus", "aac", "flac", "wav", "pcm"]


@pytest.fixture
def client(builtin_server: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{builtin_server}/v1", api_key="sk-placeholder")


def check_speech(content: bytes, name: str) -> float:
    """Assert that `content` sounds like TEXT being read; returns its seconds."""
    if name == "pcm":
        pcm, rate_hz = from_int16(np.frombuffer(content, np.int16)), 24_000
    else:
        decoded = decode_audio(content, max_seconds=60)
        pcm, rate_hz = decoded.pcm, decoded.sample_rate_hz
    seconds = len(pcm) / rate_hz
    assert 2.0 < seconds < 4.5
    assert 0.02 < float(np.sqrt(np.mean(np.square(pcm)))) < 0.4
    assert float(np.max(np.abs(pcm))) <= 1.0
    loud = np.abs(pcm) > 0.01
    silence_s = max(np.argmax(loud), np.argmax(loud[::-1])) / rate_hz
    assert silence_s < 0.4
    return seconds


def test_default_call_is_an_mp3(client: openai.OpenAI) -> None:
    speech = client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)

    assert speech.response.headers["content-type"] == "audio/mpeg"
    assert speech.response.headers["x-fishs2-engine"] == "builtin"
    check_speech(speech.content, "mp3")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_whole_and_streamed_has_the_same_duration(
    client: openai.OpenAI, name: str
) -> None:
    call = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": name}
    whole = client.audio.speech.create(**call, extra_body={"stream": False})  # type: ignore[arg-type]
    assert int(whole.response.headers["content-length"]) == len(whole.content)
    streaming = client.audio.speech.with_streaming_response
    flag = {"stream": True} if name == "wav" else None
    with streaming.create(**call, extra_body=flag) as answer:  # type: ignore[arg-type]
        pieces = list(answer.iter_bytes())

    assert len(pieces) > 1
    seconds = check_speech(whole.content, name)
    assert check_speech(b"".join(pieces), name) == pytest.approx(seconds, abs=0.06)


async def read_while_held(engine: FakeEngine, **call: Any) -> tuple[bytes, bytes]:
    """What openai's client gets before the engine goes on, and after."""
    engine.gate.clear()
    async with serving(engine) as served:
        client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="sk-placeholder")
        streaming = client.audio.speech.with_streaming_response
        async with client, streaming.create(voice="alloy", input=TEXT * 9, **call) as answer:
            pieces = answer.iter_bytes()
            first = await anext(pieces)
            assert engine.num_finished == 0
            engine.gate.set()
            rest = b"".join([piece async for piece in pieces])
    return first, rest


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "wav"])
async def test_speech_is_streamed_without_being_asked_for_it(name: str) -> None:
    first, rest = await read_while_held(FakeEngine(), model="tts-1", response_format=name)

    assert first
    assert rest


async def test_default_format_of_openais_models_is_streamed() -> None:
    first, _ = await read_while_held(FakeEngine(), model="gpt-4o-mini-tts")

    assert first.startswith((b"ID3", b"\xff"))


async def test_wav_is_streamed_where_it_is_asked_for() -> None:
    first, _ = await read_while_held(
        FakeEngine(), model="tts-1", response_format="wav", extra_body={"stream": True}
    )

    assert first.startswith(b"RIFF")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("is_read_whole", [False, True])
async def test_speech_that_breaks_off_is_an_error_of_the_client(
    name: str, is_read_whole: bool
) -> None:
    async with serving(FakeEngine(fail_after_chunks=2)) as served:
        client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
        call: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": TEXT * 9}
        call |= {"response_format": name, "extra_body": {"stream": True}}
        async with client:
            if is_read_whole:
                with pytest.raises(openai.APIConnectionError):
                    await client.audio.speech.create(**call)
            else:
                async with client.audio.speech.with_streaming_response.create(**call) as answer:
                    assert answer.status_code == 200
                    with pytest.raises(httpx2.RemoteProtocolError):
                        await answer.read()


@pytest.mark.parametrize("name", FORMATS)
async def test_speech_that_never_begins_is_a_status(name: str) -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        client = openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
        async with client:
            with pytest.raises(openai.InternalServerError) as failed:
                await client.audio.speech.create(
                    model="tts-1",
                    voice="alloy",
                    input=TEXT,
                    response_format=name,  # type: ignore[arg-type]
                )

    assert failed.value.code == "generation_failed"


def test_file_is_written(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "speech.flac"
    speech = client.audio.speech.create(
        model="tts-1", voice="nova", input=TEXT, response_format="flac"
    )
    speech.write_to_file(path)

    check_speech(path.read_bytes(), "flac")


def test_speed_shortens_the_speech(client: openai.OpenAI) -> None:
    def seconds(speed: float) -> float:
        speech = client.audio.speech.create(
            model="tts-1", voice="alloy", input=TEXT, response_format="wav", speed=speed
        )
        decoded = decode_audio(speech.content, max_seconds=60)
        return len(decoded.pcm) / decoded.sample_rate_hz

    assert seconds(2.0) / seconds(1.0) == pytest.approx(0.5, rel=0.05)


def test_events_arrive_as_raw_bytes(client: openai.OpenAI) -> None:
    speech = client.audio.speech.create(
        model="gpt-4o-mini-tts", voice="alloy", input=TEXT, stream_format="sse"
    )

    assert speech.content.count(b"speech.audio.delta") >= 1
    assert speech.content.rstrip().splitlines()[-1].startswith(b'data: {"type":"speech.audio.done"')


@pytest.mark.parametrize("name", ["fishaudio/s2-pro", "fishs2", "fish-s2", "s2-pro"])
def test_models_are_listed_and_found(client: openai.OpenAI, name: str) -> None:
    assert name in [model.id for model in client.models.list()]
    assert client.models.retrieve(name).id == name


def test_errors_are_the_clients_own_exceptions(client: openai.OpenAI) -> None:
    call = {"model": "tts-1", "voice": "alloy", "input": TEXT}
    with pytest.raises(openai.NotFoundError) as missing:
        client.audio.speech.create(**{**call, "voice": "nobody"})  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")
    with pytest.raises(openai.UnprocessableEntityError) as wrong:
        client.audio.speech.create(**{**call, "speed": 9.0})  # type: ignore[arg-type]

    assert missing.value.code == "voice_not_found"
    assert missing.value.param == "voice"
    assert wrong.value.code == "validation_error"
    assert wrong.value.param == "speed"
    assert wrong.value.request_id


async def test_async_client_streams(builtin_server: str) -> None:
    client = openai.AsyncOpenAI(base_url=f"{builtin_server}/v1", api_key="sk-placeholder")
    received = io.BytesIO()
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1",
        voice="alloy",
        input=TEXT,
        response_format="mp3",
    ) as answer:
        async for piece in answer.iter_bytes():
            received.write(piece)
    await client.close()

    check_speech(received.getvalue(), "mp3")


def test_busy_server_is_a_rate_limit_error(tmp_path: Path) -> None:
    with server_process(tmp_path, FISHS2_MAX_STREAMS="1") as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
        streaming = client.audio.speech.with_streaming_response
        call = {"model": "tts-1", "voice": "alloy", "response_format": "pcm"}
        long = {**call, "input": f"{TEXT} " * 200}
        with streaming.create(**long):  # type: ignore[arg-type]
            with pytest.raises(openai.RateLimitError) as refusal:
                client.audio.speech.create(**call, input=TEXT)  # type: ignore[arg-type]

        assert int(refusal.value.response.headers["retry-after"]) >= 1
        # The place of a client that left is free again, after a retry at most.
        patient = client.with_options(max_retries=5)
        assert patient.audio.speech.create(**call, input=TEXT).content  # type: ignore[arg-type]


def test_log_files_hold_requests_and_never_their_text(tmp_path: Path) -> None:
    with server_process(tmp_path) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="sk-very-secret")
        client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
        with pytest.raises(openai.NotFoundError):
            client.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)
        access_log = tmp_path / "logs" / "access.log"
        while access_log.read_text().count("\n") < 3:
            time.sleep(0.02)

    logs = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert set(logs) == {"app.log", "access.log", "errors.log"}
    assert 'path="/v1/audio/speech"' in logs["access.log"]
    assert 'status="404"' in logs["access.log"]
    assert 'outcome="finished"' in logs["app.log"]
    assert "quick brown" not in "".join(logs.values())
    assert "very-secret" not in "".join(logs.values())
