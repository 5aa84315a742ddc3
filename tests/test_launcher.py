"""run.py as launchers start it: flags, exit statuses, `.env` files, signals."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.bootstrap.file_server import Faults, file_server
from tests.cli.running import Done
from tests.cli.running import run as run_here
from tests.serving import PATIENCE_S, free_port, wait_until_up

ROOT = Path(__file__).resolve().parent.parent
# Ours must not decide what these tests see.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("FISHS2_")}


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run run.py to its end."""
    return subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        env={**CLEAN, "NO_COLOR": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@contextmanager
def launched(
    folder: Path, *arguments: str, command: tuple[str, ...] = (sys.executable,), **env: str
) -> Iterator[str]:
    """Run run.py as a server whose files are in `folder`; yields its URL once /health answers."""
    port = free_port()
    files = {
        "FISHS2_HOME": str(folder),
        "FISHS2_HOST": "127.0.0.1",
        "FISHS2_PORT": str(port),
    }
    process = subprocess.Popen(
        [*command, "run.py", *arguments],
        cwd=ROOT,
        env={**CLEAN, **files, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(url, process, engine=False)
        yield url
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
        _, left = psutil.wait_procs(children, timeout=PATIENCE_S)
        assert not left


def program(folder: Path, name: str, script: str) -> Path:
    """A program of that name in `folder`, for PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def path_with(folder: Path) -> str:
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


NVIDIA_SMI = 'echo "NVIDIA GeForce RTX 3060, 580.65.06, 12288, 11000, 8.6"'


def test_help_lists_every_flag() -> None:
    done = run("--help")

    assert done.returncode == 0
    for flag in [
        "--pixi-path",
        "--host",
        "--port",
        "--backend",
        "--model-quant",
        "--model-q4",
        "--n-gpu-layers",
        "--skip-gpu-check",
        "--skip-downloads",
        "--force-downloads",
        "--engine",
    ]:
        assert flag in done.stdout


@pytest.mark.parametrize("name", ["run.py", "run.bat", "run.sh"])
def test_launchers_name_the_pixi_path_flag_for_those_who_look_for_it(name: str) -> None:
    assert "--pixi-path" in (ROOT / name).read_text()


@pytest.mark.parametrize(
    ("arguments", "env", "status", "said"),
    [
        (["--backend", "nope"], {}, 2, "--backend"),
        (["--engine", "nope"], {}, 2, "--engine"),
        (["--port", "x"], {}, 2, "--port"),
        (["--nope"], {}, 2, "--nope"),
        (["--model-quant", "q9"], {}, 1, "q8_0"),
        ([], {"FISHS2_MODEL_QUANT": "q9"}, 1, "FISHS2_MODEL_QUANT"),
        ([], {"FISHS2_TEMPERATURE": "3"}, 1, "FISHS2_TEMPERATURE"),
        (["--backend", "cuda"], {}, 1, "nvidia-smi"),
        ([], {"FISHS2_BACKEND": "cuda"}, 1, "--skip-gpu-check"),
        (["--pixi-path", "/nope/pixi"], {}, 1, "/nope/pixi"),
        (["--pixi-path=/nope/pixi"], {}, 1, "/nope/pixi"),
    ],
)
def test_wrong_start_says_why_and_has_the_wrappers_status(
    arguments: list[str], env: dict[str, str], status: int, said: str
) -> None:
    done = run(*arguments, **env)

    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_download_that_fails_ends_with_1(tmp_path: Path) -> None:
    with file_server({}) as server:
        done = run(
            "--engine=s2",
            FISHS2_MODEL_PATH=str(tmp_path / "m.gguf"),
            FISHS2_MODEL_URL=f"{server.url}/m.gguf",
        )

    assert done.returncode == 1
    assert "answered 404" in done.stderr
    assert "research and non-commercial use" in " ".join(done.stderr.split())


def test_what_was_downloaded_is_what_the_server_loads(tmp_path: Path) -> None:
    golden = ROOT / "tests" / "golden" / "s2"
    files = {
        "/m.gguf": (golden / "tiny-f16.gguf").read_bytes(),
        "/tokenizer.json": (golden / "lm_tiny" / "tokenizer.json").read_bytes(),
    }
    (tmp_path / "models").mkdir()
    shutil.copy(golden / "codec.json", tmp_path / "models")
    with file_server(files, Faults(cut_after=[100_000])) as server:
        env: dict[str, Any] = {
            "FISHS2_MODEL_PATH": str(tmp_path / "models" / "s2-pro-q6_k.gguf"),
            "FISHS2_MODEL_URL": f"{server.url}/m.gguf",
            "FISHS2_TOKENIZER_URL": f"{server.url}/tokenizer.json",
            "FISHS2_BACKEND": "cpu",
            "FISHS2_MODEL_QUANT": "q6_k",
        }
        with launched(tmp_path, **env) as url:
            answer = httpx.post(
                f"{url}/v1/audio/speech",
                json={"model": "fishs2", "input": "Hi.", "max_new_tokens": 3},
                timeout=PATIENCE_S,
            )
            health = httpx.get(f"{url}/health", timeout=PATIENCE_S).json()

    assert (answer.status_code, answer.headers["X-Fishs2-Engine"]) == (200, "s2")
    assert health["engine"] == "s2"


METAL = {"FISHS2_BACKEND": "METAL"}
VULKAN = {"FISHS2_BACKEND": "vulkan"}
NO_METAL = ["Apple silicon", "--backend auto"]
NO_LIBRARY = ["s2.so", "FISHS2_RUNTIME_DIR", "--backend auto"]
SAY = ["say", "Hi.", "-o", "hi.wav"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is Metal, or a library")
@pytest.mark.parametrize(
    ("command", "env", "said"),
    [
        (["run.py"], METAL, NO_METAL),
        (["run.py", "--backend", "metal"], {}, NO_METAL),
        (["run.py"], VULKAN, NO_LIBRARY),
        (["run.py", "--backend", "vulkan"], {}, NO_LIBRARY),
        (["run.py", "--engine", "s2", "--backend", "vulkan"], {}, ["--engine s2cpp"]),
        (["run.py", "--engine", "s2cpp", "--skip-downloads"], {}, NO_LIBRARY),
        (["run.sh"], VULKAN, NO_LIBRARY),
        (["run.sh", "--backend", "metal"], {}, NO_METAL),
        (["serve"], METAL, NO_METAL),
        (["serve", "--backend", "vulkan"], {}, NO_LIBRARY),
        (["serve", "--engine", "s2", "--backend", "vulkan"], {}, ["--engine s2cpp"]),
        (["serve", "--engine", "s2cpp"], {}, NO_LIBRARY),
        (SAY, METAL, NO_METAL),
        (SAY, VULKAN, NO_LIBRARY),
        ([*SAY, "--engine", "s2cpp"], {}, NO_LIBRARY),
        (["bench", "--engine", "auto"], METAL, NO_METAL),
        (["bench", "--backend", "vulkan"], {}, NO_LIBRARY),
    ],
)
def test_backend_that_cannot_work_here_ends_every_start(
    tmp_path: Path, command: list[str], env: dict[str, str], said: list[str]
) -> None:
    # The quantisation as Pandrator's manager sets it.
    env = {"FISHS2_MODEL_QUANT": "q6_k", **env}
    starts = {
        "run.py": [sys.executable, str(ROOT / "run.py")],
        "run.sh": ["bash", f"{ROOT}/run.sh"],
    }
    if command[0] in starts:
        done: Done | subprocess.CompletedProcess[str] = start_to_the_end(
            tmp_path, [*starts[command[0]], *command[1:]], env
        )
    else:
        done = run_here(tmp_path, *command, **env)

    assert done.returncode == 1, done.stderr
    for word in said:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def start_to_the_end(
    home: Path, command: list[str], env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=home,
        env={**CLEAN, "FISHS2_HOME": str(home), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("flags", "env"),
    [(["--skip-gpu-check"], {}), ([], {"FISHS2_SKIP_GPU_CHECK": "yes"})],
)
def test_gpu_check_is_skipped_by_flag_and_by_environment(
    tmp_path: Path, flags: list[str], env: dict[str, Any]
) -> None:
    with launched(tmp_path, "--backend=cuda", "--skip-downloads", *flags, **env) as url:
        speech = {"model": "fishs2", "input": "Hello."}
        answer = httpx.post(f"{url}/v1/audio/speech", json=speech, timeout=PATIENCE_S)

    # There is no card: the server is up and says so, and does not speak in another engine's voice.
    assert answer.status_code == 503


def test_card_without_a_model_speaks_builtin_when_nothing_may_be_downloaded(
    tmp_path: Path,
) -> None:
    program(tmp_path, "nvidia-smi", NVIDIA_SMI)
    env: dict[str, Any] = {"PATH": path_with(tmp_path), "FISHS2_MODEL_QUANT": "q2_k"}

    with launched(tmp_path, "--skip-downloads", **env) as url:
        while httpx.get(f"{url}/health", timeout=PATIENCE_S).json()["engine"] is None:
            time.sleep(0.02)

    said = (tmp_path / "logs" / "app.log").read_text()
    assert "engine builtin speaks on cpu: there is NVIDIA GeForce RTX 3060" in said
    assert "bash run.sh --engine s2" in said


def test_managers_command_line_works(tmp_path: Path) -> None:
    pixi = program(
        tmp_path,
        "pixi",
        f'[ "$1 $2" = "run --manifest-path" ] || exit 9\nshift 4\nexec "{sys.executable}" "$@"',
    )
    command = (str(pixi), "run", "--manifest-path", str(ROOT / "pyproject.toml"), "python")
    golden = ROOT / "tests" / "golden" / "s2"
    env = {
        "FISHS2_BACKEND": "cpu",
        "FISHS2_MODEL_QUANT": "q6_k",
        "FISHS2_MODEL_PATH": str(golden / "tiny-f16.gguf"),
        "FISHS2_TOKENIZER_PATH": str(golden / "lm_tiny" / "tokenizer.json"),
        "FISHS2_RUNTIME_DIR": str(tmp_path / "runtime"),
        "HF_HOME": str(tmp_path / "hf"),
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
        "PIXI_CACHE_DIR": str(tmp_path / "pixi-cache"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    with launched(tmp_path, "--pixi-path", str(pixi), command=command, **env) as url:
        for path in ("/health", "/v1/models", "/v1/audio/voices"):
            assert httpx.get(url + path, timeout=PATIENCE_S).status_code == 200
        while not (tmp_path / "voices" / "sample_male").is_dir():
            time.sleep(0.02)

    assert (tmp_path / "voices" / "sample_male").is_dir()
    assert (tmp_path / "logs" / "app.log").is_file()


@pytest.mark.parametrize("arguments", [["--pixi-path", "{pixi}"], ["--pixi-path={pixi}"]])
def test_run_sh_uses_the_pixi_that_it_is_given(tmp_path: Path, arguments: list[str]) -> None:
    pixi = program(tmp_path, "pixi", f'echo "$@" "[$PIXI_CACHE_DIR]" >> {tmp_path}/calls')
    given = [argument.format(pixi=pixi) for argument in arguments]

    done = subprocess.run(["bash", "run.sh", *given], cwd=ROOT, env=CLEAN, check=False)

    install, start = (tmp_path / "calls").read_text().splitlines()
    assert done.returncode == 0
    assert install.startswith("install --manifest-path pyproject.toml")
    assert "run --manifest-path pyproject.toml python run.py --pixi-path" in start
    assert f"[{ROOT}/.pixi-cache]" in start


@pytest.mark.parametrize("arguments", [["--pixi-path"], ["--pixi-path", "/nope"]])
def test_run_sh_refuses_a_pixi_that_is_not_there(arguments: list[str]) -> None:
    done = subprocess.run(
        ["bash", "run.sh", *arguments], cwd=ROOT, env=CLEAN, capture_output=True, check=False
    )

    assert done.returncode == 1
    assert b"--pixi-path" in done.stderr


def test_env_file_written_by_others_is_read(tmp_path: Path) -> None:
    # A copy of the launcher, so that the checkout's own .env is not touched.
    port = free_port()
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfFISHS2_PORT=" + str(port).encode() + b"\r\nFISHS2_HOST='127.0.0.1'\r\n"
        b"SOMETHING_ELSE=1\r\nFISHS2_LATER_SETTING=2\r\n\r\n# comment\r\nFISHS2_MODEL_QUANT=\r\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py")],
        cwd=tmp_path,
        env={**CLEAN, "FISHS2_ENGINE": "builtin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}", process, engine=False)
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE_S)

    assert "FISHS2_LATER_SETTING is no setting" in said


def test_signal_during_a_download_ends_it_and_keeps_what_came(tmp_path: Path) -> None:
    content = bytes(3_000_000)
    with file_server({"/m.gguf": content}, Faults(may_go=threading.Event())) as server:
        process = subprocess.Popen(
            [sys.executable, "run.py", "--engine", "s2"],
            cwd=ROOT,
            env={
                **CLEAN,
                "FISHS2_MODEL_PATH": str(tmp_path / "m.gguf"),
                "FISHS2_MODEL_URL": f"{server.url}/m.gguf",
            },
            stderr=subprocess.DEVNULL,
        )
        part = tmp_path / "m.gguf.part"
        while not part.exists() or not part.stat().st_size:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=PATIENCE_S)

    assert status == 128 + signal.SIGTERM
    assert part.stat().st_size > 0
