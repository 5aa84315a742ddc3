"""Fish Audio's OpenAI-compatible prefix, with the official `openai` package."""

import io
import wave
from typing import Any

import httpx
import openai
import pytest

from tests.server.recorded import Recorded

PATHS = ("/compat/v1", "/compat/api/v1", "/compat/openai/v1")
TEXT = "Hello from the compatible route."


def speak(
    server: Recorded, *, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    body = {"model": "fish-audio/s2.1-pro", "input": TEXT, "voice": "", **fields}
    return server.client.post("/compat/v1/audio/speech", json=body, headers=headers)


@pytest.mark.parametrize("path", PATHS)
def test_openai_client_speaks(server: Recorded, path: str) -> None:
    client = openai.OpenAI(base_url=f"{server.url}{path}", api_key="any", max_retries=0)
    audio = client.audio.speech.create(
        model="tts-1", voice="", input=TEXT, response_format="mp3"
    ).content
    with pytest.raises(openai.NotFoundError):
        client.audio.speech.create(model="tts-1", voice="nobody", input=TEXT)
    client.close()

    assert audio[:3] == b"ID3" or audio[0] == 0xFF


def test_default_is_pcm_at_44_khz(server: Recorded) -> None:
    plain, slow = speak(server), speak(server, response_format="pcm16")
    chosen = speak(server, sample_rate=16_000)
    wav = speak(server, response_format="wav", model="s1")

    rates = [answer.headers["x-audio-sample-rate"] for answer in (plain, slow, chosen)]
    assert rates == ["44100", "24000", "16000"]
    assert {answer.headers["content-type"] for answer in (plain, slow)} == {"audio/pcm"}
    assert abs(len(plain.content) / 44_100 - len(slow.content) / 24_000) < 0.05
    with wave.open(io.BytesIO(wav.content)) as file:
        assert file.getnchannels() == 1


def test_native_options_are_honoured(server: Recorded) -> None:
    provider = {"options": {"fish-audio": {"temperature": 0.4, "max_new_tokens": 99}, "x": {}}}
    headers = {"X-Fish-Temperature": "0.9", "X-Fish-Top-P": "0.3"}

    answer = speak(server, provider=provider, headers=headers, repetition_penalty=1.4)

    assert answer.status_code == 200
    asked = server.asked()["sampling"]
    names = ("temperature", "top_p", "max_new_tokens", "repetition_penalty")
    assert [asked[name] for name in names] == [0.4, 0.3, 99, 1.4]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"instructions": "Whisper."}, 400),
        ({"response_format": "aac"}, 400),
        ({"response_format": "flac"}, 400),
        ({"stream_format": "sse"}, 400),
        ({"voice": "alloy"}, 400),
        ({"voice": "nobody"}, 404),
        ({"model": "gpt-5"}, 404),
        ({"input": ""}, 400),
        ({"input": 5}, 400),
        ({"input_references": [{}]}, 400),
        ({"provider": {"options": {"fish-audio": {"volume": 3}}}}, 400),
        ({"provider": {"options": {"fish-audio": {"temperature": 3}}}}, 400),
        ({"provider": 5}, 400),
    ],
)
def test_wrong_field_is_refused_in_the_dialect(
    server: Recorded, fields: dict[str, Any], status: int
) -> None:
    answer = speak(server, **fields)

    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"code", "message", "type"}
    assert error["code"] == status
    assert TEXT not in answer.text


def test_other_errors_have_the_shape_too(server: Recorded) -> None:
    path = "/compat/v1/audio/speech"
    answers = {
        400: server.client.post(path, content=b"{x", headers={"Content-Type": "application/json"}),
        404: server.client.get("/compat/v1/nothing"),
        405: server.client.get(path),
        415: server.client.post(path, content=b"x", headers={"Content-Type": "text/plain"}),
    }

    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == status
