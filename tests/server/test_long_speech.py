"""Answers that are too large for memory."""

import os
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from fishs2.store import spool as spool_module
from fishs2.store.spool import MAX_MEMORY_BYTES
from tests.fakes import FakeEngine, Timing
from tests.serving import serving

TEXT = "The wind blew from the sea all night and nobody slept. " * 215
SPEECH = {"model": "fishs2", "input": TEXT, "response_format": "wav", "stream": False}


async def test_large_answer_is_whole_and_its_file_has_no_name(tmp_path: Path) -> None:
    temp_dir = tmp_path / "temp"
    even = {"prosody": {"normalize_loudness": True}}
    in_parts = {"stream": True, "response_format": "pcm"}
    async with serving(FakeEngine(timing=Timing(chunk_s=5.0)), temp_dir=temp_dir) as served:
        plain, made_even, streamed = [
            await served.client.post("/v1/audio/speech", json=SPEECH | more)
            for more in ({}, even, in_parts)
        ]
        assert os.listdir(temp_dir) == []

    parts = np.frombuffer(streamed.content, np.int16).astype(np.float32)
    for answer in (plain, made_even):
        assert answer.status_code == 200
        assert len(answer.content) > MAX_MEMORY_BYTES
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert int.from_bytes(answer.content[40:44], "little") == len(answer.content) - 44
        whole = np.frombuffer(answer.content[44:], np.int16).astype(np.float32)
        # One gain for all of it where there is a loudness, and none where there is none.
        assert len(whole) == len(parts)
        gain = (whole @ parts) / (parts @ parts)
        assert np.abs(whole - gain * parts).max() < 2
        assert (abs(gain - 1) < 1e-6) == (answer is plain)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk here")
@pytest.mark.parametrize("path", ["/v1/audio/speech", "/api/open/tts"])
async def test_full_disk_refuses_a_large_answer_before_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    def open_full(**_: object) -> IO[bytes]:
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr(spool_module, "TemporaryFile", open_full)
    body = SPEECH if path == "/v1/audio/speech" else OPEN
    async with serving(temp_dir=tmp_path) as served:
        answer = await served.client.post(path, json=body)
        short = await served.client.post(path, json=body | {"input": "Hi.", "text": "Hi."})

    assert answer.status_code == 507
    assert "store_full" in answer.text
    assert "the disk is full" in answer.text
    assert "FISHS2_TEMP_DIR" in caplog.text
    assert short.status_code == 200


OPEN = {"text": TEXT, "reference_id": "default", "format": "wav", "cache": True}


async def test_large_clip_is_kept_whole(tmp_path: Path) -> None:
    async with serving(temp_dir=tmp_path / "temp") as served:
        made = await served.client.post("/api/open/tts", json=OPEN)
        clip = await served.client.get(made.json()["audio_url"])
        assert os.listdir(tmp_path / "temp") == []

    assert len(clip.content) > MAX_MEMORY_BYTES
    assert int.from_bytes(clip.content[40:44], "little") == len(clip.content) - 44
