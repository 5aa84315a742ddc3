"""FISHS2_ENGINE=s2cpp through endpoints, launcher and doctor, around the fake library."""

import io
import shutil
import wave
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.cli.running import run as run_here
from tests.engines.s2.golden import MODEL_FILE, TOKENIZER_FILE
from tests.server.recorded import sine_wav
from tests.serving import PATIENCE_S, free_port, server_process
from tests.test_launcher import launched

FRAME = 2048


def environment(library: Path) -> dict[str, Any]:
    return {
        "FISHS2_ENGINE": "s2cpp",
        "FISHS2_S2_DLL_PATH": str(library),
        "FISHS2_MODEL_PATH": str(MODEL_FILE),
        "FISHS2_TOKENIZER_PATH": str(TOKENIZER_FILE),
    }


@pytest.fixture(scope="module")
def server(
    libraries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("s2cpp")
    with (
        server_process(folder, **environment(libraries["new"])) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        yield client


def speak(client: httpx.Client, text: str, **fields: object) -> httpx.Response:
    return client.post("/v1/audio/speech", json={"model": "s2-pro", "input": text, **fields})


def pcm_of(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getframerate() == 44_100
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def find_child(client: httpx.Client) -> psutil.Process:
    """The engine process of the server at this address."""
    port = client.base_url.port
    (owner,) = (
        each
        for each in psutil.Process().children()
        if any(one.laddr.port == port for one in each.net_connections() if one.status == "LISTEN")
    )
    (child,) = owner.children()
    return child


def test_health_says_that_the_library_speaks(server: httpx.Client) -> None:
    health = server.get("/health").json()

    assert (health["engine"], health["backend"], health["ready"]) == ("s2cpp", "cpu", True)


def test_whole_and_streamed_speech_are_the_same(server: httpx.Client) -> None:
    whole = speak(server, "Hello there.", response_format="pcm", sample_rate=44_100)
    streamed = speak(server, "Hello there.", response_format="pcm", sample_rate=44_100, stream=True)

    assert len(whole.content) == 2 * FRAME * 8
    assert streamed.content == whole.content


def test_stored_voice_is_cloned(server: httpx.Client) -> None:
    stored = server.post(
        "/v1/audio/voices",
        files={"files": ("a.wav", sine_wav(), "audio/wav")},
        data={"voice_id": "mine", "prompt_text": "A voice."},
    )
    cloned = speak(server, "Hello there.", voice="mine")

    assert stored.status_code == 200
    assert "X-Fishs2-Cloning" not in cloned.headers
    assert not np.array_equal(pcm_of(cloned), pcm_of(speak(server, "Hello there.")))


def test_wishes_that_it_cannot_honour_are_named(server: httpx.Client) -> None:
    answer = speak(server, "Hello.", seed=3, fishs2={"n_threads": 2, "verbose": False})

    assert answer.headers["X-Fishs2-Ignored"] == "seed"


def test_failure_of_the_library_is_an_error_and_the_next_request_is_served(
    server: httpx.Client,
) -> None:
    failed = speak(server, "code -4")

    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "generation_failed"
    assert len(pcm_of(speak(server, "Hello."))) > 0


def test_child_killed_during_speech_is_heard_by_nobody_where_the_library_repeats_itself(
    server: httpx.Client,
) -> None:
    child = find_child(server)
    body = {"model": "s2-pro", "input": "slow " * 60, "stream": True, "response_format": "pcm"}
    alone = server.post("/v1/audio/speech", json=body).content
    with server.stream("POST", "/v1/audio/speech", json=body) as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        first = next(pieces)
        child.kill()
        assert server.get("/health").json()["status"] == "ok"
        assert b"".join([first, *pieces]) == alone

    assert len(pcm_of(speak(server, "Hello."))) > 0
    assert "fishs2_engine_restarts_total 1.0" in server.get("/metrics").text


def test_server_whose_engine_cannot_start_says_503_and_why(
    libraries: dict[str, Path], tmp_path: Path
) -> None:
    settings = environment(libraries["new"]) | {"FISHS2_MODEL_PATH": str(tmp_path / "no.gguf")}
    with server_process(tmp_path, wait_for_engine=False, **settings) as url:
        answer = httpx.post(
            f"{url}/v1/audio/speech", json={"model": "fishs2", "input": "Hi"}, timeout=PATIENCE_S
        )
        health = httpx.get(f"{url}/health", timeout=PATIENCE_S).json()

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "backend_not_available"
    assert (health["status"], health["ready"]) == ("ok", False)
    assert health["engine_error"]


def test_launcher_unpacks_an_archive_and_installs_no_torch(
    libraries: dict[str, Path], tmp_path: Path
) -> None:
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(libraries["new"], f"FishS2Sharp/native/{libraries['new'].name}")
    settings = {
        **environment(libraries["new"]),
        "FISHS2_S2_DLL_PATH": "",
        "FISHS2_RUNTIME_DIR": str(tmp_path / "runtime"),
        "FISHS2_RUNTIME_ZIP_PATH": str(archive),
        "FISHS2_RUNTIME_ZIP_SHA256": sha256(archive.read_bytes()).hexdigest(),
        "FISHS2_TORCH_INDEX_URL": "https://nowhere.invalid",
    }
    with launched(tmp_path, "--backend", "cpu", "--n-gpu-layers", "3", **settings) as url:
        answer = httpx.post(
            f"{url}/v1/audio/speech",
            json={"model": "fishs2", "input": "Hi there."},
            timeout=PATIENCE_S,
        )
        health = httpx.get(f"{url}/health", timeout=PATIENCE_S).json()

    assert len(pcm_of(answer)) > 0
    assert health["engine"] == "s2cpp"
    assert archive.exists()


def test_doctor_describes_the_bundle(libraries: dict[str, Path], tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    shutil.copy(libraries["old"], runtime)
    for name in ("libggml-base.so", "libggml-vulkan.so", "libggml-cpu-haswell.so"):
        (runtime / name).touch()
    (runtime / "libggml-base.so").rename(runtime / "libggml-base.so.0.11.1")
    (runtime / "libggml-base.so").symlink_to("libggml-base.so.0.11.1")
    settings = {
        **environment(libraries["old"]),
        "FISHS2_S2_DLL_PATH": "",
        "FISHS2_RUNTIME_DIR": str(runtime),
        "FISHS2_PORT": str(free_port()),
        "FISHS2_BACKEND": "cpu",
    }

    found = run_here(tmp_path, "doctor", **settings)
    missing = run_here(tmp_path, "doctor", **settings | {"FISHS2_RUNTIME_DIR": str(tmp_path)})

    (line,) = [line for line in found.stdout.splitlines() if line.split()[1] == "library"]
    assert "built for vulkan, cpu; ggml-base, ggml-vulkan 0.11.1" in line
    assert "too old to stream" in line
    assert "s2cpp on cpu" in found.stdout
    assert missing.returncode == 0  # found one folder below
    gone = run_here(tmp_path, "doctor", **settings | {"FISHS2_RUNTIME_DIR": str(tmp_path / "no")})
    assert gone.returncode == 1
    assert "FISHS2_RUNTIME_DIR" in gone.stdout
