"""The examples of the open API's page: a key, curl and MessagePack against a real server process.

Only the base URL and the key differ from the page.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import ormsgpack
import pytest

from fishs2.audio.decode import decode_audio
from tests.serving import PATIENCE_S, server_process

_EXAMPLES = {
    "speech": """
curl --request POST \\
  --url {url}/api/open/tts \\
  --header 'Authorization: Bearer {token}' \\
  --header 'Content-Type: application/json' \\
  --data '{{
    "reference_id": "sample_male",
    "text": "Hello, this is a test of the speech API.",
    "speed": 1.0,
    "volume": 0,
    "version": "s1",
    "format": "mp3",
    "cache": false
  }}' \\
  --output output.mp3
""",
    "v3": """
curl --request POST \\
  --url {url}/api/open/tts \\
  --header 'Authorization: Bearer {token}' \\
  --header 'Content-Type: application/json' \\
  --data '{{
    "reference_id": "sample_female",
    "text": "Hello, this is a test of the speech API.",
    "version": "v3-hd",
    "emotion": "calm",
    "language": "en",
    "format": "mp3",
    "cache": false
  }}' \\
  --output output.mp3
""",
}


@dataclass(frozen=True, slots=True)
class Served:
    """A server process that asks for a key."""

    url: str
    token: str
    key_id: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("open")
    with server_process(folder) as url:
        token = fishs2(folder, "keys", "create", "page", "--quota", "5000").strip()
        # Running servers read the keys every second.
        while httpx.post(f"{url}/api/open/tts", json={}, timeout=PATIENCE_S).status_code != 401:
            time.sleep(0.05)
        yield Served(url, token, token.split("_")[1])


def fishs2(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "fishs2", *arguments]
    env = {**os.environ, "FISHS2_HOME": str(folder)}
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    return done.stdout


def seconds(audio: bytes) -> float:
    decoded = decode_audio(audio, max_seconds=60)
    assert abs(decoded.pcm).max() > 0.1
    return len(decoded.pcm) / decoded.sample_rate_hz


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("name", _EXAMPLES)
def test_example_of_the_page_runs(name: str, served: Served, tmp_path: Path) -> None:
    code = _EXAMPLES[name].format(url=served.url, token=served.token)
    subprocess.run(["bash", "-ec", code], cwd=tmp_path, check=True, env=dict(os.environ))

    audio = (tmp_path / "output.mp3").read_bytes()
    assert audio.startswith((b"ID3", b"\xff"))
    assert 1.0 < seconds(audio) < 6.0


def test_messagepack_client_pays_once_for_cached_audio_whose_link_needs_no_key(
    served: Served,
) -> None:
    body = {
        "reference_id": "default",
        "text": "A sentence that is kept.",
        "format": "wav",
        "cache": True,
    }
    headers = {
        "Authorization": f"Bearer {served.token}",
        "Content-Type": "application/msgpack",
    }
    with httpx.Client(base_url=served.url, timeout=PATIENCE_S) as client:
        before = client.get("/api/open/profile", headers=headers).json()
        answers = [
            client.post("/api/open/tts", headers=headers, content=ormsgpack.packb(body)).json()
            for _ in range(2)
        ]
        after = client.get("/api/open/profile", headers=headers).json()
        clip = client.get(answers[0]["audio_url"])

    first, second = answers
    assert first["success"] is True
    assert first["format"] == "wav"
    assert first["characters_used"] == len(body["text"])  # type: ignore[arg-type]
    assert second["audio_url"] == first["audio_url"]
    left = before["api_quota_remaining"] - first["characters_used"]
    assert first["quota_remaining"] == after["api_quota_remaining"] == left
    assert second["quota_remaining"] == left
    assert clip.headers["content-type"] == "audio/wav"
    assert 0.8 < seconds(clip.content) < 4.0
