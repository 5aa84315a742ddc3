"""A store that cannot be used is 503 or 507 in every dialect, and /health says why."""

import io
import json
import re
import sqlite3
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fishs2.store.database import HEAD
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.cli.running import run
from tests.serving import PATIENCE_S, running_server

TEXT = "There is no room."
SPEECH = {
    "/v1/audio/speech": {"model": "fishs2", "input": TEXT},
    "/compat/v1/audio/speech": {"model": "fishs2", "voice": "default", "input": TEXT},
    "/v1/tts": {"text": TEXT},
    "/api/open/tts": {"reference_id": "default", "text": TEXT},
}
CACHED = {"/api/open/tts": {"reference_id": "default", "text": TEXT, "cache": True}}
UPLOADS = {
    "/v1/audio/voices": ("files", {"name": "new", "prompt_text": TEXT}),
    "/api/open/create-model": ("audioFiles", {"name": "new", "prompt_text": TEXT}),
    "/model": ("voices", {"title": "new", "texts": TEXT}),
    "/v1/references/add": ("audio", {"id": "new", "text": TEXT}),
}


@contextmanager
def server(folder: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    """A server that starts whatever is wrong; it ends without a traceback."""
    with (
        running_server(
            folder,
            FISHS2_ENGINE="builtin",
            FISHS2_DATA_DIR=str(folder / "data"),
            FISHS2_VOICES_DIR=str(folder / "voices"),
        ) as (url, process),
        httpx.Client(base_url=url, timeout=PATIENCE_S) as client,
    ):
        yield client, process


def keys(folder: Path, *arguments: str) -> Any:
    return run(folder, "keys", *arguments, FISHS2_DATA_DIR=str(folder / "data"))


def make_key(folder: Path) -> dict[str, str]:
    """Headers with a key that may do everything."""
    made = keys(folder, "create", "me", "--scope", "admin")
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


def recording(times: int = 1) -> bytes:
    """A voice as a WAV file, so many times in a row."""
    with wave.open(str(SAMPLE_VOICES / "sample_female" / "sample_female.wav")) as sample:
        frames = sample.readframes(sample.getnframes())
        file = io.BytesIO()
        with wave.open(file, "wb") as made:
            made.setparams(sample.getparams())
            made.writeframes(frames * times)
    return file.getvalue()


def code_of(answer: httpx.Response) -> object:
    """The status, and the code where the dialect has one, in its own shape."""
    path, body = answer.request.url.path, answer.json()
    if path.startswith("/api/open/"):
        assert set(body) == {"error", "code"}
        return answer.status_code, body["code"]
    if path.startswith(("/v1/tts", "/model", "/v1/references")):
        assert set(body) == {"status", "message"}
        return answer.status_code, body["status"]
    if path.startswith("/compat"):
        assert set(body["error"]) == {"code", "message", "type"}
        return answer.status_code, body["error"]["code"]
    assert set(body["error"]) == {"code", "message", "type", "param"}
    return answer.status_code, body["error"]["code"]


def check_refused(answer: httpx.Response, status: int, code: str) -> None:
    is_fish = answer.request.url.path.startswith(("/v1/tts", "/model", "/v1/ref", "/compat"))
    assert code_of(answer) == (status, status if is_fish else code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert ("x-should-retry" in answer.headers) == (status == 507)


def upload(client: httpx.Client, path: str, wav: bytes, headers: dict[str, str]) -> httpx.Response:
    field, fields = UPLOADS[path]
    return client.post(path, files={field: ("a.wav", wav)}, data=fields, headers=headers)


def test_file_in_place_of_the_data_folder_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with server(tmp_path) as (client, _):
        for path, body in SPEECH.items():
            check_refused(client.post(path, json=body), 503, "store_not_available")
        for path in UPLOADS:
            answer = upload(client, path, recording(), {})
            check_refused(answer, 503, "store_not_available")
        health = client.get("/health").json()
    said = keys(tmp_path, "list")

    assert (
        health["store"] == "the data folder cannot be written: a file is where a folder should be"
    )
    assert health["ready"]
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)


def test_file_in_place_of_the_voices_folder_keeps_nothing_and_speaks(tmp_path: Path) -> None:
    (tmp_path / "voices").touch()
    with server(tmp_path) as (client, _):
        for path in UPLOADS:
            answer = upload(client, path, recording(), {})
            check_refused(answer, 503, "store_not_available")
        spoken = client.post("/v1/audio/speech", json=SPEECH["/v1/audio/speech"])
        health = client.get("/health").json()

    assert spoken.status_code == 200
    assert health["store"].startswith("the voices folder cannot be written")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits other processes")
def test_limit_of_file_size_is_no_defect_on_any_route(tmp_path: Path) -> None:
    import resource

    headers = make_key(tmp_path)
    with server(tmp_path) as (client, process):
        assert client.get("/health").json()["store"] == "ok"
        usual = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000, usual[1]))
        for path, body in SPEECH.items():
            answer = client.post(path, json=body, headers=headers)
            assert answer.status_code in (503, 507)
            code_of(answer)
        for path in UPLOADS:
            # As large as waits in a temporary file, and as fits into memory.
            for times in (1, 8):
                answer = upload(client, path, recording(times), headers)
                check_refused(answer, 507, "store_full")
        assert client.get("/health").json()["store"] != "ok"
        assert client.get("/v1/models", headers=headers).status_code == 200
        # What counts covered lines writes them down at the end.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, usual)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits other processes")
def test_cached_audio_without_room_is_507_and_costs_nothing(tmp_path: Path) -> None:
    import resource

    with server(tmp_path) as (client, process):
        usual = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000, usual[1]))
        [(path, body)] = CACHED.items()
        answer = client.post(path, json=body)
        plain = client.post(path, json={**body, "cache": False})
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, usual)

    check_refused(answer, 507, "store_full")
    assert plain.status_code == 200


@pytest.mark.parametrize("version", ["0002", "9999", "a1b2c3d4e5f6"])
def test_database_of_a_newer_version_is_refused_by_name(tmp_path: Path, version: str) -> None:
    make_key(tmp_path)
    with closing(sqlite3.connect(tmp_path / "data" / "fishs2.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
        connection.commit()

    def check(output: str) -> None:
        [line] = re.findall(r"fishs2: (the database .*)", output)
        assert version in line
        assert HEAD in line

    with pytest.raises(AssertionError, match="the server ended") as ended, server(tmp_path):
        pass
    check(str(ended.value))
    assert "Traceback" not in str(ended.value)
    for arguments in (["list"], ["create", "x"], ["usage"]):
        said = keys(tmp_path, *arguments)
        assert said.returncode == 1
        check(said.stderr)


@pytest.mark.slow
def test_lock_that_another_program_holds_is_503_and_charges_once(tmp_path: Path) -> None:
    headers = make_key(tmp_path)
    long_text = " ".join(f"Sentence {number} of a text that takes a while." for number in range(14))
    body = {"model": "fishs2", "input": long_text, "response_format": "pcm", "stream": True}
    with server(tmp_path) as (client, _), closing(open_beside(tmp_path)) as other:
        with client.stream("POST", "/v1/audio/speech", json=body, headers=headers) as begun:
            pieces = begun.iter_bytes()
            received = len(next(pieces))
            other.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor() as at_once:
                asked = [
                    at_once.submit(client.post, path, json=text, headers=headers)
                    for path, text in SPEECH.items()
                ]
            for each in asked:
                check_refused(each.result(), 503, "store_not_available")
            # Keys are read all the same, and what had begun is heard to its end.
            assert client.get("/v1/models", headers=headers).status_code == 200
            received += sum(len(piece) for piece in pieces)
        assert client.get("/health").json()["store"].startswith("keys, voices or cached audio")
        other.execute("ROLLBACK")
        while client.get("/health").json()["store"] != "ok":
            time.sleep(0.05)
        assert client.post("/v1/audio/speech", json=body, headers=headers).status_code == 200
    shown = json.loads(keys(tmp_path, "usage", "--json").stdout)

    assert begun.status_code == 200
    assert received > 500_000
    assert sum(day["num_chars"] for day in shown) == 2 * len(long_text)


def open_beside(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "data" / "fishs2.db", isolation_level=None)


def test_folder_that_comes_back_is_used_again(tmp_path: Path) -> None:
    headers = make_key(tmp_path)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    (tmp_path / "data").touch()

    def wait_for(is_so: Callable[[], bool]) -> None:
        while not is_so():
            time.sleep(0.05)

    with server(tmp_path) as (client, _):
        assert client.get("/v1/models", headers=headers).status_code == 503
        (tmp_path / "data").unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "data")
        wait_for(lambda: client.get("/v1/models", headers=headers).status_code == 200)
        assert client.get("/v1/models").status_code == 401
        wait_for(lambda: client.get("/health").json()["store"] == "ok")
