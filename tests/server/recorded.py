"""A server process whose engine writes down what it is asked, and what its tests say to it."""

import io
import json
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

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


@contextmanager
def recording_server(folder: Path, **env: Any) -> Iterator[Recorded]:
    """Run a server process in `folder` whose engine writes down what it is asked."""
    record = folder / "record.jsonl"
    record.touch()
    process = server_process(
        folder, module="tests.recording_server", arguments=(), RECORDING=str(record), **env
    )
    with process as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        yield Recorded(url, client, folder, record)


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and param of an answer in the OpenAI error shape."""
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["code"], error["param"]
