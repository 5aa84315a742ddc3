"""The model through huggingface_hub, from a hub that we play ourselves."""

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.bootstrap.file_server import Faults, FileServer, file_server

CONTENT = bytes(range(256)) * 8_000
REPO = "someone/s2-pro-gguf"
PATH = f"/{REPO}/resolve/main/s2-pro-q6_k.gguf"

SCRIPT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from fishs2.bootstrap.hub import download_from_hub
    from fishs2.bootstrap.progress import Progress
    from fishs2.errors import DownloadError

    repo, name, path, sha256 = sys.argv[1:]
    try:
        download_from_hub(repo, name, Path(path), Progress(), sha256=sha256 or None)
    except DownloadError as error:
        sys.exit(f"refused: {error}")
    """
)


def fetch(
    server: FileServer, path: Path, *, name: str = "s2-pro-q6_k.gguf", sha256: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(path.parent / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        **env,
    }
    command = [sys.executable, "-c", SCRIPT, REPO, name, str(path), sha256]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_file_of_a_repository_lands_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "models" / "mine.gguf"
    with file_server({PATH: CONTENT}) as server:
        done = fetch(server, path, sha256=hashlib.sha256(CONTENT).hexdigest())

    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "models" / "mine.gguf"
    with file_server({PATH: CONTENT}) as server:
        done = fetch(server, path, sha256="0" * 64)

    assert "refused: s2-pro-q6_k.gguf does not have the SHA-256" in done.stderr
    assert not path.exists()
    assert not list((tmp_path / "models").rglob("*.gguf"))


@pytest.mark.parametrize("fault", ["missing", "offline", "gone"])
def test_what_cannot_be_had_is_one_clear_line(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "models" / "mine.gguf"
    with file_server({} if fault == "missing" else {PATH: CONTENT}) as server:
        if fault == "gone":
            server.url = "http://127.0.0.1:1"
        offline = {"HF_HUB_OFFLINE": "1"} if fault == "offline" else {}
        done = fetch(server, path, **offline)

    assert done.returncode == 1
    assert "refused: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not path.exists()


def test_interrupted_file_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "models" / "mine.gguf"
    with file_server({PATH: CONTENT}, Faults(cut_after=[1_200_000, None])) as server:
        done = fetch(server, path)
        if done.returncode != 0:
            done = fetch(server, path)

    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == CONTENT
    assert server.num_sent < 1.7 * len(CONTENT)
