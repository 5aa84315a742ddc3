"""FISHS2_ENGINE=s2 through the endpoints, on the small golden model."""

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from fishs2.engines.base import Sampling, Utterance
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine.engine import S2Engine
from tests.engines.s2.golden import MODEL_FILES
from tests.server.recorded import sine_wav
from tests.serving import PATIENCE_S, server_process

FRAME = 2048
SHORT = {"temperature": 0, "max_new_tokens": 13}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    environment: dict[str, Any] = {
        "FISHS2_ENGINE": "s2",
        "FISHS2_BACKEND": "cpu",
        "FISHS2_MODEL_PATH": str(MODEL_FILES.model),
        "FISHS2_TOKENIZER_PATH": str(MODEL_FILES.tokenizer),
    }
    with (
        server_process(tmp_path_factory.mktemp("s2"), **environment) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        yield client


def speak(client: httpx.Client, **fields: object) -> httpx.Response:
    """POST a short greedy request."""
    body = {"model": "s2-pro", "input": "Hello there.", "fishs2": SHORT, **fields}
    return client.post("/v1/audio/speech", json=body)


def pcm_of(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == 44_100
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_health_says_that_s2_speaks(server: httpx.Client) -> None:
    health = server.get("/health").json()

    assert (health["engine"], health["backend"], health["device"]) == ("s2", "cpu", "cpu")
    assert health["ready"]
    assert health["model_loaded"]


async def test_audio_is_what_the_engine_makes(server: httpx.Client) -> None:
    engine = S2Engine(MODEL_FILES, Precision())
    await engine.start()
    utterance = Utterance("Hello there.", sampling=Sampling(temperature=0, max_new_tokens=13))
    pcm = np.concatenate([chunk.pcm async for chunk in engine.speak(utterance)])
    await engine.close()

    served = pcm_of(speak(server))

    assert len(served) == 13 * FRAME
    np.testing.assert_allclose(served / 32768, np.clip(pcm, -1, 1), atol=2e-4)


def test_same_seed_same_sound(server: httpx.Client) -> None:
    fields = {"fishs2": {"max_new_tokens": 9}, "seed": 5}

    first, second = speak(server, **fields), speak(server, **fields)

    assert first.content == second.content
    assert speak(server, **{**fields, "seed": 6}).content != first.content


def test_streamed_pcm_equals_the_whole(server: httpx.Client) -> None:
    fields = {"response_format": "pcm", "sample_rate": 44_100}

    whole = speak(server, **fields)
    streamed = speak(server, **fields, stream=True)

    assert streamed.headers.get("transfer-encoding") == "chunked"
    assert streamed.content == whole.content


def test_stored_voice_is_cloned_and_changes_the_sound(server: httpx.Client) -> None:
    stored = server.post(
        "/v1/audio/voices",
        files={"files": ("a.wav", sine_wav(), "audio/wav")},
        data={"voice_id": "mine", "prompt_text": "A voice."},
    )
    cloned = speak(server, voice="mine")

    assert stored.status_code == 200
    assert "X-Fishs2-Cloning" not in cloned.headers
    assert not np.array_equal(pcm_of(cloned), pcm_of(speak(server)))
    assert pcm_of(speak(server, voice="mine")).tolist() == pcm_of(cloned).tolist()


def test_limits_of_the_wrapper_are_accepted(server: httpx.Client) -> None:
    for sampling in ({"top_k": 0}, {"top_p": 0}, {"temperature": 2}, {"top_k": 500, "top_p": 1}):
        answer = speak(server, fishs2={**sampling, "max_new_tokens": 3})
        assert answer.status_code == 200


def test_missing_model_leaves_the_server_up_and_says_503(tmp_path: Path) -> None:
    environment: dict[str, Any] = {
        "FISHS2_ENGINE": "s2",
        "FISHS2_MODEL_PATH": str(tmp_path / "missing.gguf"),
    }
    with server_process(tmp_path, wait_for_engine=False, **environment) as url:
        health = httpx.get(f"{url}/health", timeout=PATIENCE_S).json()
        answer = httpx.post(
            f"{url}/v1/audio/speech", json={"model": "fishs2", "input": "Hi"}, timeout=PATIENCE_S
        )

    assert health["status"] == "ok"
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "backend_not_available"
    for said in (health["engine_error"], answer.json()["error"]["message"]):
        assert "its model missing.gguf is not there; `fishs2 fetch` downloads it" in said
        assert str(tmp_path) not in said
