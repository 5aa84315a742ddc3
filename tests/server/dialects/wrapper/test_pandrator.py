"""Pandrator's own order of calls (contract B), made as it makes them."""

import io
import socket
import wave
from typing import Any
from urllib.parse import quote

import httpx

from tests.server.recorded import Recorded, sine_wav

KEY = {"Authorization": "Bearer sk-placeholder"}
VOICE_ID = "pandrator-old-sailor-89abcdef01"

MODEL_PATHS = ("/v1/models", "/models", "/v1/audio/models", "/audio/models")
VOICE_PATHS = ("/v1/audio/voices", "/audio/voices", "/v1/voices", "/voices")
DELETE_PATHS = ("/v1/audio/voices", "/audio/voices", "/v1/voices", "/voices")


def body(text: str, voice: str = "default", speed: float = 1.0) -> dict[str, Any]:
    """What Pandrator posts for a sentence."""
    return {
        "model": "fishaudio/s2-pro",
        "input": text,
        "voice": voice,
        "response_format": "wav",
        "speed": speed,
        "temperature": 0.7,
        "top_p": 0.7,
        "chunk_length": 200,
        "latency": "balanced",
        "normalize": True,
        "prosody": {"speed": speed, "volume": 0.0, "normalize_loudness": True},
    }


def seconds_of(answer: httpx.Response) -> float:
    """Duration of a WAV answer, read as a strict client reads it."""
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getsampwidth(), file.getnchannels()) == (2, 1)
        return float(file.getnframes() / file.getframerate())


def test_discovery_finds_the_openai_adapter(recorded: Recorded) -> None:
    schema = recorded.client.get("/openapi.json").json()

    operation = schema["paths"]["/v1/audio/speech"]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = schema["components"]["schemas"][reference.rsplit("/", 1)[-1]]["properties"]
    assert {"input", "voice", "model", "response_format", "speed"} <= set(fields)
    assert any(kind.startswith("audio/") for kind in operation["responses"]["200"]["content"])
    assert not [path for path in schema["paths"] if path.startswith(("/audio", "/voices"))]
    for path in MODEL_PATHS:
        listing = recorded.client.get(path).json()
        assert [model["id"] for model in listing["data"]] == [
            "fishaudio/s2-pro",
            "fishs2",
            "fish-s2",
            "s2-pro",
        ]
    for path in VOICE_PATHS:
        assert recorded.client.get(path).json()["data"]


def test_whole_story_from_check_to_delete_again(recorded: Recorded) -> None:
    client = recorded.client
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    socket.create_connection((host, port), timeout=0.35).close()
    assert client.get("/health", headers=KEY).json()["status"] == "ok"

    audio = sine_wav(440, seconds=2)
    uploaded = client.post(
        "/v1/audio/voices",
        headers=KEY,
        files=[
            ("files", ("sailor.wav", audio, "audio/wav")),
            ("audio_sample", ("sailor.wav", audio, "audio/wav")),
        ],
        data={
            "voice_id": VOICE_ID,
            "name": VOICE_ID,
            "purpose": "user_data",
            "prompt_text": "Said by the sailor.",
        },
    )
    assert uploaded.json()["id"] == VOICE_ID
    for purpose in ("user_data", "assistants"):
        listing = client.get("/v1/files", params={"purpose": purpose, "limit": 10000}, headers=KEY)
        assert VOICE_ID in [entry["id"] for entry in listing.json()["data"]]

    spoken = client.post("/v1/audio/speech", json=body("Ahoy there.", VOICE_ID), headers=KEY)
    assert seconds_of(spoken) > 0.5
    asked = recorded.asked()
    assert asked["reference"]["transcript"] == "Said by the sailor."
    assert (asked["sampling"]["temperature"], asked["sampling"]["top_p"]) == (0.7, 0.7)

    first = client.delete(f"/v1/audio/voices/{quote(VOICE_ID, safe='')}", headers=KEY)
    assert first.is_success
    again = [client.delete(f"{path}/{VOICE_ID}", headers=KEY).status_code for path in DELETE_PATHS]
    assert again == [404] * 4
    assert VOICE_ID not in client.get("/v1/audio/voices", headers=KEY).text


def test_speed_of_both_fields_is_applied_once(recorded: Recorded) -> None:
    text = "A sentence that is long enough to tell its duration by."

    durations = [
        seconds_of(recorded.client.post("/v1/audio/speech", json=body(text, speed=speed)))
        for speed in (1.0, 1.5)
    ]

    assert abs(durations[0] / durations[1] - 1.5) < 0.05


def test_loudness_is_normalised_and_volume_comes_after(recorded: Recorded) -> None:
    def rms(**prosody: Any) -> float:
        request = {**body("Some speech, loud or not."), "prosody": prosody}
        import numpy as np

        answer = recorded.client.post("/v1/audio/speech", json=request)
        samples = np.frombuffer(answer.content[44:], "<i2") / 32768
        return float(20 * np.log10(np.sqrt(np.mean(samples**2))))

    plain, even, softer = rms(), rms(normalize_loudness=True), rms(volume=-6)

    # A sine of 0.5 is at -9 dB.
    assert abs(plain - softer - 6) < 0.1
    assert even < plain - 6
    assert abs(rms(normalize_loudness=True, volume=-6) - (even - 6)) < 0.2


def test_voice_not_found_is_not_masked_by_the_fallback_path(recorded: Recorded) -> None:
    for path in ("/v1/audio/speech", "/audio/speech"):
        answer = recorded.client.post(path, json=body("Hi", "nobody"), headers=KEY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "voice_not_found")


def test_requests_of_other_adapters_get_clear_answers(recorded: Recorded) -> None:
    xtts = {
        "model": "tts_models/multilingual/multi-dataset/xtts_v2",
        "input": "Hi",
        "language": "en",
        "instructions": '{"xtts": {"speed": 1.0}}',
    }
    voxcpm = {"model": "fishs2", "input": "Hi", "voxcpm": {"cfg_value": 2}}

    assert recorded.client.post("/v1/audio/speech", json=xtts).status_code == 404
    assert recorded.client.post("/v1/audio/speech", json=voxcpm).status_code == 200
