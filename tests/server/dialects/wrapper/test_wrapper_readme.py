"""The original wrapper's README examples, word for word, against the builtin engine.

The port is another one, and the server's folder is not the project's.
"""

import shutil
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import server_process

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

HEALTH = """curl http://127.0.0.1:8020/health
curl http://127.0.0.1:8020/v1/models"""

BASIC = """curl -X POST http://127.0.0.1:8020/v1/audio/speech \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "fishs2",
    "input": "Hello from Fish S2 CPP FastAPI.",
    "voice": "default",
    "response_format": "wav"
  }' \\
  --output outputs/basic.wav"""

UPLOAD = """curl -X POST http://127.0.0.1:8020/v1/audio/voices \\
  -F "files=@voices/sample_male/sample_male_new.wav" \\
  -F "voice_id=sample_male" \\
  -F "prompt_text=This is a sample transcript for the reference clip."
curl http://127.0.0.1:8020/v1/audio/voices"""

FROM_PROFILE = """curl -X POST http://127.0.0.1:8020/v1/audio/speech \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "fishs2",
    "input": "This line uses the uploaded sample_male profile.",
    "voice": "sample_male",
    "response_format": "wav"
  }' \\
  --output outputs/from_profile.wav"""

DIRECT_CLONE = """curl -X POST http://127.0.0.1:8020/v1/audio/speech \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "fishs2",
    "input": "This line clones directly from a reference file.",
    "voice": "default",
    "reference_audio": "voices/sample_male/sample_male_new.wav",
    "reference_text": "This is a sample transcript for the reference clip.",
    "response_format": "wav"
  }' \\
  --output outputs/direct_clone.wav"""

CUSTOM = """curl -X POST http://127.0.0.1:8020/v1/audio/speech \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "fishs2",
    "input": "Custom sampling settings example.",
    "voice": "sample_male",
    "response_format": "wav",
    "fishs2": {
      "max_new_tokens": 900,
      "temperature": 0.7,
      "top_p": 0.85,
      "top_k": 40,
      "min_tokens_before_end": 0,
      "n_threads": 0,
      "verbose": true
    }
  }' \\
  --output outputs/custom_params.wav"""

DELETE = "curl -X DELETE http://127.0.0.1:8020/v1/voices/sample_male"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("readme")
    (folder / "outputs").mkdir()
    with server_process(folder, FISHS2_ENGINE="builtin") as url:
        yield url, folder


def run(server: tuple[str, Path], script: str) -> str:
    """Run the commands in the server's folder; every one must succeed. Returns their output."""
    url, folder = server
    script = script.replace("http://127.0.0.1:8020", url).replace("curl ", "curl -sf ")
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "output"),
    [
        (BASIC, "basic.wav"),
        (UPLOAD + "\n" + FROM_PROFILE, "from_profile.wav"),
        (DIRECT_CLONE, "direct_clone.wav"),
        (CUSTOM, "custom_params.wav"),
    ],
)
def test_example_makes_its_file(server: tuple[str, Path], script: str, output: str) -> None:
    run(server, script)

    with wave.open(str(server[1] / "outputs" / output)) as file:
        assert file.getnframes() / file.getframerate() > 1


def test_health_and_delete_examples_answer(server: tuple[str, Path]) -> None:
    assert '"status":"ok"' in run(server, HEALTH)
    assert '"deleted":true' in run(server, DELETE)
