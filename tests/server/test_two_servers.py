"""Two servers on one folder: what one keeps the other has, and both together count right."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fishs2.store.voices.store import SAMPLE_VOICES
from tests.cli.running import run
from tests.serving import PATIENCE_S, running_server

RECORDING = (SAMPLE_VOICES / "sample_male" / "sample_male_new.wav").read_bytes()
TEXT = "Both of us count."
NUM_EACH = 12
QUOTA = len(TEXT) * (2 * NUM_EACH - 5)


def keys(folder: Path, *arguments: str) -> str:
    """What `fishs2 keys` says beside them."""
    done = run(folder, "keys", *arguments, FISHS2_DATA_DIR=str(folder / "data"))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("both")
    keys(made, "create", "admin", "--scope", "admin")
    return made


@pytest.fixture(scope="module")
def both(folder: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Clients of two servers with one home, which have every right."""
    token = keys(folder, "create", "test", "--scope", "admin").strip()
    headers = {"Authorization": f"Bearer {token}"}
    where: dict[str, Any] = {"FISHS2_ENGINE": "builtin", "FISHS2_DATA_DIR": str(folder / "data")}
    with ExitStack() as stack:
        urls = [stack.enter_context(running_server(folder, **where))[0] for _ in range(2)]
        one, other = (
            stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_S))
            for url in urls
        )
        yield one, other


def wait_for(is_so: Callable[[], bool]) -> None:
    """The test's own time limit bounds it."""
    while not is_so():
        time.sleep(0.05)


def wait_for_key(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    wait_for(lambda: client.get("/v1/models", headers=headers).status_code == status)


def upload(client: httpx.Client, name: str, transcript: str) -> int:
    answer = client.post(
        "/v1/audio/voices",
        data={"name": name, "prompt_text": transcript},
        files={"files": ("a.wav", RECORDING)},
    )
    return answer.status_code


def transcripts(client: httpx.Client) -> dict[str, str]:
    listed = client.get("/model", params={"page_size": 100}).json()["items"]
    return {item["title"]: item["samples"][0]["text"] for item in listed}


def speak(client: httpx.Client, **more: Any) -> httpx.Response:
    body = {"model": "fishs2", "input": TEXT, "response_format": "wav"}
    return client.post("/v1/audio/speech", json={**body, **more})


def test_voice_of_one_is_spoken_in_changed_and_deleted_by_the_other(
    both: tuple[httpx.Client, httpx.Client],
) -> None:
    one, other = both
    assert upload(one, "shared", "first") == 200
    wait_for(lambda: transcripts(other).get("shared") == "first")
    assert speak(other, voice="shared").status_code == 200
    assert upload(other, "shared", "second") == 200
    wait_for(lambda: transcripts(one).get("shared") == "second")
    assert other.delete("/v1/voices/shared").status_code == 200
    wait_for(lambda: "shared" not in transcripts(one))
    wait_for(lambda: speak(one, voice="shared").status_code == 404)


def test_both_who_replace_one_voice_at_once_leave_one_whole(
    both: tuple[httpx.Client, httpx.Client], folder: Path
) -> None:
    def replace(client: httpx.Client, who: str) -> None:
        statuses.extend(upload(client, "contested", f"{who} {n}") for n in range(6))

    statuses: list[int] = []
    at_once = [
        threading.Thread(target=replace, args=(client, who))
        for client, who in zip(both, ("one", "other"), strict=True)
    ]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()

    assert statuses == [200] * 12
    one, other = both
    wait_for(lambda: transcripts(one)["contested"] == transcripts(other)["contested"])
    assert transcripts(one)["contested"] in ("one 5", "other 5")
    assert not [path for path in folder.rglob(".new-*") if path.is_dir()]


def test_quota_is_spent_exactly_once_by_both(
    both: tuple[httpx.Client, httpx.Client], folder: Path
) -> None:
    token = keys(folder, "create", "me", "--quota", str(QUOTA)).strip()
    headers = {"Authorization": f"Bearer {token}"}

    def ask(client: httpx.Client) -> None:
        with httpx.Client(base_url=client.base_url, headers=headers, timeout=PATIENCE_S) as mine:
            wait_for(lambda: mine.get("/v1/models").status_code == 200)
            statuses.extend(speak(mine).status_code for _ in range(NUM_EACH))

    statuses: list[int] = []
    at_once = [threading.Thread(target=ask, args=(client,)) for client in both]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()

    key_id = token.split("_")[1]
    shown = json.loads(keys(folder, "show", key_id, "--json"))
    [day] = json.loads(keys(folder, "usage", key_id, "--json"))
    assert len(statuses) == 2 * NUM_EACH
    assert statuses.count(200) == QUOTA // len(TEXT)
    assert shown["spent"] == day["num_chars"] == QUOTA


def test_key_that_is_disabled_is_refused_by_both_and_audio_is_shared(
    both: tuple[httpx.Client, httpx.Client], folder: Path
) -> None:
    one, other = both
    token = keys(folder, "create", "passing").strip()
    headers = {"Authorization": f"Bearer {token}"}
    body = {"reference_id": "default", "text": TEXT, "cache": True}
    for client in both:
        wait_for_key(client, headers, 200)
    address = one.post("/api/open/tts", json=body, headers=headers).json()["audio_url"]

    found = other.get(httpx.URL(address).path)
    keys(folder, "disable", token.split("_")[1])

    assert found.status_code == 200
    assert found.content == one.get(httpx.URL(address).path).content
    for client in both:
        wait_for_key(client, headers, 401)


def test_database_and_logs_of_both_are_whole(
    both: tuple[httpx.Client, httpx.Client], folder: Path
) -> None:
    for client in both:
        assert client.get("/health").json()["store"] == "ok"
    with closing(sqlite3.connect(folder / "data" / "fishs2.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    lines = [
        line for log in (folder / "logs").glob("*.log") for line in log.read_text().splitlines()
    ]
    assert lines
    assert [line for line in lines if not line.startswith("ts=")] == []
