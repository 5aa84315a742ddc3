"""One server process with a recording engine for all tests of the wrapper's contract."""

import io
import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving import PATIENCE_S, server_process

TRANSCRIPT = "The window was open, granted, but the room is on the second floor."


@dataclass(frozen=True, slots=True)
class Recorded:
    """The server under test. folder: where it runs; voices are in `voices` below it."""

    url: str
    client: httpx.Client
    folder: Path
    record: Path

    def asked(self) -> dict[str, Any]:
        """What the engine was asked last."""
        line: dict[str, Any] = json.loads(self.record.read_text().splitlines()[-1])
        return line

    def speak(self, **fields: Any) -> httpx.Response:
        """POST /v1/audio/speech with a model and a text, unless `fields` have others."""
        body = {"model": "fishs2", "input": "Hi there", **fields}
        return self.client.post("/v1/audio/speech", json=body)

    def upload(self, voice_id: str, *, audio: bytes | None = None, **fields: str) -> httpx.Response:
        """Store a voice with one sample and a transcript."""
        return self.client.post(
            "/v1/audio/voices",
            files={"files": ("sample.wav", audio or sine_wav(), "audio/wav")},
            data={"voice_id": voice_id, "prompt_text": TRANSCRIPT, **fields},
        )


def sine_wav(frequency_hz: float = 220.0, seconds: float = 1.0, rate_hz: int = 16_000) -> bytes:
    """A WAV file with a sine, 16-bit mono."""
    # A minus cosine: it begins at its lowest point, so that every period has its upward crossing.
    samples = -np.cos(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate_hz)
        wav.writeframes((samples * 12_000).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="package")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("recorded")
    record = folder / "record.jsonl"
    record.touch()
    process = server_process(
        folder,
        module="tests.recording_server",
        arguments=(),
        RECORDING=str(record),
        FISHS2_REFERENCE_ROOTS=str(folder / "audio"),
    )
    (folder / "audio").mkdir()
    with process as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        server = Recorded(url, client, folder, record)
        assert server.upload("sample_male").status_code == 200
        yield server


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and param of an answer in the OpenAI error shape."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"], error["param"]
