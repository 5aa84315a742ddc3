"""OPTIONS on every route, for whoever asks; foreign pages; the icon."""

from pathlib import Path

import pytest

from tests.server.edge.test_paths import locked
from tests.serving import serving

QUESTION = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}


async def test_options_says_what_each_path_knows_and_needs_no_key(tmp_path: Path) -> None:
    async with locked(tmp_path) as (served, _):
        paths = (await served.client.get("/openapi.json")).json()["paths"]
        for path, methods in paths.items():
            answer = await served.client.options(path.replace("{", "").replace("}", ""))
            assert answer.status_code == 204, path
            assert answer.content == b""
            allowed = set(answer.headers["allow"].lower().split(", "))
            assert allowed >= {*methods, "options"}, path
            assert ("head" in allowed) is ("get" in allowed)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/docs/", "GET, HEAD, OPTIONS"),
        ("/docs/files/swagger-ui.css", "GET, HEAD, OPTIONS"),
        ("/audio/speech", None),
        ("/v1/audio/voices", "GET, HEAD, POST, OPTIONS"),
        ("/compat/v1/audio/speech", "POST, OPTIONS"),
        ("/v1/health", "GET, HEAD, POST, OPTIONS"),
    ],
)
async def test_options_also_answers_for_paths_that_the_page_hides(
    path: str, allowed: str | None
) -> None:
    async with serving() as served:
        answer = await served.client.options(path)

    assert answer.status_code == 204
    assert allowed is None or answer.headers["allow"] == allowed


async def test_options_of_what_is_not_there_is_404() -> None:
    async with serving() as served:
        assert (await served.client.options("/v1/nothing")).status_code == 404


@pytest.mark.parametrize("origins", [(), ("https://mine.example",)])
async def test_a_foreign_page_is_told_of_the_setting_before_it_calls(
    origins: tuple[str, ...],
) -> None:
    async with serving(cors_origins=origins) as served:
        answer = await served.client.options("/v1/audio/speech", headers=QUESTION)
        called = await served.client.post(
            "/v1/audio/speech", json={}, headers={"Origin": "https://page.example"}
        )

    for refused in (answer, called):
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "origin_not_allowed"
        assert "FISHS2_CORS_ORIGINS" in refused.json()["error"]["message"]
        assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("origins", [(), ("https://mine.example",)])
async def test_a_page_of_this_server_may_ask_whatever_others_may(
    origins: tuple[str, ...],
) -> None:
    async with serving(cors_origins=origins) as served:
        headers = {**QUESTION, "Origin": served.url.replace("http:", "https:")}
        answer = await served.client.options("/v1/audio/speech", headers=headers)

    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")


@pytest.mark.parametrize("path", ["/v1/tts/live", "/tts/live/with-timestamp"])
async def test_what_is_for_websockets_says_so(path: str) -> None:
    async with serving() as served:
        options = await served.client.options(path)
        plain = await served.client.get(path)

    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
    assert "WebSocket" in plain.json()["message"]


async def test_the_icon_is_public_small_and_kept(tmp_path: Path) -> None:
    async with locked(tmp_path) as (served, _):
        icon = await served.client.get("/favicon.ico")
        page = (await served.client.get("/docs")).text

    assert icon.status_code == 200
    assert icon.headers["content-type"] == "image/png"
    assert icon.content.startswith(b"\x89PNG")
    assert len(icon.content) < 1_000
    assert "max-age" in icon.headers["cache-control"]
    assert "favicon.ico" in page
