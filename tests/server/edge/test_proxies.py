"""Behind proxies: whom is believed, which addresses we name, and a real nginx in front."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import ormsgpack
import pytest
from websockets.asyncio.client import connect

from fishs2.errors import SettingsError
from fishs2.server.edge.proxies import Proxies
from fishs2.settings import load_settings
from tests.serving import PATIENCE_S, Served, free_port, serving, until

LOOPBACK = ("127.0.0.0/8", "::1/128")


async def see(headers: dict[str, str], *, trusted: tuple[str, ...] = LOOPBACK, **scope: Any) -> Any:
    """The scope that the app gets, for a request from this machine if nothing else is said."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    raw = [(k.lower().encode(), v.encode()) for k, v in {"Host": "inner:80", **headers}.items()]
    given = {
        "type": "http",
        "scheme": "http",
        "path": "/docs",
        "client": ("127.0.0.1", 5),
        "headers": raw,
        **scope,
    }
    await Proxies(app, trusted=trusted, prefix="")(given, None, None)  # type: ignore[arg-type]
    return seen[0]


def host_of(scope: Any) -> str:
    return str(dict(scope["headers"])[b"host"], "ascii")


EVERYTHING = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "tts.example",
    "X-Forwarded-Prefix": "/tts",
}


async def test_a_trusted_proxy_is_believed() -> None:
    scope = await see(EVERYTHING)

    assert scope["client"][0] == "203.0.113.9"
    assert (scope["scheme"], host_of(scope)) == ("https", "tts.example")
    assert scope["state"]["prefix"] == "/tts"


@pytest.mark.parametrize("client", ["203.0.113.7", "2001:db8::1", "", "testclient"])
async def test_a_stranger_is_not_believed(client: str) -> None:
    forwarded = {"Forwarded": "for=1.2.3.4;host=evil.example;proto=https", **EVERYTHING}
    scope = await see(forwarded, client=(client, 5))

    assert scope["client"][0] == client
    assert (scope["scheme"], host_of(scope)) == ("http", "inner:80")
    assert scope["state"]["prefix"] == ""
    assert not [name for name, _ in scope["headers"] if b"forwarded" in name]


@pytest.mark.parametrize(
    ("trusted", "client"),
    [
        (("10.0.0.0/8",), "10.1.2.3"),
        (("10.1.2.3",), "10.1.2.3"),
        (("*",), "203.0.113.7"),
        (("2001:db8::/32",), "2001:db8::1"),
        (LOOPBACK, "::ffff:127.0.0.1"),
        (LOOPBACK, "::1"),
    ],
)
async def test_settings_name_who_is_believed(trusted: tuple[str, ...], client: str) -> None:
    scope = await see(EVERYTHING, trusted=trusted, client=(client, 5))

    assert scope["client"][0] == "203.0.113.9"


async def test_the_client_is_the_nearest_that_no_trusted_proxy_is() -> None:
    chain = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9:4711, 127.0.0.1"}

    assert (await see(chain))["client"][0] == "203.0.113.9"
    assert (await see({"X-Forwarded-For": "[2001:db8::7]:80"}))["client"][0] == "2001:db8::7"
    assert (await see({"X-Forwarded-For": "127.0.0.1"}))["client"][0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        ({"X-Forwarded-Port": "8443", "X-Forwarded-Proto": "https"}, "inner:80"),
        ({"X-Forwarded-Port": "8443", "Host": "pub.example"}, "pub.example:8443"),
        ({"X-Forwarded-Port": "443", "X-Forwarded-Proto": "https", "Host": "a.b"}, "a.b"),
        ({"X-Forwarded-Host": "a.b:7, c.d"}, "a.b:7"),
        ({"X-Forwarded-Host": 'a"b'}, "inner:80"),
        ({"X-Forwarded-Port": "8a"}, "inner:80"),
        ({"Forwarded": 'for="[2001:db8::7]:80";host="a.b:7";proto=https, for=x'}, "a.b:7"),
    ],
)
async def test_host_and_port_are_those_the_client_used(headers: dict[str, str], host: str) -> None:
    assert host_of(await see(headers)) == host


async def test_forwarded_is_read_as_its_standard_says() -> None:
    said = {"Forwarded": 'For="[2001:db8:cafe::17]:4711";Proto=HTTPS, for=127.0.0.1'}
    scope = await see(said, type="websocket", scheme="ws")

    assert scope["client"][0] == "2001:db8:cafe::17"
    assert scope["scheme"] == "wss"


@pytest.mark.parametrize(
    "prefix",
    [
        "tts",
        "//evil.example",
        "/a b",
        "/<x>",
        "/a/../b?",
        "/a//b",
        "/..",
        "/a/../b",
        "/./a",
        "/a/.",
        "/a, /..",
        "/a'b",
        "/a%0d%0ab",
        "javascript:alert(1)",
    ],
)
async def test_a_prefix_that_is_no_path_is_ignored(prefix: str) -> None:
    assert (await see({"X-Forwarded-Prefix": prefix}))["state"]["prefix"] == ""


@pytest.mark.parametrize("prefix", ["/.well", "/a..b", "/..a/.b", "/v1.0", "/~me"])
async def test_dots_in_names_of_a_prefix_are_no_way_up(prefix: str) -> None:
    assert (await see({"X-Forwarded-Prefix": prefix}))["state"]["prefix"] == prefix


@pytest.mark.parametrize(
    ("path", "left"),
    [("/tts/docs", "/docs"), ("/docs", "/docs"), ("/tts", "/"), ("/ttsx", "/ttsx")],
)
async def test_the_prefix_is_taken_off_once_if_it_is_there(path: str, left: str) -> None:
    scope = await see({"X-Forwarded-Prefix": "/tts/"}, path=path, raw_path=path.encode())

    assert (scope["path"], scope["raw_path"], scope["root_path"]) == (left, left.encode(), "")


def test_networks_that_are_none_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHS2_TRUSTED_PROXIES", "10.0.0.7, my-proxy")

    with pytest.raises(SettingsError, match=r"my-proxy.*neither an address"):
        load_settings()


NGINX = """
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
  fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port};
    proxy_set_header X-Forwarded-Prefix $prefix;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Proto https;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    proxy_http_version {version};
    proxy_buffering off;
    location /strips/ {{ set $prefix /strips; proxy_pass {url}/; }}
    location /keeps/ {{ set $prefix /keeps; proxy_pass {url}; }}
    location /named/ {{ proxy_set_header Host $host; proxy_pass {url}/; }}
    location /inner/ {{ proxy_set_header X-Forwarded-Host $host; proxy_pass {url}/; }}
  }}
}}
"""


@asynccontextmanager
async def behind_nginx(version: str, **settings: Any) -> AsyncIterator[tuple[Served, str]]:
    """A server behind nginx, and the address of that."""
    async with serving(**settings) as served:
        with tempfile.TemporaryDirectory(prefix="fishs2-nginx-") as folder:
            port = free_port()
            config = NGINX.format(folder=folder, port=port, url=served.url, version=version)
            path = Path(folder, "nginx.conf")
            await asyncio.to_thread(path.write_text, config)
            process = await asyncio.create_subprocess_exec("nginx", "-c", str(path), "-p", folder)
            try:
                await until(Path(folder, "pid").exists)
                yield served, f"http://127.0.0.1:{port}"
            finally:
                process.terminate()
                await process.wait()


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("location", ["/strips", "/keeps"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_everything_works_below_a_path_of_nginx(location: str, version: str) -> None:
    async with (
        behind_nginx(version) as (_, url),
        httpx.AsyncClient(base_url=url + location) as client,
    ):
        page = await client.get("/docs/")
        schema = (await client.get("/openapi.json")).json()
        script = page.text.partition('src="')[2].partition('"')[0]
        loaded = await client.get(urljoin(f"{url}{location}/docs/", script))
        cached = await client.post(
            "/api/open/tts", json={"reference_id": "default", "text": "Hi.", "cache": True}
        )
        body = {"model": "fishs2", "input": "Hello there.", "stream": True}
        streamed = await client.post("/v1/audio/speech/", json=body)
        link = cached.json()["audio_url"]
        clip = await client.get(link.replace("https:", "http:"))
        events = []
        if version == "1.1":
            live = f"{url.replace('http', 'ws')}{location}/v1/tts/live"
            async with connect(live, open_timeout=PATIENCE_S) as socket:
                await socket.send(ormsgpack.packb({"event": "start", "request": {"text": "Hi."}}))
                await socket.send(ormsgpack.packb({"event": "stop"}))
                frames = [frame async for frame in socket if isinstance(frame, bytes)]
                events = [ormsgpack.unpackb(frame)["event"] for frame in frames]

    assert (page.status_code, loaded.status_code) == (200, 200)
    assert f"'{location}/openapi.json'" in page.text
    assert schema["servers"] == [{"url": location}]
    assert link.startswith(f"{url.replace('http:', 'https:')}{location}/clips/")
    assert (clip.status_code, streamed.status_code) == (200, 200)
    assert streamed.content[:4] == b"RIFF"
    assert events[-1:] == (["finish"] if version == "1.1" else [])


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
@pytest.mark.parametrize("location", ["/named", "/inner"])
async def test_pages_behind_an_nginx_that_leaves_out_its_port_may_upload(location: str) -> None:
    """As `proxy_set_header Host $host` does, which many copy."""
    question = {"Access-Control-Request-Method": "DELETE"}
    async with (
        behind_nginx("1.1") as (_, url),
        httpx.AsyncClient(base_url=url + location) as client,
    ):
        own = {"Origin": url}
        answers = [
            await client.post(
                "/v1/audio/speech", json={"model": "fishs2", "input": "Hi."}, headers=own
            ),
            await client.options("/v1/audio/voices/a", headers={**own, **question}),
        ]
        other = {"Origin": "http://page.example"}
        refused = await client.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": "Hi."}, headers=other
        )

    assert 403 not in [each.status_code for each in answers]
    assert refused.json()["error"]["code"] == "origin_not_allowed"


@pytest.mark.parametrize(
    ("headers", "server", "client", "has_lost_port"),
    [
        ({"Host": "box.lan"}, ("127.0.0.1", 8020), "127.0.0.1", True),
        ({"Host": "[::1]"}, ("::1", 8020), "::1", True),
        ({"Host": "box.lan"}, ("/run/fishs2", None), "127.0.0.1", True),
        ({"Host": "inner:1", "X-Forwarded-Host": "box.lan"}, ("a", 8020), "127.0.0.1", True),
        ({"Host": "inner:1", "X-Forwarded-Host": "box.lan"}, ("a", 80), "127.0.0.1", True),
        # A browser without a proxy names no port but these.
        ({"Host": "box.lan"}, ("127.0.0.1", 80), "127.0.0.1", False),
        ({"Host": "box.lan"}, ("127.0.0.1", 443), "127.0.0.1", False),
        ({"Host": "box.lan:8020"}, ("127.0.0.1", 8020), "127.0.0.1", False),
        ({"Host": "box.lan", "X-Forwarded-Port": "81"}, ("a", 8020), "127.0.0.1", False),
        ({"Host": "a:1", "X-Forwarded-Host": "box.lan:82"}, ("a", 8020), "127.0.0.1", False),
        ({"Host": "box.lan"}, ("127.0.0.1", 8020), "203.0.113.7", False),
    ],
)
async def test_a_port_that_a_trusted_proxy_left_out_is_missed(
    headers: dict[str, str], server: tuple[str, int | None], client: str, has_lost_port: bool
) -> None:
    scope = await see(headers, server=server, client=(client, 5))

    assert scope["state"]["has_lost_port"] == has_lost_port


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"Host": "localhost", "Origin": "https://localhost:8443"}, 200),
        ({"Host": "localhost", "Origin": "http://127.0.0.1:8443"}, 403),
        ({"Host": "localhost:8020", "Origin": "http://localhost:8443"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost.evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example:8443"}, 421),
    ],
)
async def test_only_a_page_of_the_same_name_passes_where_the_port_was_left_out(
    sent: dict[str, str], status: int
) -> None:
    async with serving() as served:
        answer = await served.client.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": "Hi."}, headers=sent
        )

    assert answer.status_code == status
