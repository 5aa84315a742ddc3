"""`fishs2 fetch --asr`, from a hub that we play ourselves; the rest is in `test_voices`."""

import os
import subprocess
import sys
from pathlib import Path

from fishs2.listening.models import FILES, MODELS, is_model
from tests.bootstrap.file_server import file_server
from tests.cli.running import run

BASE = MODELS["base"]
NAMES = (*BASE.others, *FILES)


def fetch(folder: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's package reads its address when it is imported."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FISHS2_")}
    env |= {
        "FISHS2_HOME": str(folder),
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-m", "fishs2", "fetch", *arguments]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)


def test_model_that_listens_comes_with_its_size_languages_and_licence(tmp_path: Path) -> None:
    files = {f"/{BASE.repo_id}/resolve/main/{name}": name.encode() * 100 for name in NAMES}
    with file_server(files) as server:
        fetched = fetch(tmp_path, server.url, "--asr", "Base")
        again = fetch(tmp_path, server.url, "--asr", "base")

    assert fetched.returncode == 0, fetched.stderr
    assert "Whisper base: about 0.15 GB, 100 languages, licence MIT" in fetched.stdout
    folder = tmp_path / "models" / "whisper-base"
    assert is_model(folder)
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {*NAMES}
    assert "everything is there" in again.stdout


def test_model_that_is_incomplete_is_fetched_on(tmp_path: Path) -> None:
    files = {f"/{BASE.repo_id}/resolve/main/{name}": b"x" * 100 for name in NAMES}
    missing = files.pop(f"/{BASE.repo_id}/resolve/main/model.bin")
    folder = tmp_path / "models" / "whisper-base"
    with file_server(files) as server:
        broken = fetch(tmp_path, server.url, "--asr", "base")
        assert not is_model(folder)
        server.files[f"/{BASE.repo_id}/resolve/main/model.bin"] = missing
        fetched = fetch(tmp_path, server.url, "--asr", "base")

    assert broken.returncode == 1
    assert "model.bin of Systran/faster-whisper-base cannot be had" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert fetched.returncode == 0
    assert is_model(folder)


def test_size_that_nobody_publishes_is_refused_with_those_there_are(tmp_path: Path) -> None:
    done = run(tmp_path, "fetch", "--asr", "bsae")

    assert done.returncode == 1
    assert "tiny, tiny.en, base" in done.stderr
    assert "base?" in done.stderr


def test_dry_run_says_what_would_come_and_how_it_is_chosen(tmp_path: Path) -> None:
    done = run(tmp_path, "fetch", "--asr", "small", "--dry-run")

    assert "Systran/faster-whisper-small/model.bin" in done.stdout
    assert "FISHS2_ASR_MODEL is base: set it to small to use this one" in done.stdout
    assert not (tmp_path / "models").exists()
