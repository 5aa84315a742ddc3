"""`fishs2 bench` as a person uses it: what it prints, keeps, refuses and leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.running import Done, run
from tests.serving import PATIENCE_S, free_port, server_process

DOCS = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
SHORT = ("--runs", "1", "--requests", "1", "--warm-up", "1", "--chars", "40")


def reports(folder: Path) -> list[Any]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("bench/*.json")]


def bench(folder: Path, *arguments: str) -> Done:
    return run(folder, "bench", *SHORT, *arguments)


def test_running_server_is_measured_printed_and_kept(tmp_path: Path, builtin_server: str) -> None:
    done = bench(tmp_path, "--url", builtin_server, "--max-clients", "2")

    assert (done.returncode, done.stderr) == (0, "")
    assert "engine builtin on cpu" in done.stdout
    assert "22,050 Hz" in done.stdout
    for title in ("One stream", "Many clients", "length of the text", "Voices"):
        assert title in done.stdout
    (report,) = reports(tmp_path)
    assert [m["case"] for m in report["measurements"] if m["part"] == "sweep"] == ["1", "2"]
    assert report["server"]["url"] == builtin_server
    answers = [answer for m in report["measurements"] for answer in m["answers"]]
    assert len(answers) == 1 + (1 + 2) + 7 + 3
    assert all(answer["heard"]["audio_s"] > 0.5 for answer in answers)
    assert len({answer["seed"] for answer in answers}) == len(answers)


def test_only_the_parts_that_are_asked_for_are_measured(
    tmp_path: Path, builtin_server: str
) -> None:
    done = bench(tmp_path, "--url", builtin_server, "--only", "single", "--format", "pcm")

    assert done.returncode == 0
    (report,) = reports(tmp_path)
    (measured,) = report["measurements"]
    assert measured["part"] == "single"
    # Asked for at a rate that is not the engine's: what came is counted, not what is usual.
    assert "44,100 Hz" in done.stdout
    assert 1.5 < measured["answers"][0]["heard"]["audio_s"] < 5


def test_every_field_of_the_file_is_described(tmp_path: Path, builtin_server: str) -> None:
    bench(tmp_path, "--url", builtin_server, "--only", "single")
    page = DOCS.read_text(encoding="utf-8")

    (report,) = reports(tmp_path)

    missing = {name for name in field_names(report) if f"`{name}`" not in page}
    assert missing == set()


def field_names(value: Any) -> set[str]:
    """All keys at any depth, but those of `failures`, which are statuses and codes."""
    if isinstance(value, list):
        return {name for item in value for name in field_names(item)}
    if not isinstance(value, dict):
        return set()
    inner = {n for key, item in value.items() if key != "failures" for n in field_names(item)}
    return inner | value.keys()


def test_plot_is_a_picture(tmp_path: Path, builtin_server: str) -> None:
    pytest.importorskip("matplotlib")

    done = bench(tmp_path, "--url", builtin_server, "--max-clients", "2")

    (picture,) = tmp_path.glob("bench/*.png")
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert len(content) > 20_000
    assert f"plot: {Path('bench') / picture.name}" in done.stdout


def test_without_matplotlib_there_are_figures_and_a_line_that_says_what_is_missing(
    tmp_path: Path, builtin_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    done = bench(tmp_path, "--url", builtin_server, "--only", "single")

    assert done.returncode == 0
    assert "no plot: matplotlib is not installed; pip install 'fishs2[bench]'" in done.stdout
    assert list(tmp_path.glob("bench/*.png")) == []
    assert len(reports(tmp_path)) == 1


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    done = bench(tmp_path, "--url", f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert "nobody listens there; start it with `bash run.sh`" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:8020", "http://", "nonsense"])
def test_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    done = bench(tmp_path, "--url", url)

    assert done.returncode == 1
    assert "there is no server to measure" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--engine", "builtin", "--url", "http://127.0.0.1:1"), 2, "give one or the other"),
        (("--backend", "abacus"), 2, "allowed: auto, cuda, vulkan, metal, cpu"),
        (("--only", "all"), 2, "there is no part all"),
        (("--engine", "espeak"), 2, "espeak"),
        (("--chars", "5"), 2, "chars"),
        (("--format", "mp3"), 2, "mp3"),
        (("--max-clients", "0"), 2, "max-clients"),
    ],
)
def test_wrong_usage_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    done = bench(tmp_path, *arguments)

    assert done.returncode == status
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_server_with_keys_is_measured_with_one_that_no_file_shows(tmp_path: Path) -> None:
    made = run(tmp_path, "keys", "create", "bench")
    (key,) = re.findall(r"fs2_\w{8}_[\w-]{43}", made.stdout)
    with server_process(tmp_path) as url:
        without = bench(tmp_path, "--url", url, "--only", "single")
        wrong = bench(tmp_path, "--url", url, "--only", "single", "--key", "nonsense")
        done = bench(tmp_path, "--url", url, "--only", "single", "--key", key)

    for refused in (without, wrong):
        assert refused.returncode == 1
        assert "401" in refused.stderr
        assert "--key" in refused.stderr
    assert done.returncode == 0, done.stderr
    (report,) = reports(tmp_path)
    assert key not in json.dumps(report)
    assert key not in done.stdout + done.stderr
    assert report["command"][-2:] == ["--key", "***"]


def test_voice_that_is_not_there_is_refused(tmp_path: Path, builtin_server: str) -> None:
    done = bench(tmp_path, "--url", builtin_server, "--voice", "nobody")

    assert done.returncode == 1
    assert "voice_not_found" in done.stderr
    assert reports(tmp_path) == []


def test_server_of_its_own_is_started_measured_and_ended(tmp_path: Path) -> None:
    before = servers()

    done = bench(tmp_path, "--engine", "builtin", "--only", "single")

    assert (done.returncode, done.stderr) == (0, "")
    (report,) = reports(tmp_path)
    assert report["server"]["is_own"] is True
    assert report["server"]["engine"] == "builtin"
    # Neither voices nor keys nor logs beside the figures.
    assert [path.name for path in tmp_path.iterdir()] == ["bench"]
    assert servers() == before


def test_engine_that_cannot_start_is_reported_with_the_servers_own_words(tmp_path: Path) -> None:
    before = servers()

    done = bench(tmp_path, "--engine", "s2", "--model", str(tmp_path / "missing.gguf"))

    assert done.returncode == 1
    assert "the engine cannot start" in done.stderr
    assert "its model missing.gguf is not there" in done.stderr
    assert reports(tmp_path) == []
    assert servers() == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_interrupted_benchmark_leaves_no_server(tmp_path: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fishs2", "bench", "--engine", "builtin", "--runs", "1000"],
        cwd=tmp_path,
        env={**os.environ, "FISHS2_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (children := servers(process.pid)) and process.poll() is None:
        time.sleep(0.02)
    (server,) = children
    while not server.net_connections() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(end)
    _, errors = process.communicate(timeout=PATIENCE_S)

    assert process.returncode in (128 + end, 1)
    assert "Traceback" not in errors
    assert not server.is_running()
    assert list(tmp_path.glob("bench/*")) == []


def servers(parent: int | None = None) -> list[psutil.Process]:
    """Servers that were started by a process; None is this one."""
    children = psutil.Process(parent).children()
    return [child for child in children if child.cmdline()[-1:] == ["serve"]]
