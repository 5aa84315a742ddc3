"""The fishaudio.net open API, by a client that knows its page only (contract C, cases 54 to 58)."""

import asyncio
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import ormsgpack
import pytest

from fishs2.engines.base import Capabilities
from fishs2.runtime import open_database
from fishs2.store.accounts.keys import Key, NewKey, disable_key, find_key
from fishs2.store.clips import ClipStore
from tests.fakes import FakeEngine
from tests.server.keyed import serving_keys
from tests.server.recorded import sine_wav
from tests.serving import Served, serving, until

TEXT = "Hello from the open API."
CAPABILITIES = Capabilities(
    name="fake",
    backend="cpu",
    sample_rate_hz=24_000,
    num_turns=4,
    max_utterance_chars=200,
    voices=("fake",),
    cloning="full",
    speaks_tags=True,
)


@dataclass(frozen=True, slots=True)
class OpenClient:
    """What somebody writes who has read the API page."""

    served: Served
    token: str = ""

    async def post(self, name: str, *, is_packed: bool = False, **body: Any) -> httpx.Response:
        content = ormsgpack.packb(body) if is_packed else json.dumps(body).encode()
        kind = "application/msgpack" if is_packed else "application/json"
        return await self.send(name, content, kind)

    async def send(self, name: str, content: bytes, kind: str, **more: str) -> httpx.Response:
        headers = {"Content-Type": kind, **more}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        url = f"/api/open/{name}"
        return await self.served.client.post(url, content=content, headers=headers)

    async def speak(self, **body: Any) -> httpx.Response:
        return await self.post("tts", **{"reference_id": "default", "text": TEXT, **body})

    async def until_refused(self) -> None:
        """Wait until the server has heard that the key is not valid any more."""
        headers = {"Authorization": f"Bearer {self.token}"}
        while (await self.served.client.get("/v1/models", headers=headers)).status_code != 401:  # noqa: ASYNC110 - it is the server that we wait for
            await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(engine: FakeEngine | None = None, **settings: Any) -> AsyncIterator[OpenClient]:
    engine = engine or FakeEngine(capabilities=CAPABILITIES)
    async with serving(engine, **settings) as served:
        yield OpenClient(served)


@asynccontextmanager
async def with_key(
    engine: FakeEngine | None = None, **limits: Any
) -> AsyncIterator[tuple[OpenClient, Key]]:
    """A server that has a key from its start."""
    engine = engine or FakeEngine(capabilities=CAPABILITIES)
    async with serving_keys(NewKey("me", **limits), engine=engine) as (served, [(key, token)]):
        yield OpenClient(served, token), key


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error in the page's shape."""
    body = answer.json()
    assert set(body) <= {"error", "details", "code"}
    assert isinstance(body["error"], str)
    return answer.status_code, body["code"]


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    ("name", "content_type", "magic"),
    [
        ("mp3", "audio/mpeg", (b"ID3", b"\xff")),
        ("wav", "audio/wav", (b"RIFF",)),
        ("pcm", "audio/pcm", (b"",)),
    ],
)
async def test_speech_comes_in_the_format_that_was_asked_for(
    is_packed: bool, name: str, content_type: str, magic: tuple[bytes, ...]
) -> None:
    async with opened() as client:
        answer = await client.speak(format=name, is_packed=is_packed)

    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.content.startswith(magic)
    if name == "pcm":
        assert answer.headers["X-Audio-Sample-Rate"] == "44100"
        assert answer.headers["X-Audio-Encoding"] == "pcm_s16le"
        assert len(answer.content) / 2 / 44_100 == pytest.approx(len(TEXT) / 15, abs=0.02)


async def test_mp3_is_the_default_and_audio_streams_while_it_is_made() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with opened(engine) as client:
        engine.gate.clear()
        body = {"reference_id": "default", "text": "x" * 150}
        async with client.served.client.stream("POST", "/api/open/tts", json=body) as answer:
            pieces = answer.aiter_bytes()
            first = await anext(pieces)
            assert engine.num_finished == 0
            engine.gate.set()
            rest = b"".join([piece async for piece in pieces])

    assert answer.headers["content-type"] == "audio/mpeg"
    assert first
    assert rest


async def test_speed_and_volume_act() -> None:
    async with opened() as client:
        whole = await client.speak(format="pcm")
        fast = await client.speak(format="pcm", speed=2)
        soft = await client.speak(format="pcm", volume=-20)

    assert len(fast.content) == pytest.approx(len(whole.content) / 2, rel=0.05)
    assert max(soft.content[1::2][:2000]) is not None
    assert soft.content != whole.content


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"version": "v3-hd", "emotion": "happy"}, f"[happy] {TEXT}"),
        ({"version": "v3-turbo", "emotion": "auto"}, TEXT),
        ({"version": "v1", "emotion": "happy"}, TEXT),
        ({"version": "s1", "emotion": "sad", "language": "zh"}, TEXT),
    ],
)
async def test_emotion_acts_with_v3_only(fields: dict[str, str], text: str) -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with opened(engine) as client:
        assert (await client.speak(**fields)).status_code == 200

    assert engine.utterances[0].text == text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": "Hi"}, 400, "missing_parameter"),
        ({"reference_id": "default"}, 400, "missing_parameter"),
        ({"reference_id": "default", "text": ""}, 400, "empty_input"),
        ({"reference_id": "default", "text": " \n "}, 400, "empty_input"),
        ({"reference_id": "default", "text": "x" * 12_001}, 400, "input_too_long"),
        ({"reference_id": "nobody", "text": "Hi"}, 404, "model_not_found"),
        ({"reference_id": "../x", "text": "Hi"}, 404, "model_not_found"),
        ({"reference_id": 5, "text": "Hi"}, 400, "invalid_parameter"),
        ({"reference_id": "default", "text": ["Hi"]}, 400, "invalid_parameter"),
        *(
            ({"reference_id": "default", "text": "Hi", **wrong}, 400, "invalid_parameter")
            for wrong in (
                {"speed": 0.4},
                {"speed": 2.1},
                {"speed": "fast"},
                {"speed": True},
                {"speed": 10**400},
                {"volume": 21},
                {"version": "v9"},
                {"format": "ogg"},
                {"emotion": "bored"},
                {"language": "de"},
                {"cache": "perhaps"},
            )
        ),
    ],
)
async def test_wrong_parameters_are_errors_of_the_page(
    body: dict[str, Any], status: int, code: str
) -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with opened(engine) as client:
        answer = await client.post("tts", **body)

    assert error_of(answer) == (status, code)
    assert "x" * 50 not in answer.text
    assert not engine.utterances


BOMB = b"\xdd\xff\xff\xff\xff"  # an array of 2**32 - 1, of which nothing follows


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"{bad", "application/json", 400, "invalid_body"),
        (b"", "application/json", 400, "invalid_body"),
        (b"[1]", "application/json", 400, "invalid_body"),
        (b"[" * 100_000, "application/json", 400, "invalid_body"),
        (b'{"speed": ' + b"9" * 5_000 + b"}", "application/json", 400, "invalid_body"),
        (b'{"text": "\xff"}', "application/json", 400, "invalid_body"),
        (b'{"text":"a","reference_id":"default","speed":NaN}', "application/json", 400, None),
        (BOMB, "application/msgpack", 400, "invalid_body"),
        (b"\x91" * 100_000, "application/msgpack", 400, "invalid_body"),
        (b"\xc1", "application/x-msgpack", 400, "invalid_body"),
        (ormsgpack.packb([1]), "application/vnd.msgpack", 400, "invalid_body"),
        (ormsgpack.packb({"a": b"\0" * 99}), "application/msgpack", 400, "missing_parameter"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
    ],
)
async def test_bodies_that_cannot_be_read_are_errors_of_the_page(
    content: bytes, kind: str, status: int, code: str | None
) -> None:
    async with opened() as client:
        answer = await client.send("tts", content, kind)

    assert error_of(answer)[0] == status
    assert code is None or error_of(answer)[1] == code


async def test_duplicate_keys_in_json_mean_the_last() -> None:
    async with opened() as client:
        body = b'{"reference_id":"nobody","text":"Hi","reference_id":"default"}'
        answer = await client.send("tts", body, "application/json")

    assert answer.status_code == 200


async def test_other_methods_paths_and_sizes_have_the_shape_of_the_page() -> None:
    async with opened(max_upload_bytes=2_000) as client:
        http = client.served.client
        assert error_of(await http.get("/api/open/tts")) == (405, "method_not_allowed")
        assert error_of(await http.get("/api/open/nothing")) == (404, "not_found")
        assert error_of(await client.speak(text="x" * 5_000)) == (413, "body_too_large")
        assert error_of(await client.post("lip-sync/create")) == (501, "not_supported")


async def test_engine_that_fails_is_a_500_of_the_page() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES, fail_after_chunks=0)
    async with opened(engine) as client:
        assert error_of(await client.speak()) == (500, "generation_failed")
    async with opened(FakeEngine(start_error="broken")) as client:
        assert error_of(await client.speak()) == (500, "backend_not_available")


async def test_models_are_created_listed_used_and_deleted() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with opened(engine) as client:
        http = client.served.client
        created = await http.post(
            "/api/open/create-model",
            data={"name": "My Voice", "description": "d", "visibility": "private"},
            files={"audioFiles": ("a.wav", sine_wav(), "audio/wav")},
        )
        model = created.json()
        untranscribed = await client.speak(reference_id=model["modelId"])
        listed = (await client.post("list-models", modelType="all", page=1, pageSize=2)).json()
        deleted = await client.post("delete-model", modelId=model["modelId"])
        again = await client.post("delete-model", modelId=model["modelId"])

    assert created.status_code == 200
    assert (model["title"], model["description"]) == ("My Voice", "d")
    assert set(model) == {"modelId", "title", "description", "createdAt", "message"}
    assert error_of(untranscribed) == (400, "missing_prompt_text")
    assert (listed["total"], listed["totalPages"], len(listed["items"])) == (3, 2, 2)
    assert listed["items"][0]["modelId"] == model["modelId"]
    assert set(listed["items"][0]) == {
        "modelId",
        "title",
        "description",
        "created_at",
        "updated_at",
        "isPersonal",
    }
    assert deleted.json()["modelId"] == model["modelId"]
    assert error_of(again) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("fields", "files", "code"),
    [
        ({}, {"audioFiles": ("a.wav", b"RIFF", "audio/wav")}, "missing_parameter"),
        ({"name": "x"}, {}, "missing_files"),
        ({"name": "x"}, {"audioFiles": ("a.wav", b"no audio", "audio/wav")}, "invalid_audio"),
        (
            {"name": "x", "visibility": "secret"},
            {"audioFiles": ("a.wav", b"RIFF", "audio/wav")},
            "invalid_parameter",
        ),
    ],
)
async def test_wrong_models_are_refused(
    fields: dict[str, str], files: dict[str, Any], code: str
) -> None:
    async with opened() as client:
        answer = await client.served.client.post(
            "/api/open/create-model", data=fields, files=files or {"other": ("a", b"x")}
        )

    assert error_of(answer) == (400, code)


async def test_cached_speech_is_made_once_and_its_link_needs_no_key() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with with_key(engine, granted=1_000) as (client, _key):
        answers = [await client.speak(cache=True, format="wav") for _ in range(3)]
        bodies = [answer.json() for answer in answers]
        audio = await client.served.client.get(bodies[0]["audio_url"])

    assert {body["audio_url"] for body in bodies} == {bodies[0]["audio_url"]}
    assert bodies[0] == {
        "success": True,
        "audio_url": bodies[0]["audio_url"],
        "format": "wav",
        "characters_used": len(TEXT),
        "quota_remaining": 1_000 - len(TEXT),
    }
    assert bodies[2]["quota_remaining"] == 1_000 - len(TEXT)
    assert len(engine.utterances) == 1
    assert audio.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(audio.content)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(len(TEXT) / 15, abs=0.02)


async def test_everything_that_shapes_the_sound_makes_another_clip() -> None:
    async with opened() as client:
        urls = [
            (await client.speak(cache=True, **fields)).json()["audio_url"]
            for fields in (
                {},
                {"text": "Other."},
                {"speed": 1.5},
                {"volume": 3},
                {"format": "wav"},
                {"version": "v3-hd", "emotion": "sad"},
                {"reference_id": "sample_male"},
            )
        ]

    assert len(set(urls)) == len(urls)


async def test_many_at_once_share_one_synthesis_and_one_charge() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with with_key(engine, granted=1_000) as (client, _key):
        answers = await asyncio.gather(*(client.speak(cache=True) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(engine.utterances) == 1
    assert {answer.json()["quota_remaining"] for answer in answers} == {1_000 - len(TEXT)}


async def test_clip_is_served_with_ranges_and_validators() -> None:
    async with opened() as client:
        url = (await client.speak(cache=True)).json()["audio_url"]
        http = client.served.client
        whole = await http.get(url)
        part = await http.get(url, headers={"Range": "bytes=2-5"})
        same = await http.get(url, headers={"If-None-Match": whole.headers["ETag"]})
        beyond = await http.get(url, headers={"Range": "bytes=99999999-"})
        head = await http.head(url)
        missing = await http.get(url.replace("/clips/", "/clips/0"))

    assert (part.status_code, part.content) == (206, whole.content[2:6])
    assert "max-age=" in whole.headers["Cache-Control"]
    assert (same.status_code, same.content) == (304, b"")
    assert beyond.status_code == 416
    assert head.headers["Content-Length"] == str(len(whole.content))
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("headers", "settings", "start"),
    [
        ({"Host": "tts.example:99"}, {}, "http://tts.example:99/clips/"),
        (
            {"X-Forwarded-Host": "pub.example", "X-Forwarded-Proto": "https"},
            {},
            "https://pub.example/clips/",
        ),
        ({"Host": "evil/path?x="}, {}, "http://127.0.0.1:"),
        ({"Host": 'a"b<c'}, {}, "http://127.0.0.1:"),
        ({"X-Forwarded-Host": "e vil"}, {}, "http://127.0.0.1:"),
        ({"X-Forwarded-Proto": "javascript"}, {}, "http://127.0.0.1:"),
        (
            {"Host": "other"},
            {"public_url": "https://mine.example/tts/"},
            "https://mine.example/tts/clips/",
        ),
    ],
)
async def test_link_is_absolute_and_nothing_can_be_injected(
    headers: dict[str, str], settings: dict[str, Any], start: str
) -> None:
    async with opened(**settings) as client:
        body = json.dumps({"reference_id": "default", "text": TEXT, "cache": True}).encode()
        answer = await client.send("tts", body, "application/json", **headers)

    assert answer.json()["audio_url"].startswith(start)


def balance(served: Served, key: Key) -> tuple[int, int, int]:
    """spent, reserved, active."""
    database = open_database(served.settings)
    try:
        found = find_key(database, key.id)
        assert found is not None
        return found.spent, found.reserved, found.active
    finally:
        database.close()


async def test_speech_costs_its_characters_and_failure_nothing() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with with_key(engine, granted=1_000) as (client, key):
        await client.speak()
        assert balance(client.served, key) == (len(TEXT), 0, 0)
        await client.speak(text=" ")
        await client.speak(reference_id="nobody")
        assert balance(client.served, key) == (len(TEXT), 0, 0)
        profile = (await client.post("profile")).json()

    assert profile["user_id"] == key.id
    assert profile["api_quota_remaining"] == 1_000 - len(TEXT)
    assert profile["usage_today"]["characters"] == len(TEXT)


async def test_engine_failure_and_client_that_leaves_are_settled() -> None:
    failing = FakeEngine(capabilities=CAPABILITIES, fail_after_chunks=1)
    async with with_key(failing, granted=1_000) as (client, key):
        with pytest.raises(httpx.HTTPError):
            await client.speak(text="x" * 100)
        assert balance(client.served, key) == (0, 0, 0)

    engine = FakeEngine(capabilities=CAPABILITIES)
    async with with_key(engine, granted=1_000) as (client, key):
        engine.gate.clear()
        headers = {"Authorization": f"Bearer {client.token}"}
        body = {"reference_id": "default", "text": "First sentence here. " * 30}
        async with client.served.client.stream(
            "POST", "/api/open/tts", json=body, headers=headers
        ) as answer:
            await anext(answer.aiter_bytes())
            assert balance(client.served, key)[1] == len(body["text"])
        await until(lambda: balance(client.served, key)[1] == 0)
        spent, _, active = balance(client.served, key)

    # What had begun to sound is charged, the rest of the text is not.
    assert 0 < spent < len(body["text"])
    assert active == 0


async def test_client_that_leaves_cached_speech_pays_for_what_had_begun() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with with_key(engine, granted=1_000) as (client, key):
        engine.gate.clear()
        text = "First sentence here. " * 30
        asking = asyncio.create_task(client.speak(text=text, cache=True))
        await until(lambda: engine.num_active > 0)
        asking.cancel()
        await until(lambda: balance(client.served, key)[1:] == (0, 0))
        spent = balance(client.served, key)[0]

        assert engine.num_aborted > 0
        assert spent < len(text)


async def test_cached_speech_that_cannot_be_kept_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ClipStore, "add", fail)
    async with with_key(granted=1_000) as (client, key):
        answer = await client.speak(cache=True)

        assert error_of(answer) == (507, "store_full")
        assert balance(client.served, key) == (0, 0, 0)


async def test_bodies_that_would_hold_up_everybody_are_refused_before_they_are_parsed() -> None:
    # MessagePack of a list of a million empty lists.
    bomb = b"\x81\xa1a\xdd" + (1_000_000).to_bytes(4, "big") + b"\x90" * 1_000_000
    async with with_key() as (client, _):
        stranger = OpenClient(client.served)
        unknown = await stranger.send("tts", bomb, "application/msgpack")
        announced = await client.send("tts", bomb, "application/msgpack")
        streamed = await client.served.client.post(
            "/api/open/tts",
            content=pieces_of(bomb),
            headers={
                "Content-Type": "application/msgpack",
                "Origin": "https://a.example",
                "Authorization": f"Bearer {client.token}",
            },
        )
        many = await client.served.client.post(
            "/v1/audio/speech",
            content=b"[" + b"[]," * 200_000 + b"[]]",
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {client.token}",
            },
        )

    assert error_of(unknown) == (401, "invalid_token")
    assert error_of(announced) == (413, "body_too_large")
    assert error_of(streamed) == (413, "body_too_large")
    assert streamed.headers["Access-Control-Allow-Origin"] == "*"
    assert many.status_code == 400


async def pieces_of(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


@pytest.mark.parametrize("name", ["alloy", "random", "fake", "x" * 5_000])
async def test_only_models_and_the_default_speak(name: str) -> None:
    async with opened() as client:
        unknown = await client.speak(reference_id=name)
        default = await client.speak(reference_id="default")

    assert error_of(unknown) == (404, "model_not_found")
    assert unknown.json()["details"] == "reference_id"
    assert name not in unknown.text
    assert default.status_code == 200


async def test_database_that_has_gone_lets_nobody_in() -> None:
    async with with_key() as (client, _):
        assert (await client.speak()).status_code == 200
        data = client.served.settings.data_dir
        data.rename(data.with_name("elsewhere"))

        # What it has read holds for a second.
        while (
            answer := await client.served.client.delete("/v1/voices/sample_male")
        ).status_code != 503:
            assert answer.status_code == 401
            await asyncio.sleep(0.02)
        spoken = await client.speak()
        data.with_name("elsewhere").rename(data)

    assert answer.status_code == 503
    assert error_of(spoken) == (503, "store_not_available")


async def test_client_that_leaves_while_it_sends_is_no_defect_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened() as client:
        url = httpx.URL(client.served.url)
        _, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            b"POST /api/open/tts HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{}"
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        # Answered after it, so that the server has noticed.
        await client.speak()

    assert "unexpected error" not in caplog.text


async def test_no_quota_is_429_and_nothing_is_spoken() -> None:
    engine = FakeEngine(capabilities=CAPABILITIES)
    async with with_key(engine, granted=10) as (client, _key):
        plain = await client.speak()
        cached = await client.speak(cache=True)
        openai = await client.served.client.post(
            "/v1/audio/speech",
            json={"model": "fishs2", "input": TEXT},
            headers={"Authorization": f"Bearer {client.token}"},
        )

    assert error_of(plain) == error_of(cached) == (429, "insufficient_quota")
    assert (openai.status_code, openai.json()["error"]["code"]) == (429, "insufficient_quota")
    assert openai.headers["X-Should-Retry"] == "false"
    assert not engine.utterances


async def test_rate_limit_says_when_to_come_again() -> None:
    async with with_key(per_minute=1) as (client, _):
        await client.speak()
        answer = await client.speak()

    assert error_of(answer) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["Retry-After"]) <= 61


async def test_scope_that_is_missing_is_403() -> None:
    async with with_key() as (client, _):
        answer = await client.post("delete-model", modelId="sample_male")
        headers = {"Authorization": f"Bearer {client.token}"}
        wrapper = await client.served.client.delete("/v1/voices/sample_male", headers=headers)
        voices = await client.served.client.get("/v1/voices", headers=headers)

    assert error_of(answer) == (403, "missing_scope")
    assert (wrapper.status_code, wrapper.json()["error"]["code"]) == (403, "missing_scope")
    assert len(voices.json()["data"]) == 2


async def test_every_path_but_the_public_ones_needs_a_key() -> None:
    async with with_key() as (client, _):
        http = client.served.client
        schema = (await http.get("/openapi.json")).json()
        for path, methods in schema["paths"].items():
            for method in methods:
                if method == "head":
                    continue
                answer = await http.request(method, path.replace("{", "").replace("}", ""))
                is_public = path in ("/health", "/v1/health", "/clips/{name}")
                assert (answer.status_code == 401) is not is_public, (method, path)
                if not is_public:
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/", "/docs", "/health", "/openapi.json"):
            assert (await http.get(path)).status_code == 200
        assert (await http.get("/v1/nothing")).status_code == 401


@pytest.mark.parametrize("place", ["bearer", "api-key", "xi-api-key", "body"])
async def test_key_may_come_in_every_place_clients_put_it(place: str) -> None:
    async with with_key() as (client, _):
        body: dict[str, Any] = {"reference_id": "default", "text": TEXT}
        headers = {
            "bearer": {"Authorization": f"bearer {client.token}"},
            "api-key": {"api-key": client.token},
            "xi-api-key": {"xi-api-key": client.token},
            "body": {},
        }[place]
        if place == "body":
            body["token"] = client.token
        url = client.served.client
        answer = await url.post("/api/open/tts", json=body, headers=headers)
        in_url = await url.post(f"/api/open/tts?token={client.token}", json={**body, "token": None})

    assert answer.status_code == 200
    assert in_url.status_code == 401 or place != "body"


@pytest.mark.parametrize("damage", ["disabled", "truncated", "oversize", "empty", "other scheme"])
async def test_tokens_that_are_not_valid_are_401_in_each_dialect(
    damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_key() as (client, key):
        database = open_database(client.served.settings)
        if damage == "disabled":
            disable_key(database, key.id)
            await client.until_refused()
        database.close()
        header = {
            "disabled": f"Bearer {client.token}",
            "truncated": f"Bearer {client.token[:-4]}",
            "oversize": f"Bearer {client.token}{'x' * 5_000}",
            "empty": "Bearer",
            "other scheme": f"Basic {client.token}",
        }[damage]
        http = client.served.client
        headers = {"Authorization": header}
        fish = await http.post(
            "/api/open/tts", json={"reference_id": "default", "text": TEXT}, headers=headers
        )
        openai = await http.post(
            "/v1/audio/speech", json={"model": "fishs2", "input": TEXT}, headers=headers
        )

    assert error_of(fish) == (401, "invalid_token")
    assert (openai.status_code, openai.json()["error"]["code"]) == (401, "invalid_token")
    assert client.token.split("_", 2)[2] not in caplog.text


async def test_profile_knows_the_key_by_header_and_by_body() -> None:
    async with with_key(granted=77) as (client, _key):
        by_header = await client.served.client.get(
            "/api/open/profile", headers={"Authorization": f"Bearer {client.token}"}
        )
        by_body = await client.served.client.post("/api/open/profile", json={"token": client.token})
        nobody = await client.served.client.get("/api/open/profile")

    assert by_header.json() == by_body.json()
    assert by_header.json()["api_quota_remaining"] == 77
    assert error_of(nobody) == (401, "invalid_token")


PREFLIGHT = {
    "Origin": "https://page.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


async def test_browsers_may_speak_from_any_page_but_not_delete() -> None:
    async with with_key() as (client, _):
        http = client.served.client
        asked = await http.options("/api/open/tts", headers=PREFLIGHT)
        spoken = await client.speak()
        from_page = await client.send("tts", b"{}", "application/json", Origin="https://a.example")
        others = [
            await http.options(path, headers=PREFLIGHT)
            for path in ("/api/open/delete-model", "/v1/audio/speech", "/v1/voices/x")
        ]

    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "authorization" in asked.headers["Access-Control-Allow-Headers"].lower()
    assert spoken.status_code == 200
    assert from_page.headers["Access-Control-Allow-Origin"] == "*"
    assert not any("Access-Control-Allow-Origin" in answer.headers for answer in others)


UPLOAD = {"files": {"audioFiles": ("a.wav", sine_wav())}, "data": {"name": "Evil"}}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("", 200),
        ("own", 200),
        ("moz-extension://1", 200),
    ],
)
async def test_pages_of_others_cannot_send_forms(origin: str, status: int) -> None:
    async with opened() as client:
        origin = client.served.url if origin == "own" else origin
        headers = {"Origin": origin} if origin else {}
        answer = await client.served.client.post(
            "/api/open/create-model",
            headers=headers,
            **UPLOAD,  # type: ignore[arg-type]
        )
        stored = (await client.served.client.get("/v1/voices")).json()["voices"]

    assert answer.status_code == status
    assert ("Evil" in [voice["name"] for voice in stored]) is (status == 200)
    if status == 403:
        assert error_of(answer) == (403, "origin_not_allowed")


async def test_fish_speechs_health_needs_no_key() -> None:
    async with with_key() as (client, _):
        answers = [
            await client.served.client.request(method, "/v1/health") for method in ("GET", "POST")
        ]

    assert [answer.json() for answer in answers] == [{"status": "ok"}] * 2


async def test_origins_of_the_settings_may_call_everything_and_others_nothing() -> None:
    async with opened(cors_origins=("https://mine.example",)) as client:
        http = client.served.client
        mine = await http.options(
            "/v1/audio/speech", headers={**PREFLIGHT, "Origin": "https://mine.example"}
        )
        other = await http.options("/api/open/tts", headers=PREFLIGHT)

    assert mine.headers["Access-Control-Allow-Origin"] == "https://mine.example"
    assert "Access-Control-Allow-Origin" not in other.headers
