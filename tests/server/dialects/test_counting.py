"""What counts against a key, and what does not, in every dialect."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import ormsgpack
import pytest
import websockets

from fishs2.runtime import open_database
from fishs2.store.accounts.keys import NewKey
from fishs2.store.accounts.usage import read_usage
from tests.fakes import FakeEngine
from tests.server.keyed import serving_keys
from tests.serving import PATIENCE_S, Served

TEXT = "Hello there."
REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/v1/audio/speech", {"model": "fishs2", "input": TEXT, "voice": "nobody"}),
    ("POST", "/audio/speech", {"model": "nothing", "input": TEXT}),
    ("POST", "/compat/v1/audio/speech", {"model": "fishs2", "input": TEXT, "voice": "nobody"}),
    ("POST", "/api/open/tts", {"reference_id": "nobody", "text": TEXT}),
    ("POST", "/api/open/delete-model", {"modelId": "nobody"}),
    ("POST", "/v1/tts", {"text": TEXT, "reference_id": "nobody"}),
    ("POST", "/v1/tts/stream/with-timestamp", {"text": ""}),
    ("POST", "/v1/text-to-speech/nobody", {"text": TEXT}),
    ("POST", "/v1/text-to-speech/nobody/stream/with-timestamps", {"text": TEXT}),
    ("POST", "/elevenlabs/v1/voices/add", {}),
    ("POST", "/v1/vqgan/encode", {"audios": []}),
    ("POST", "/v1/references/update", {"old_reference_id": "a", "new_reference_id": "b"}),
    ("POST", "/v1/audio/voices", {}),
    ("POST", "/model", {"title": "no audio"}),
    ("PATCH", "/model/nobody", {"title": "new"}),
    ("DELETE", "/v1/voices/nobody", {}),
    ("GET", "/model/nobody", {}),
]


@asynccontextmanager
async def with_key(
    engine: FakeEngine | None = None, *, scopes: set[str] | None = None, **limits: Any
) -> AsyncIterator[tuple[Served, str]]:
    """A server that knows one key; yields its token."""
    key_limits = {name: limits.pop(name) for name in ("per_minute",) if name in limits}
    new = NewKey("me", frozenset(scopes or {"admin"}), **key_limits)
    async with serving_keys(new, engine=engine, **limits) as (served, [(_, token)]):
        yield served, token


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("method", "path", "body"), REFUSED)
async def test_refused_requests_count_on_every_route(
    method: str, path: str, body: dict[str, Any]
) -> None:
    async with with_key(per_minute=2) as (served, token):
        answers = [
            await served.client.request(method, path, json=body, headers=bearer(token))
            for _ in range(3)
        ]

    assert [answer.status_code // 100 for answer in answers] == [4, 4, 4] or path.endswith("encode")
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert int(answers[2].headers["Retry-After"]) >= 1


@pytest.mark.parametrize("is_packed", [False, True])
async def test_refused_requests_whose_key_is_in_the_body_count(is_packed: bool) -> None:
    kind = "application/msgpack" if is_packed else "application/json"
    async with with_key(per_minute=2) as (served, token):
        body = {"reference_id": "nobody", "text": TEXT, "token": token}
        content = ormsgpack.packb(body) if is_packed else json.dumps(body).encode()
        codes = [
            (
                await served.client.post(
                    "/api/open/tts", content=content, headers={"Content-Type": kind}
                )
            ).json()["code"]
            for _ in range(3)
        ]

    assert codes == ["model_not_found", "model_not_found", "rate_limit_exceeded"]


@pytest.mark.parametrize("path", ["/v1/audio/speech", "/api/open/tts", "/v1/tts", "/model"])
async def test_key_over_its_rate_is_told_before_its_body_is_read(path: str) -> None:
    async with with_key(per_minute=1) as (served, token):
        await served.client.get("/v1/models", headers=bearer(token))
        url = httpx.URL(served.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n".encode()
        )
        status = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert b" 429 " in status


async def test_live_speech_that_is_refused_counts() -> None:
    async with with_key(per_minute=1) as (served, token):
        url = served.url.replace("http", "ws") + "/v1/tts/live"
        messages = []
        for _ in range(2):
            async with websockets.connect(
                url, additional_headers=bearer(token), open_timeout=PATIENCE_S
            ) as socket:
                request = {"text": "", "reference_id": "nobody"}
                await socket.send(ormsgpack.packb({"event": "start", "request": request}))
                answer = await socket.recv(decode=False)
                messages.append(ormsgpack.unpackb(answer)["message"])

    assert "no voice" in messages[0]
    assert "times a minute" in messages[1]


async def test_refusal_of_a_busy_server_is_no_error_of_the_key() -> None:
    async with with_key(max_streams=0) as (served, token):
        answer = await served.client.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": TEXT}, headers=bearer(token)
        )
        key_id = token.split("_")[1]
        database = open_database(served.settings)
        days = read_usage(database, key_id, "2000-01-01")
        database.close()

    assert answer.json()["error"]["code"] == "server_busy"
    assert sum(day.num_errors for day in days) == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/voices"),
        ("GET", "/voices"),
        ("GET", "/v1/audio/voices"),
        ("GET", "/files"),
        ("GET", "/model"),
        ("GET", "/model/sample_male"),
        ("GET", "/v1/references/list"),
        ("POST", "/api/open/list-models"),
    ],
)
async def test_who_may_change_voices_may_read_them(method: str, path: str) -> None:
    async with with_key(scopes={"voices:write"}) as (served, token):
        await served.services.wait_for_stores()
        read = await served.client.request(method, path, headers=bearer(token), json={})
        spoken = await served.client.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": TEXT}, headers=bearer(token)
        )

    assert read.status_code == 200
    assert spoken.status_code == 403
