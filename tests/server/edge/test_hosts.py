"""By which names browsers may call the server: pages of others must not pass for its own."""

import socket

import pytest

from fishs2.errors import SettingsError, WrongHostError
from fishs2.server.edge.hosts import Hosts
from fishs2.settings import load_settings
from tests.server.wire.raw import connecting, request
from tests.serving import serving

EVIL = "evil.example:8020"
PAGE = {"Origin": f"http://{EVIL}", "Host": EVIL}
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8020",
        "192.168.1.7",
        "203.0.113.9:80",
        "[::1]:8020",
        "[fd00::7]",
        "localhost:8020",
        "LocalHost.",
        "tts",
        "fishs2:8020",
        "box.local",
        "box.lan:1",
        "tts.internal",
        "pi.home.arpa",
        socket.gethostname(),
        "tts.mine.example:8443",
        "a.below.example",
        "public.example",
    ],
)
def test_names_that_can_be_nobody_elses_are_allowed(host: str) -> None:
    hosts = Hosts(("TTS.mine.example", "*.below.example"), public_url="https://public.example/tts")
    hosts.check(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "mine.example",
        "tts.mine.example.evil.example",
        "below.example",
        "evilbelow.example",
        "127.0.0.1.nip.io",
        "127.0.0.1.evil.example:8020",
        "evillocal.example",
        "local.evil.example",
        "::1.evil.example",
    ],
)
def test_names_of_others_are_refused(host: str) -> None:
    hosts = Hosts(("tts.mine.example", "*.below.example"), public_url="https://public.example/tts")
    with pytest.raises(WrongHostError, match="FISHS2_ALLOWED_HOSTS"):
        hosts.check(host)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/audio/voices"),
        ("POST", "/v1/audio/voices"),
        ("DELETE", "/v1/audio/voices/a"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/api/open/tts"),
        ("GET", "/docs"),
        ("GET", "/health"),
        ("GET", "/v1/tts/live"),
    ],
)
@pytest.mark.parametrize(
    "sent", [PAGE, {"Host": EVIL, "Sec-Fetch-Site": "same-origin"}], ids=["origin", "fetch"]
)
async def test_a_page_that_lets_its_name_point_here_is_421(
    method: str, path: str, sent: dict[str, str]
) -> None:
    async with serving() as served:
        answer = await served.client.request(method, path, headers=sent)

    assert answer.status_code == 421
    assert "FISHS2_ALLOWED_HOSTS" in answer.text
    assert "access-control-allow-origin" not in answer.headers


async def test_a_question_of_such_a_page_and_its_websocket_are_421() -> None:
    question = {**PAGE, "Access-Control-Request-Method": "DELETE"}
    async with serving() as served:
        answer = await served.client.options("/v1/audio/voices/a", headers=question)
        async with connecting(served.url) as connection:
            await connection.send(request("GET", "/v1/tts/live", {**PAGE, **HANDSHAKE}))
            refused = await connection.receive()

    assert (answer.status_code, refused.status) == (421, 421)


async def test_such_a_page_cannot_pass_for_a_proxy_on_this_machine() -> None:
    forged = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    async with serving() as served:
        answer = await served.client.get("/v1/models", headers={**PAGE, **forged})

    assert answer.status_code == 421


async def test_behind_a_proxy_the_name_that_it_forwards_counts() -> None:
    page = {"Origin": "https://tts.mine.example", "Host": "inner:8020"}
    forwarded = {**page, "X-Forwarded-Host": "tts.mine.example"}
    async with serving() as served:
        refused = await served.client.get("/v1/models", headers=forwarded)
    async with serving(allowed_hosts=("tts.mine.example",)) as served:
        allowed = await served.client.get("/v1/models", headers=forwarded)

    assert (refused.status_code, allowed.status_code) == (421, 200)


@pytest.mark.parametrize("host", [EVIL, "tts.some.example", "fishs2", "voice.default.svc"])
async def test_programs_may_use_any_name(host: str) -> None:
    async with serving() as served:
        answer = await served.client.get("/v1/models", headers={"Host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize("origins", [("https://mine.example",), ("*",)])
async def test_a_page_that_may_call_everything_may_use_any_name(origins: tuple[str, ...]) -> None:
    sent = {"Origin": "https://mine.example", "Host": "tts.public.example"}
    async with serving(cors_origins=origins) as served:
        named = await served.client.get("/v1/models", headers=sent)
        other = await served.client.get("/v1/models", headers=PAGE)

    assert named.status_code == 200
    assert named.headers["access-control-allow-origin"]
    assert other.status_code == (200 if "*" in origins else 421)


@pytest.mark.parametrize("value", ["https://tts.example.com", "tts.example.com:8443", "a/b"])
def test_a_setting_that_is_no_name_stops_the_start(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISHS2_ALLOWED_HOSTS", value)
    with pytest.raises(SettingsError, match=r"FISHS2_ALLOWED_HOSTS.*leave out"):
        load_settings()
