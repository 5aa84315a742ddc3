"""Which SHA-256 downloads must have, from a hub that we play ourselves."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fishs2
from fishs2.bootstrap.artifacts import HubFile, fetch_artifacts, needed_artifacts
from fishs2.bootstrap.pins import PINS_FILE, Pin, Pins, read_pins, write_pins
from fishs2.bootstrap.progress import Progress
from fishs2.errors import DownloadError
from tests.bootstrap.file_server import FileServer, file_server
from tests.serving import make_settings

REPO = "rodrigomt/s2-pro-gguf"
MODEL, TOKENIZER = b"the model" * 1_000, b'{"a": 1}'
NAMES = [f"s2-pro-{q}.gguf" for q in ("f16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k", "q2_k")]


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def hub(model: bytes = MODEL) -> dict[str, bytes]:
    """What a hub serves that has one quantisation and the tokenizer."""
    siblings = [
        {
            "rfilename": "s2-pro-q6_k.gguf",
            "size": len(model),
            "blobId": "0" * 40,
            "lfs": {"size": len(model), "sha256": sum_of(model), "pointerSize": 134},
        },
        {"rfilename": "tokenizer.json", "size": len(TOKENIZER), "blobId": "1" * 40},
    ]
    told = {"id": REPO, "_id": "1", "siblings": siblings, "private": False, "tags": []}
    files = f"/{REPO}/resolve/main"
    return {
        f"/api/models/{REPO}": json.dumps(told).encode(),
        f"{files}/s2-pro-q6_k.gguf": model,
        f"{files}/tokenizer.json": TOKENIZER,
    }


class Copy:
    """A copy of the package, whose pins a test may renew; its home is `folder`."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        package = Path(fishs2.__file__).parent
        self.pins = folder / "code" / "fishs2" / PINS_FILE.relative_to(package)
        shutil.copytree(package, folder / "code" / "fishs2")

    def fetch(self, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fishs2", "fetch", *arguments],
            env={
                **os.environ,
                "PYTHONPATH": str(self.pins.parents[2]),
                "FISHS2_HOME": str(self.home),
                "FISHS2_MODEL_QUANT": "q6_k",
                "HF_ENDPOINT": url,
                "HF_HOME": str(self.home / "hf"),
                "HF_HUB_DISABLE_XET": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def serve_other_model(server: FileServer) -> None:
    server.files[f"/{REPO}/resolve/main/s2-pro-q6_k.gguf"] = b"something else" * 1_000


def test_package_names_all_published_files() -> None:
    pins = read_pins()

    assert pins.repo_id == make_settings().hf_repo_id == REPO
    assert list(pins.files) == [*NAMES, "tokenizer.json"]


def test_download_is_held_against_what_the_hub_said_when_it_was_pinned(copy: Copy) -> None:
    with file_server(hub()) as server:
        pinned = copy.fetch(server.url, "--pin")
        serve_other_model(server)
        refused = copy.fetch(server.url)
        model = copy.home / "models" / "s2-pro-q6_k.gguf"
        is_kept = any(path.stat().st_size for path in copy.home.rglob("*.gguf"))
        server.files.update(hub())
        taken = copy.fetch(server.url)

    assert pinned.returncode == 0, pinned.stderr
    assert read_pins(copy.pins).files["s2-pro-q6_k.gguf"] == Pin(len(MODEL), sum_of(MODEL))
    assert f"s2-pro-q6_k.gguf: {sum_of(MODEL)} (as the hub says)" in pinned.stdout
    assert refused.returncode == 1
    assert f"does not have the SHA-256 {sum_of(MODEL)} that fishs2 expects" in refused.stderr
    assert "`fishs2 fetch --pin`" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not is_kept
    assert taken.returncode == 0, taken.stderr
    assert model.read_bytes() == MODEL


def test_small_file_that_the_hub_has_no_sum_of_is_pinned_when_it_is_here(copy: Copy) -> None:
    with file_server(hub()) as server:
        before = copy.fetch(server.url, "--pin")
        assert copy.fetch(server.url).returncode == 0
        after = copy.fetch(server.url, "--pin")

    assert "tokenizer.json: no SHA-256 (unchanged: the hub says none" in before.stdout
    assert f"tokenizer.json: {sum_of(TOKENIZER)} (of " in after.stdout
    assert read_pins(copy.pins).files["tokenizer.json"] == Pin(len(TOKENIZER), sum_of(TOKENIZER))


def test_without_the_hub_files_that_are_here_are_pinned_and_other_pins_stay(copy: Copy) -> None:
    old = Pin(5, "a" * 64)
    write_pins(Pins(REPO, {**read_pins(copy.pins).files, "s2-pro-f16.gguf": old}), copy.pins)
    (copy.home / "models").mkdir()
    (copy.home / "models" / "s2-pro-q2_k.gguf").write_bytes(MODEL)

    done = copy.fetch("http://127.0.0.1:1", "--pin")

    assert done.returncode == 0, done.stderr
    assert "unchanged: the hub cannot be reached" in done.stdout
    files = read_pins(copy.pins).files
    assert files["s2-pro-q2_k.gguf"] == Pin(len(MODEL), sum_of(MODEL))
    assert files["s2-pro-f16.gguf"] == old


def test_nothing_that_could_be_pinned_is_an_error_that_changes_nothing(copy: Copy) -> None:
    before = copy.pins.read_bytes()
    done = copy.fetch("http://127.0.0.1:1", "--pin")

    assert done.returncode == 1
    assert "no SHA-256 could be learned" in done.stderr
    assert copy.pins.read_bytes() == before


def test_dry_run_says_the_pins_and_keeps_the_old_ones(copy: Copy) -> None:
    before = copy.pins.read_bytes()
    with file_server(hub()) as server:
        done = copy.fetch(server.url, "--pin", "--dry-run")

    assert sum_of(MODEL) in done.stdout
    assert copy.pins.read_bytes() == before


def test_download_without_a_sum_says_so(copy: Copy) -> None:
    with file_server(hub()) as server:
        planned = copy.fetch(server.url, "--dry-run")
        fetched = copy.fetch(server.url)
        server.files.clear()
        pinned = copy.fetch("http://127.0.0.1:1", "--pin")
        known = copy.fetch(server.url, "--dry-run", "--force")

    said = "no SHA-256 is known for s2-pro-q6_k.gguf: it is taken as it comes; FISHS2_MODEL_SHA256"
    assert said in planned.stdout
    assert said in fetched.stdout + fetched.stderr
    assert "FISHS2_TOKENIZER_SHA256 says what it must be" in planned.stdout
    assert pinned.returncode == 0
    assert "no SHA-256 is known" not in known.stdout


def test_pins_are_of_one_repository_and_settings_win(tmp_path: Path) -> None:
    pins = Pins(REPO, {"a.gguf": Pin(3, "a" * 64)})
    theirs = make_settings(home=tmp_path, model_sha256="b" * 64)
    (model, _) = needed_artifacts(theirs, "q6_k")

    assert pins.find(REPO, "a.gguf").sha256 == "a" * 64
    assert pins.find("someone/else", "a.gguf") == pins.find(REPO, "b.gguf") == Pin()
    assert isinstance(model.source, HubFile)
    assert (model.source.sha256, model.source.pin) == ("b" * 64, Pin())
    assert model.without_sum is None


def test_file_that_somebody_put_there_is_theirs(tmp_path: Path) -> None:
    own = tmp_path / "models" / "s2-pro-q6_k.gguf"
    own.parent.mkdir()
    own.write_bytes(b"converted by myself")
    (tmp_path / "models" / "tokenizer.json").write_bytes(TOKENIZER)

    fetch_artifacts(needed_artifacts(make_settings(home=tmp_path), "q6_k"), Progress())

    assert own.read_bytes() == b"converted by myself"


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        "{",
        '{"repo_id": "a"}',
        '{"repo_id": "a", "files": []}',
        '{"repo_id": "a", "files": {"b": {"sha256": "short"}}}',
        '{"repo_id": "a", "files": {"b": {"md5": "0"}}}',
    ],
)
def test_damaged_pins_are_one_clear_error(damaged: str, tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    path.write_text(damaged, encoding="utf-8")

    with pytest.raises(DownloadError, match=r"the pinned sums in pins\.json cannot be read"):
        read_pins(path)
