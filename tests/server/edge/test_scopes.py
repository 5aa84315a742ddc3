"""What each route asks of a key, and which ask for none: the whole list, by name."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import APIRouter, WebSocket
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Mount
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fishs2.server.edge.auth import READ_VOICES, Doors, GuardedRoute, GuardedRouter
from fishs2.store.accounts.keys import SCOPES as KEY_SCOPES
from fishs2.store.accounts.keys import NewKey
from tests.fakes import FakeEngine
from tests.server.keyed import serving_keys
from tests.serving import Served, make_app, make_services, make_settings, serving

PUBLIC, ANY = frozenset[str](), frozenset(KEY_SCOPES)
SPEECH = frozenset({"speech", "admin"})
STORE = frozenset({"voices:write", "admin"})
READ = SPEECH | STORE

OPEN = "/api/open/"
ELEVEN = "/elevenlabs"
ABSENT = [
    (method, path)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    for root in ("/v1/voice-design", "/v1/agent", "/v1/agents")
    for path in (root, f"{root}/x")
]
LIP_SYNC = [
    (method, OPEN + path)
    for method in ("GET", "POST")
    for path in ("lip-sync", "lip-sync/x", "lipsync/x")
]
SCOPES: dict[tuple[str, str], frozenset[str]] = {
    **{("GET", path): PUBLIC for path in ("/", "/docs", "/openapi.json", "/favicon.ico")},
    ("GET", "/docs/files/swagger-ui.css"): PUBLIC,
    ("GET", "/clips/x"): PUBLIC,
    ("GET", "/health"): PUBLIC,
    ("GET", "/v1/health"): PUBLIC,
    ("POST", "/v1/health"): PUBLIC,
    ("GET", "/metrics"): SPEECH,
    ("GET", "/v1/audio/speech"): SPEECH,
    ("POST", "/v1/audio/speech"): SPEECH,
    ("POST", "/v1/text/preview"): SPEECH,
    ("POST", "/dev/captioned_speech"): SPEECH,
    ("POST", "/v1/audio/transcriptions"): SPEECH,
    ("POST", "/v1/audio/translations"): SPEECH,
    ("GET", "/v1/models"): SPEECH,
    ("GET", "/v1/models/x"): SPEECH,
    ("GET", "/v1/audio/models"): SPEECH,
    **{("GET", path): READ for path in ("/v1/voices", "/v1/files", "/v1/audio/voices")},
    **{("GET", path): READ for path in ("/v1/lexicons", "/v1/lexicons/x")},
    **{(method, "/v1/lexicons/x"): STORE for method in ("PUT", "DELETE")},
    **{("POST", path): STORE for path in ("/v1/files", "/v1/audio/voices")},
    ("POST", "/v1/voices/check"): STORE,
    **{("GET", f"/v1/audio/voice_consents{path}"): READ for path in ("", "/x")},
    **{("POST", f"/v1/audio/voice_consents{path}"): STORE for path in ("", "/x")},
    ("DELETE", "/v1/audio/voice_consents/x"): STORE,
    **{("DELETE", path): STORE for path in ("/v1/voices/x", "/v1/audio/voices/x")},
    **{
        ("GET", path): READ
        for path in (
            *("/speakers", "/speakers_list", "/languages", "/get_models_list"),
            *("/get_tts_settings", "/tts_settings"),
            *("/api/ready", "/api/voices", "/api/rvcvoices", "/api/currentsettings"),
        )
    },
    **{
        ("POST", path): SPEECH
        for path in (
            *("/set_tts_settings", "/tts_settings", "/tts_to_audio"),
            *("/api/tts-generate", "/api/previewvoice"),
        )
    },
    **{
        ("GET", path): SPEECH
        for path in ("/tts_stream", "/sample/x", "/api/tts-generate-streaming")
    },
    **{
        (method, path): SPEECH
        for method in ("GET", "POST")
        for path in ("/switch_model", "/set_output", "/set_speaker_folder", "/tts_to_file")
    },
    **{
        ("POST", f"{ELEVEN}/v1/text-to-speech/x{path}{times}"): SPEECH
        for path in ("", "/stream")
        for times in ("", "/with-timestamps")
    },
    **{
        (method, f"{ELEVEN}/v1/text-to-speech/x/{path}"): SPEECH
        for method in ("WEBSOCKET", "GET")
        for path in ("stream-input", "multi-stream-input")
    },
    **{
        ("GET", f"{ELEVEN}{path}"): READ
        for path in (
            *("/v1/voices", "/v2/voices", "/v1/voices/x", "/v1/voices/x/settings"),
            "/v1/voices/settings/default",
        )
    },
    ("POST", f"{ELEVEN}/v1/voices/add"): STORE,
    ("POST", f"{ELEVEN}/v1/voices/x/settings/edit"): STORE,
    ("DELETE", f"{ELEVEN}/v1/voices/x"): STORE,
    ("GET", f"{ELEVEN}/v1/models"): SPEECH,
    **{("GET", f"{ELEVEN}{path}"): ANY for path in ("/v1/user", "/v1/user/subscription")},
    ("POST", f"{OPEN}tts"): SPEECH,
    ("POST", f"{OPEN}list-models"): READ,
    ("POST", f"{OPEN}create-model"): STORE,
    ("POST", f"{OPEN}delete-model"): STORE,
    ("GET", f"{OPEN}profile"): ANY,
    ("POST", f"{OPEN}profile"): ANY,
    **dict.fromkeys(LIP_SYNC, SPEECH),
    ("POST", "/v1/tts"): SPEECH,
    ("POST", "/v1/tts/stream/with-timestamp"): SPEECH,
    **{
        (method, path): SPEECH
        for method in ("WEBSOCKET", "GET")
        for path in (
            *("/v1/tts/live", "/v1/tts/live/with-timestamp", "/v1/realtime"),
            *("/compat/v1/realtime", "/compat/api/v1/realtime", "/compat/openai/v1/realtime"),
        )
    },
    ("GET", "/model"): READ,
    ("POST", "/model"): STORE,
    ("GET", "/model/x"): READ,
    ("PATCH", "/model/x"): STORE,
    ("DELETE", "/model/x"): STORE,
    ("GET", "/model/x/cover"): READ,
    ("GET", "/wallet/self/api-credit"): ANY,
    ("GET", "/wallet/self/package"): ANY,
    ("POST", "/v1/asr"): SPEECH,
    **dict.fromkeys(ABSENT, SPEECH),
    ("GET", "/v1/references/list"): READ,
    ("POST", "/v1/references/add"): STORE,
    ("POST", "/v1/references/update"): STORE,
    ("DELETE", "/v1/references/delete"): STORE,
    ("POST", "/v1/vqgan/encode"): SPEECH,
    ("POST", "/v1/vqgan/decode"): SPEECH,
    **{
        ("POST", f"/compat{root}/v1/audio/{path}"): SPEECH
        for root in ("", "/api", "/openai")
        for path in ("speech", "transcriptions")
    },
}
"""By method and a path of the route: of which scopes a key needs one. None of them: no key."""

UNKNOWN = [("GET", "/nothing"), ("POST", "/v1/nothing"), ("GET", "/api/open"), ("PUT", "/model")]
"""Whoever has no key learns of none of these that it is not there."""


@asynccontextmanager
async def with_keys() -> AsyncIterator[tuple[Served, dict[str, str]]]:
    """A server with a key of each scope; yields their tokens."""
    new = [NewKey(scope, frozenset({scope})) for scope in sorted(ANY)]
    async with serving_keys(*new) as (served, keys):
        yield served, {key.name: token for key, token in keys}


async def ask(served: Served, method: str, path: str, token: str | None) -> int:
    """The status of a request without a body; 101 for a handshake that is taken."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if method != "WEBSOCKET":
        return (await served.client.request(method, path, headers=headers)).status_code
    try:
        async with connect(served.url.replace("http", "ws") + path, additional_headers=headers):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


async def test_each_route_asks_for_its_scope_and_for_nothing_else() -> None:
    async with with_keys() as (served, tokens):
        for (method, path), scopes in SCOPES.items():
            lets_in = {
                scope
                for scope, token in tokens.items()
                if await ask(served, method, path, token) not in (401, 403)
            }
            assert lets_in == (scopes or ANY), (method, path)


async def test_routes_are_closed_without_a_key_but_those_that_are_listed() -> None:
    async with with_keys() as (served, _):
        for (method, path), scopes in SCOPES.items():
            is_open = await ask(served, method, path, None) not in (401, 403)
            if method == "WEBSOCKET" and path.startswith(ELEVEN):
                # The key may be in its first frame, and nothing is done before that one.
                assert is_open
                continue
            assert is_open == (scopes == PUBLIC), (method, path)


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
async def test_what_is_not_there_is_closed_too(method: str, path: str) -> None:
    async with with_keys() as (served, tokens):
        assert await ask(served, method, path, None) == 401
        assert await ask(served, method, path, tokens["admin"]) in (404, 405)


async def test_head_is_guarded_like_get_and_options_is_open() -> None:
    async with with_keys() as (served, tokens):
        for path in {path for method, path in SCOPES if method == "GET"}:
            with_speech = [
                await ask(served, way, path, tokens["speech"]) for way in ("GET", "HEAD")
            ]
            assert with_speech[0] == with_speech[1], path
            assert await ask(served, "OPTIONS", path, None) not in (401, 403), path


def test_the_list_has_every_route() -> None:
    app = make_app(make_services(FakeEngine(), make_settings()), make_settings())
    routes = [each for each in app.routes if not isinstance(each, Mount)]

    assert len(routes) > 50
    for route in routes:
        assert isinstance(route, GuardedRoute | APIWebSocketRoute)
        methods = route.methods if isinstance(route, APIRoute) else {"WEBSOCKET"}
        for method in methods or ():
            paths = [path for known, path in SCOPES if known == method]
            assert any(route.path_regex.match(path) for path in paths), (method, route.path)


async def test_the_api_page_names_what_each_operation_asks_for() -> None:
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()

    for path, known in page["paths"].items():
        for method, operation in known.items():
            asked = operation["x-fishs2-scope"]
            example = path.partition("{")[0] + "x" * ("{" in path) + path.partition("}")[2]
            scopes = SCOPES[method.upper(), example]
            match asked:
                case "public":
                    assert scopes == PUBLIC, (method, path)
                case "any key":
                    assert scopes == ANY, (method, path)
                case _:
                    assert scopes == {*asked, "admin"}, (method, path)


async def test_a_route_that_names_no_scope_cannot_be_registered() -> None:
    async def work() -> None: ...

    async def talk(_: WebSocket) -> None: ...

    router = GuardedRouter()
    with pytest.raises(ValueError, match="/new does not say which scope"):
        router.add_api_route("/new", work)
    with pytest.raises(ValueError, match="/new does not say which scope"):
        router.get("/new", openapi_extra={"parameters": []})(work)
    router.add_socket("/fine", talk, READ_VOICES)
    Doors().add(router)

    router.add_api_websocket_route("/new", talk)
    with pytest.raises(ValueError, match="does not say which scope"):
        Doors().add(router)
    with pytest.raises(ValueError, match="not guarded"):
        Doors().add(APIRouter())
