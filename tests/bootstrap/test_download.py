"""Downloads against a server with every fault that downloads meet."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fishs2.bootstrap.download import Patience, Source, download
from fishs2.bootstrap.progress import Progress
from fishs2.errors import DownloadError
from tests.bootstrap.file_server import Faults, file_server
from tests.serving import PATIENCE_S

CONTENT = bytes(range(256)) * 8_000  # 2 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(num_tries=3, stall_s=PATIENCE_S, first_wait_s=0.001)


def quiet() -> Progress:
    return Progress(io.StringIO())


def fetch(url: str, path: Path, *, sha256: str | None = SHA256, force: bool = False) -> None:
    download(Source(url, sha256), path, quiet(), force=force, patience=QUICK)


def test_file_comes_whole_and_nothing_else_stays(tmp_path: Path) -> None:
    with file_server({"/f.bin": CONTENT}) as server:
        fetch(f"{server.url}/f.bin", tmp_path / "f.bin")

    assert (tmp_path / "f.bin").read_bytes() == CONTENT
    assert {path.name for path in tmp_path.iterdir()} <= {"f.bin", ".f.bin.lock"}


def test_file_that_is_there_is_not_fetched_again_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    with file_server({"/f.bin": CONTENT}) as server:
        fetch(f"{server.url}/f.bin", path)
        fetch(f"{server.url}/f.bin", path)
        num_before = len(server.requests)
        fetch(f"{server.url}/f.bin", path, force=True)

    assert (num_before, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("has_ranges", [True, False])
def test_cut_connection_is_resumed_or_started_over(tmp_path: Path, has_ranges: bool) -> None:
    faults = Faults(has_ranges=has_ranges, cut_after=[700_000, 300_000, None])
    with file_server({"/f.bin": CONTENT}, faults) as server:
        fetch(f"{server.url}/f.bin", tmp_path / "f.bin")

    assert (tmp_path / "f.bin").read_bytes() == CONTENT
    ranges = [wanted for _, _, wanted in server.requests]
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")
    if has_ranges:
        assert server.num_sent <= len(CONTENT) + 100_000


def test_as_many_cuts_as_bring_something_are_borne(tmp_path: Path) -> None:
    faults = Faults(cut_after=[300_000] * 6)
    with file_server({"/f.bin": CONTENT}, faults) as server:
        fetch(f"{server.url}/f.bin", tmp_path / "f.bin")

    assert (tmp_path / "f.bin").read_bytes() == CONTENT


def test_stall_is_broken_off_and_said(tmp_path: Path) -> None:
    faults = Faults(may_go=threading.Event(), cut_after=[0] * 9)
    with file_server({"/f.bin": CONTENT}, faults) as server:
        source = Source(f"{server.url}/f.bin?token=secret", SHA256)
        hasty = replace(QUICK, stall_s=0.2)
        with pytest.raises(DownloadError, match="broke off 3 times"):
            download(source, tmp_path / "f.bin", quiet(), patience=hasty)

    assert not (tmp_path / "f.bin").exists()


def test_busy_server_is_asked_again(tmp_path: Path) -> None:
    with file_server({"/f.bin": CONTENT}, Faults(statuses=[503, 429, None])) as server:
        fetch(f"{server.url}/f.bin", tmp_path / "f.bin")

    assert len(server.requests) == 3


def test_missing_file_is_an_error_at_once_without_secrets(tmp_path: Path) -> None:
    with file_server({}) as server, pytest.raises(DownloadError, match="404") as caught:
        fetch(f"{server.url}/f.bin?token=secret", tmp_path / "f.bin")

    assert len(server.requests) == 1
    assert "secret" not in str(caught.value)


def test_wrong_checksum_removes_the_download_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.write_bytes(b"old")
    with file_server({"/f.bin": b"something else"}) as server:
        with pytest.raises(DownloadError, match="SHA-256"):
            fetch(f"{server.url}/f.bin", path)

    assert path.read_bytes() == b"old"
    assert not list(tmp_path.glob("*.part*"))


def test_body_shorter_than_declared_is_never_taken_for_whole(tmp_path: Path) -> None:
    with file_server({"/f.bin": CONTENT}, Faults(declare=10, has_ranges=False)) as server:
        with pytest.raises(DownloadError):
            fetch(f"{server.url}/f.bin", tmp_path / "f.bin", sha256=None)

    assert not (tmp_path / "f.bin").exists()


def test_file_that_changed_on_the_server_is_started_over(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    with file_server({"/f.bin": b"x" * len(CONTENT)}, Faults(cut_after=[900_000] * 3)) as server:
        source = Source(f"{server.url}/f.bin", SHA256)
        with pytest.raises(DownloadError):
            download(source, path, quiet(), patience=replace(QUICK, num_tries=1))
        assert path.with_name("f.bin.part").stat().st_size > 0
        server.files["/f.bin"] = CONTENT
        server.faults = Faults(etag='"two"')
        fetch(f"{server.url}/f.bin", path)

    assert path.read_bytes() == CONTENT


def test_part_that_is_complete_already_is_not_fetched_again(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    path.with_name("f.bin.part").write_bytes(CONTENT)
    with file_server({"/f.bin": CONTENT}) as server:
        url = f"{server.url}/f.bin"
        note = json.dumps({"url": url, "validator": '"one"'})
        path.with_name("f.bin.part.json").write_text(note)
        fetch(url, path)

    assert path.read_bytes() == CONTENT
    assert server.num_sent == 0


def test_redirects_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    with file_server({"/real": CONTENT}, Faults(redirect_to="/real")) as server:
        fetch(f"{server.url}/f.bin", tmp_path / "f.bin")
        server.faults.redirect_to = "/elsewhere?"
        with pytest.raises(DownloadError, match="circle"):
            fetch(f"{server.url}/f.bin", tmp_path / "g.bin")


def test_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with file_server({"/f.bin": CONTENT}) as server:
        with pytest.raises(DownloadError, match=r"needs 0\.0 GB .* 0\.0 GB are free"):
            fetch(f"{server.url}/f.bin", tmp_path / "f.bin")

    assert not (tmp_path / "f.bin.part").exists()


SCRIPT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from fishs2.bootstrap.download import Source, download
    from fishs2.bootstrap.progress import Progress

    download(Source(sys.argv[1], sys.argv[2]), Path(sys.argv[3]), Progress())
    """
)


def start(url: str, path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, url, SHA256, str(path)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_two_launchers_at_once_fetch_it_once(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    may_go = threading.Event()
    with file_server({"/f.bin": CONTENT}, Faults(may_go=may_go)) as server:
        first = start(f"{server.url}/f.bin", path)
        part = path.with_name("f.bin.part")
        while not part.exists():
            assert first.poll() is None
            time.sleep(0.01)
        second = start(f"{server.url}/f.bin", path)
        assert second.stderr is not None
        said = second.stderr.readline()
        may_go.set()
        for launcher in (first, second):
            launcher.communicate()

    assert (first.returncode, second.returncode) == (0, 0)
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert b"another start is still installing" in said


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_download_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "f.bin"
    with file_server({"/f.bin": CONTENT}, Faults(may_go=threading.Event())) as server:
        launcher = start(f"{server.url}/f.bin", path)
        part = path.with_name("f.bin.part")
        while not part.exists() or part.stat().st_size < 900_000:
            assert launcher.poll() is None
            time.sleep(0.01)
        launcher.send_signal(signal.SIGKILL)
        launcher.communicate()
        had = part.stat().st_size
        server.faults.may_go.set()
        server.faults = Faults()
        fetch(f"{server.url}/f.bin", path)

    assert path.read_bytes() == CONTENT
    assert server.requests[-1][2] == f"bytes={had}-"
