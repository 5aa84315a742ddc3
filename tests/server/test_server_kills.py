"""A server that is killed at any moment: what it has acknowledged is there when it starts again."""

import asyncio
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fishs2.store.accounts.keys import NewKey, create_key, find_key
from fishs2.store.accounts.usage import read_usage, release_dead, today
from fishs2.store.database import Database
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.serving import PATIENCE_S, running_server

RECORDING = (SAMPLE_VOICES / "sample_male" / "sample_male_new.wav").read_bytes()
TEXT = "Nothing is lost."
GRANTED = 1_000_000

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")


@dataclass(slots=True)
class Acknowledged:
    """What the server has said that it has done; tried: what it was asked for."""

    voices: dict[str, str | None] = field(default_factory=dict)  # transcript; None is deleted
    tried_voices: dict[str, set[str | None]] = field(default_factory=dict)
    clips: dict[str, bytes] = field(default_factory=dict)
    num_chars: int = 0
    num_tried_chars: int = 0
    num_answers: int = 0


async def change_voices(client: httpx.AsyncClient, done: Acknowledged, rng: random.Random) -> None:
    """Store, replace and delete voices, until the server is gone."""
    while True:
        name = f"voice-{rng.randrange(4)}"
        wanted = None if rng.random() < 0.3 and done.voices.get(name) else f"{rng.random()}"
        done.tried_voices.setdefault(name, set()).add(wanted)
        if wanted is None:
            answer = await client.delete(f"/v1/voices/{name}")
        else:
            answer = await client.post(
                "/v1/audio/voices",
                data={"name": name, "prompt_text": wanted},
                files={"files": ("a.wav", RECORDING)},
            )
        assert answer.status_code in (200, 201, 204), answer.text
        done.voices[name] = wanted
        done.tried_voices[name] = {wanted}
        done.num_answers += 1


async def speak(client: httpx.AsyncClient, done: Acknowledged) -> None:
    """Have texts spoken and kept, until the server is gone."""
    while True:
        text = f"{TEXT} {done.num_tried_chars}"
        body = {"reference_id": "default", "text": text, "cache": True, "format": "wav"}
        done.num_tried_chars += len(text)
        answer = await client.post("/api/open/tts", json=body)
        assert answer.status_code == 200, answer.text
        done.num_chars += len(text)
        path = httpx.URL(answer.json()["audio_url"]).path
        done.clips[path] = (await client.get(path)).content
        done.num_answers += 1


async def check(client: httpx.AsyncClient, done: Acknowledged) -> None:
    listed = (await client.get("/model", params={"page_size": 100})).json()["items"]
    found = {item["title"]: item["samples"][0]["text"] for item in listed}
    for name, allowed in done.tried_voices.items():
        assert found.get(name) in allowed | {done.voices.get(name)}, name
        done.voices[name], done.tried_voices[name] = found.get(name), set()
    for path, content in done.clips.items():
        assert (await client.get(path)).content == content


async def work_until_killed(
    url: str,
    headers: dict[str, str],
    done: Acknowledged,
    rng: random.Random,
    kill: Callable[[], None],
) -> None:
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S) as client:
        await check(client, done)
        aim = done.num_answers + rng.randint(3, 12)

        async def watch() -> None:
            while done.num_answers < aim:  # noqa: ASYNC110 - what is watched has no event
                await asyncio.sleep(0.001)
            # At any moment of what is being done by now.
            await asyncio.sleep(rng.uniform(0, 0.05))
            kill()

        async def ask(work: object) -> None:
            with suppress(httpx.TransportError):
                await work  # type: ignore[misc]

        await asyncio.gather(
            watch(), ask(change_voices(client, done, rng)), ask(speak(client, done))
        )


@pytest.mark.parametrize(
    "num_kills",
    [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def test_what_was_acknowledged_survives_kills_at_any_moment(tmp_path: Path, num_kills: int) -> None:
    database = Database(f"sqlite:///{tmp_path / 'data' / 'fishs2.db'}")
    database.migrate()
    scopes = frozenset({"admin"})
    key, token = create_key(database, NewKey("me", scopes=scopes, granted=GRANTED))
    headers = {"Authorization": f"Bearer {token}"}
    done, rng = Acknowledged(), random.Random(7)
    settings: dict[str, Any] = {
        "FISHS2_ENGINE": "builtin",
        "FISHS2_DATA_DIR": str(tmp_path / "data"),
        "FISHS2_VOICES_DIR": str(tmp_path / "voices"),
    }

    for _ in range(num_kills):
        with running_server(tmp_path, **settings) as (url, process):
            asyncio.run(work_until_killed(url, headers, done, rng, process.kill))
            process.wait()
    with running_server(tmp_path, **settings) as (url, _):

        async def look() -> None:
            async with httpx.AsyncClient(base_url=url, headers=headers) as client:
                await check(client, done)

        asyncio.run(look())
    release_dead(database, time.time() + 1e6)
    found = find_key(database, key.id)
    [day] = read_usage(database, key.id, today())
    database.close()

    assert found is not None
    assert (found.reserved, found.active) == (0, 0)
    # Who has the audio has paid for it; what was not acknowledged may have been paid for.
    assert done.num_chars <= found.spent <= done.num_tried_chars
    assert day.num_chars == found.spent
    assert not list((tmp_path / "voices").glob(".*-*"))
    assert done.num_answers > 3 * num_kills
