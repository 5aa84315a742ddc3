"""The API page: what it shows works as it is, sent by a program and by a real browser."""

import shutil
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from fishs2.audio.formats import FORMATS
from fishs2.server.app import DIALECTS
from fishs2.server.status import EXAMPLES
from fishs2.store.voices.store import SAMPLE_VOICES
from tests.listeners import FakeListener
from tests.serving import PATIENCE_S, Served, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RECORDING = SAMPLE_VOICES / "sample_male" / "sample_male_new.wav"
REFUSED = {("get", "/clips/{name}"): 404, ("get", "/model/{model_id}/cover"): 404}
"""Of what nobody can know before: cached audio, and a picture that a voice may not have."""
REFUSED |= {
    (method, "/v1/audio/voice_consents/{consent_id}"): 404 for method in ("get", "post", "delete")
}
"""Ids that the server makes."""
REFUSED |= {("post", path): 501 for path in ("/v1/vqgan/encode", "/v1/vqgan/decode")}
"""What needs another engine, or another server."""

STORES = [("post", path) for path in ("/v1/references/add", "/model", "/api/open/create-model")]
STORES += [("post", "/elevenlabs/v1/voices/add")]
"""Operations that store a voice of a name that is free."""

WORDS = {"words": [{"word": "GIF", "say": "jif"}]}
"""Of the lexicon that examples name."""

SPOKEN = [
    ("post", "/v1/audio/speech"),
    ("post", "/v1/tts"),
    ("post", "/v1/tts/stream/with-timestamp"),
    ("post", "/api/open/tts"),
]


async def prepare(served: Served, path: str, method: str) -> None:
    """Have the voice that examples name, unless the operation stores it."""
    client = served.client
    while (await client.get("/model/sample_male")).status_code != 200:
        pass
    for voice in (await client.get("/v1/voices")).json()["data"]:
        if not voice["id"].startswith("sample_"):
            assert (await client.delete(f"/v1/voices/{voice['id']}")).status_code == 200
    assert (await client.put("/v1/lexicons/my-project", json=WORDS)).status_code == 200
    if (method, path) not in STORES:
        files = {"files": ("sample.wav", RECORDING.read_bytes())}
        stored = await client.post("/v1/audio/voices", files=files, data={"voice_id": "my-voice"})
        assert stored.status_code == 200, stored.text


def to_request(path: str, operation: dict[str, Any]) -> dict[str, Any]:
    """What a browser would send of an operation's examples: each as it is."""
    query = {}
    for parameter in operation.get("parameters", ()):
        value = parameter.get("example", parameter["schema"].get("default"))
        assert value is not None or not parameter["required"], parameter["name"]
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", quote(str(value), safe=""))
        elif value is not None:
            query[parameter["name"]] = value
    request: dict[str, Any] = {"url": path, "params": query}
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content and not _files(content):
        request["json"] = content["application/json"]["example"]
    elif content:
        request["data"] = content["multipart/form-data"]["example"]
        request["files"] = [
            (name, ("sample.wav", RECORDING.read_bytes())) for name in _files(content)
        ]
    return request


def _files(content: dict[str, Any]) -> list[str]:
    """Fields of a form that are audio files."""
    form = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    named = ("files", "audioFiles", "voices", "audio", "audios", "file", "recording")
    return [name for name in named if name in form]


async def test_every_operation_has_an_example_that_works_as_it_is() -> None:
    async with serving(listener=FakeListener()) as served:
        page = (await served.client.get("/openapi.json")).json()
        shown = {(method, path) for path, known in page["paths"].items() for method in known}
        assert shown == {*DIALECTS.examples(), *EXAMPLES}
        for method, path in sorted(shown):
            await prepare(served, path, method)
            request = to_request(path, page["paths"][path][method])
            answer = await served.client.request(method, **request)
            expected = REFUSED.get((method, path), 200)
            if (method, path) == ("post", "/model"):
                expected = 201
            assert answer.status_code == expected, (method, path, answer.text[:300])


async def test_every_operation_shows_an_example() -> None:
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()

    for path, known in page["paths"].items():
        for method, operation in known.items():
            places = [
                *operation.get("parameters", ()),
                *operation.get("requestBody", {}).get("content", {}).values(),
                *operation["responses"].get("200", {}).get("content", {}).values(),
            ]
            has_example = any("example" in place for place in places)
            assert has_example, (method, path)


async def test_defaults_and_choices_of_the_page_are_those_of_the_server() -> None:
    async with serving() as served:
        page = (await served.client.get("/openapi.json")).json()
        plain = await served.client.post("/v1/tts", json={"text": "Hello."})
        as_shown = await served.client.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": "Hello.", "response_format": None}
        )

    body = page["components"]["schemas"]["SpeechBody"]["properties"]
    names, null = body["response_format"]["anyOf"]
    assert (names["enum"], null) == (list(FORMATS), {"type": "null"})
    assert "default" not in body["response_format"]
    assert as_shown.headers["content-type"] == "audio/wav"
    assert (body["speed"]["default"], body["voice"]["default"]) == (1.0, "default")
    assert body["latency"]["default"] == "normal"
    fish = page["paths"]["/v1/tts"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    shown = fish["properties"]["format"]
    assert (shown["enum"], shown["default"]) == (["wav", "pcm", "mp3", "opus"], "wav")
    assert plain.headers["content-type"] == "audio/wav"
    open_api = page["paths"]["/api/open/tts"]["post"]["requestBody"]["content"]
    shown = open_api["application/json"]["schema"]["properties"]["format"]
    assert (shown["enum"], shown["default"]) == (["mp3", "wav", "pcm"], "mp3")


@pytest.fixture(scope="module")
def browser_page() -> Any:
    """A page of the system's Chromium that reaches this machine only."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        yield page
        browser.close()


def execute(page: Page, method: str, path: str) -> int:
    """Try an operation out with nothing typed; returns the status that the page shows."""
    block = find_block(page, method, path)
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    status = block.locator(".live-responses-table .response .response-col_status").first
    expect(status).to_have_text("200", timeout=PATIENCE_S * 1000)
    shown = status.inner_text()
    block.locator(".opblock-summary-control").click()
    return int(shown.split()[0])


def find_block(page: Page, method: str, path: str) -> Locator:
    of_path = page.locator(f'.opblock-summary-path[data-path="{path}"]')
    return page.locator(f".opblock-{method}").filter(has=of_path)


def choose_operations(paths: dict[str, Any]) -> list[tuple[str, str]]:
    """The first GET of each kind: what is in its parameters decides what the page must send."""
    kinds: dict[frozenset[str], tuple[str, str]] = {}
    for path, known in paths.items():
        if "get" in known and ("get", path) not in REFUSED:
            places = frozenset(each["in"] for each in known["get"].get("parameters", ()))
            kinds.setdefault(places, ("get", path))
    return list(kinds.values())


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_executes_what_the_page_shows(builtin_server: str, browser_page: Page) -> None:
    described = httpx.get(f"{builtin_server}/openapi.json", timeout=PATIENCE_S).json()["paths"]
    browser_page.goto(f"{builtin_server}/docs")

    for method, path in choose_operations(described) + SPOKEN:
        assert execute(browser_page, method, path) == 200, (method, path)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.timeout(600)
def test_a_browser_executes_every_get(builtin_server: str, browser_page: Page) -> None:
    described = httpx.get(f"{builtin_server}/openapi.json", timeout=PATIENCE_S).json()["paths"]
    gets = [("get", path) for path, known in described.items() if "get" in known]
    put = httpx.put(f"{builtin_server}/v1/lexicons/my-project", json=WORDS, timeout=PATIENCE_S)
    assert put.status_code == 200, put.text
    browser_page.goto(f"{builtin_server}/docs")

    for method, path in [each for each in gets if each not in REFUSED]:
        assert execute(browser_page, method, path) == 200, (method, path)
