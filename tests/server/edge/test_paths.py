"""Paths as people write them lead to one route, and past no lock."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import ormsgpack
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fishs2.runtime import open_database
from fishs2.server.edge.paths import clean_path
from fishs2.store.accounts.keys import NewKey, create_key
from tests.server.wire.raw import connecting, request
from tests.serving import PATIENCE_S, Served, make_app, make_settings, serving

BODY = {"model": "fishs2", "input": "Hello there.", "response_format": "wav"}


async def ask(url: str, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    """The status of a request whose path is sent as it stands."""
    async with connecting(url) as connection:
        body = json.dumps(BODY).encode() if method == "POST" else b""
        given = {"Content-Type": "application/json", **(headers or {})}
        await connection.send(request(method, path, given, body))
        return (await connection.receive(has_body=method != "HEAD")).status


@pytest.mark.parametrize(
    "path",
    [
        "/v1/audio/speech",
        "/v1/audio/speech/",
        "//v1/audio/speech",
        "/v1//audio///speech//",
        "/v1/v1/audio/speech",
        "/v1/v1/v1//audio/speech/",
        "/audio/speech",
        "//audio/speech/",
        "/v1/tts",
        "/v1/v1/tts/",
        "/tts",
        "/compat/v1/audio/speech/",
        "/compat/v1/v1/audio/speech",
        "/compat/api/v1/v1/audio/speech",
        "/compat/openai/v1/v1/audio/speech",
        "//compat//v1/audio/speech",
    ],
)
async def test_speech_is_found_however_its_path_is_spelled(path: str) -> None:
    body = json.dumps({**BODY, "text": "Hello there."}).encode()
    async with serving() as served, connecting(served.url) as connection:
        await connection.send(request("POST", path, {"Content-Type": "application/json"}, body))
        answer = await connection.receive()

    # No redirect: clients that follow it send no body, or a GET.
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/", 200),
        ("/models//fishs2/", 200),
        ("/v1/v1/models/fishaudio/s2-pro", 200),
        ("/v1/voices//", 200),
        ("/references/list/", 200),
        ("/v1/v1/references/list", 200),
        ("/model/", 200),
        ("/v1/model", 200),
        ("/v1/wallet/self/api-credit/", 200),
        ("/api/open//profile/", 200),
        ("//health/", 200),
        ("/v1/health/", 200),
        ("/docs/", 200),
        ("//", 200),
        ("/openapi.json/", 200),
        ("/docs/files//swagger-ui.css", 200),
        ("/metrics/", 200),
        ("/v1", 404),
        ("/v1/nothing/", 404),
        ("/v1/models%0A", 404),
        ("/v1/models/fishs2%0A", 404),
        ("/health%0A", 404),
    ],
)
async def test_every_dialect_reads_paths_alike(path: str, status: int) -> None:
    async with serving() as served:
        assert await ask(served.url, "GET", path) == status


@pytest.mark.parametrize(
    "path", ["/v1/tts/live/", "/v1//v1/tts/live", "/tts/live", "//tts//live/with-timestamp/"]
)
async def test_websockets_are_found_however_their_path_is_spelled(path: str) -> None:
    async with serving() as served:
        url = served.url.replace("http", "ws") + path
        async with connect(url, open_timeout=PATIENCE_S) as socket:
            await socket.send(ormsgpack.packb({"event": "start", "request": {"text": "Hi."}}))
            await socket.send(ormsgpack.packb({"event": "stop"}))
            events = [
                ormsgpack.unpackb(frame) async for frame in socket if isinstance(frame, bytes)
            ]

    assert events[-1]["event"] == "finish"


async def test_v1_paths_also_work_without_v1_but_health() -> None:
    async with serving() as served:
        paths = make_app(served.services, served.settings).openapi()["paths"]
        health = [(await served.client.get(path)).json() for path in ("/health", "/v1/health")]

    versioned = {path for path in paths if path.startswith("/v1/")} - {"/v1/health"}
    assert versioned
    for path in versioned:
        assert clean_path(path.removeprefix("/v1")) == path
    assert set(health[0]) > set(health[1])


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/v1/voices/a%2F", "/v1/voices/a%2F%2Fb", "/v1/voices/%2E"]
)
def test_encoded_slashes_belong_to_names(path: str) -> None:
    assert clean_path(path) == path


async def test_a_voice_is_not_deleted_by_a_name_that_only_looks_like_its_own() -> None:
    async with serving() as served:
        await served.services.wait_for_engine()
        while not (await served.client.get("/v1/voices")).json()["data"]:
            pass
        voice = (await served.client.get("/v1/voices")).json()["data"][0]["id"]
        for name in (
            f"{voice}%2F",
            f"%2F{voice}",
            f"x%2F..%2F{voice}",
            f"{voice};x",
            f"{voice}%00",
        ):
            assert await ask(served.url, "DELETE", f"/v1/voices/{name}") == 404
        assert await ask(served.url, "DELETE", f"/v1/voices/{voice}/") == 200


@asynccontextmanager
async def locked(folder: Path) -> AsyncIterator[tuple[Served, dict[str, dict[str, str]]]]:
    """A server that asks for keys, and headers with one of each scope."""
    settings = make_settings(data_dir=folder)
    database = open_database(settings)
    database.migrate()
    headers = {}
    for scope in ("speech", "voices:write"):
        _, token = create_key(database, NewKey(scope, scopes=frozenset({scope})))
        headers[scope] = {"Authorization": f"Bearer {token}"}
    database.close()
    async with serving(data_dir=folder) as served:
        client = served.client
        while not (await client.get("/v1/voices", headers=headers["speech"])).json().get("data"):
            pass
        yield served, headers


CLOSED = [
    ("POST", "/v1/audio/speech"),
    ("POST", "/audio/speech"),
    ("GET", "/v1/voices"),
    ("POST", "/v1/audio/voices"),
    ("POST", "/files"),
    ("DELETE", "/v1/voices/sample_male"),
    ("GET", "/model"),
    ("POST", "/model"),
    ("DELETE", "/model/sample_male"),
    ("DELETE", "/v1/references/delete"),
    ("GET", "/metrics"),
    ("POST", "/v1/tts"),
]


def spellings(path: str) -> list[str]:
    """Other ways to write a path, most of which are no path of ours."""
    segments = path.strip("/").split("/")
    encoded = "%2F".join(segments)
    return [
        f"{path}/",
        f"/{path}",
        path.replace("/", "//"),
        f"/v1{path}",
        f"/v1/v1{path}",
        f"/{encoded}",
        f"/%2F{encoded}",
        f"{path}%2F",
        f"{path}%0A",
        f"{path}%0D%0A",
        f"{path}%0A/",
        f"{path}%00",
        f"{path};x=1",
        f"{path}/.",
        f"/./{path.strip('/')}",
        f"/health/..{path}",
        f"/docs/..{path}",
        f"/docs/files/..{path}",
        f"/docs/files/..%2F..{path}",
        f"/clips/..{path}",
        f"/clips/..%2F..%2F{encoded}",
        f"/api/open/..{path}",
        f"/api/open/..%2F..{path}",
        f"/api/open/%2E%2E/%2E%2E{path}",
        f"{path}?/health",
        f"{path}%3F/health",
        f"{path}%23/docs",
        path.upper(),
        path.replace("v1", "%76%31"),
        f"http://other{path}",
    ]


@pytest.mark.parametrize(("method", "path"), CLOSED)
async def test_no_spelling_of_a_path_gets_around_keys(
    method: str, path: str, tmp_path: Path
) -> None:
    async with locked(tmp_path) as (served, _):
        for spelling in spellings(path):
            assert await ask(served.url, method, spelling) in (400, 401, 404, 405), spelling


async def test_no_spelling_of_a_path_gets_around_scopes(tmp_path: Path) -> None:
    async with locked(tmp_path) as (served, headers):
        for method, path in CLOSED:
            if method == "GET":
                continue
            is_speech = path.endswith(("speech", "/tts"))
            wrong = headers["voices:write" if is_speech else "speech"]
            for spelling in spellings(path):
                status = await ask(served.url, method, spelling, wrong)
                assert status in (400, 403, 404, 405), spelling
        left = (await served.client.get("/v1/voices", headers=headers["speech"])).json()["data"]

    assert "sample_male" in {voice["id"] for voice in left}


async def test_websockets_ask_for_keys_however_their_path_is_spelled(tmp_path: Path) -> None:
    async with locked(tmp_path) as (served, headers):
        base = served.url.replace("http", "ws")
        for path in ("/tts/live", "/v1/v1/tts/live/", "//v1/tts//live", "/health/../v1/tts/live"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(base + path, open_timeout=PATIENCE_S)
            assert refused.value.response.status_code == 401
            with pytest.raises(InvalidStatus) as refused:
                await connect(
                    base + path,
                    additional_headers=headers["voices:write"],
                    open_timeout=PATIENCE_S,
                )
            assert refused.value.response.status_code == 403
