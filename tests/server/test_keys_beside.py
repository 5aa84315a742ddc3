"""`fishs2 keys` in a process of its own, beside a server that uses the same database.

Where that process matters it is a new one; elsewhere this one does as well, in a tenth of the time.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.running import run
from tests.serving import PATIENCE_S, running_server

TEXT = "Nothing lost."

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")


@contextmanager
def server(folder: Path) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
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


def keys(folder: Path, *arguments: str) -> str:
    """What `fishs2 keys` says."""
    done = subprocess.run(
        [sys.executable, "-m", "fishs2", "keys", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "FISHS2_DATA_DIR": str(folder / "data"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def keys_here(folder: Path, *arguments: str) -> str:
    """What `fishs2 keys` says, run in this process."""
    done = run(folder, "keys", *arguments, FISHS2_DATA_DIR=str(folder / "data"))
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_key(folder: Path, name: str) -> tuple[str, str]:
    """The id and the token of a new key."""
    token = keys_here(folder, "create", name, "--quota", "1000").strip()
    return token.split("_")[1], token


def speak(client: httpx.Client, token: str) -> int:
    answer = client.post(
        "/v1/audio/speech",
        json={"model": "fishs2", "input": TEXT, "response_format": "wav"},
        headers={"Authorization": f"Bearer {token}"},
    )
    return answer.status_code


def wait_for(client: httpx.Client, token: str, status: int) -> None:
    """Ask until the server answers so; the test's own time limit bounds it."""
    headers = {"Authorization": f"Bearer {token}"}
    while client.get("/v1/models", headers=headers).status_code != status:
        time.sleep(0.05)


def used(folder: Path, key_id: str) -> tuple[int, int]:
    """Characters spent, and requests counted."""
    shown: dict[str, Any] = json.loads(keys_here(folder, "show", key_id, "--json"))
    days = json.loads(keys_here(folder, "usage", key_id, "--json"))
    return shown["spent"], sum(day["num_requests"] for day in days)


def check_integrity(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "data" / "fishs2.db")) as connection:
        [found] = connection.execute("PRAGMA integrity_check").fetchone()
    return str(found)


def test_figures_stay_exact_when_a_server_is_killed_that_keys_ran_beside(tmp_path: Path) -> None:
    key_id, token = make_key(tmp_path, "first")
    with server(tmp_path) as (client, process):
        assert speak(client, token) == 200
        assert "first" in keys(tmp_path, "list")
        for _ in range(3):
            assert speak(client, token) == 200
        assert used(tmp_path, key_id) == (4 * len(TEXT), 4)
        assert speak(client, token) == 200
        process.kill()
        process.wait()

    assert used(tmp_path, key_id) == (5 * len(TEXT), 5)
    assert check_integrity(tmp_path) == "ok"


def test_what_keys_changed_beside_a_server_holds_when_that_has_ended(tmp_path: Path) -> None:
    old_id, old = make_key(tmp_path, "old")
    with server(tmp_path) as (client, _):
        assert speak(client, old) == 200
        keys(tmp_path, "list")
        keys(tmp_path, "disable", old_id)
        wait_for(client, old, 401)
        new_id, new = make_key(tmp_path, "new")
        wait_for(client, new, 200)
        assert speak(client, new) == 200
    assert check_integrity(tmp_path) == "ok"

    with server(tmp_path) as (client, _):
        assert speak(client, old) == 401
        assert speak(client, new) == 200
    assert used(tmp_path, old_id) == (len(TEXT), 1)
    assert used(tmp_path, new_id) == (2 * len(TEXT), 2)
    assert check_integrity(tmp_path) == "ok"


def test_first_key_of_a_running_server_closes_it_to_others(tmp_path: Path) -> None:
    with server(tmp_path) as (client, process):
        assert speak(client, "none") == 200
        token = keys(tmp_path, "create", "first", "--quota", "1000").strip()
        key_id = token.split("_")[1]
        wait_for(client, "none", 401)
        assert speak(client, token) == 200
        process.kill()
        process.wait()

    assert used(tmp_path, key_id) == (len(TEXT), 1)
    assert check_integrity(tmp_path) == "ok"
