"""GET /v1/audio/speech: speech by a link, as players and `<audio src>` ask for it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from tests.fakes import FakeEngine
from tests.serving import PATIENCE_S, server_process, serving

SPEECH = "/v1/audio/speech"
TEXT = "Hello there, this is a link."
LONG_TEXT = " ".join(f"Sentence number {n} goes on for a while." for n in range(30))


def query(**fields: object) -> dict[str, Any]:
    return {"model": "fishs2", "input": TEXT, **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"response_format": "mp3"},
        {"model": "tts-1", "voice": "alloy"},
        {"response_format": "pcm", "speed": "1.5", "voice": "other", "sample_rate": "16000"},
        {"stream": "true"},
        {"response_format": "flac", "stream": "false"},
        {"voice": "", "response_format": "", "speed": "", "language": "auto", "nobody_knows": "1"},
        {"fishs2": '{"top_k": 5}', "prosody": '{"volume": -6}', "seed": "3", "temperature": "0.5"},
    ],
)
@pytest.mark.parametrize("path", [SPEECH, "/audio/speech"])
async def test_a_link_speaks_as_the_body_does(path: str, fields: dict[str, str]) -> None:
    read = {
        name: json.loads(value) if value[:1] == "{" else value for name, value in fields.items()
    }
    async with serving() as served:
        answer = await served.client.get(path, params=query(**fields))
        posted = await served.client.post(path, json=query(**read))

    assert answer.status_code == 200, answer.text
    assert answer.content == posted.content
    added = {"accept-ranges": "none", "cache-control": "no-store"}
    own = {"date", "x-request-id"}
    assert {k: v for k, v in answer.headers.items() if k not in own} == {
        **{k: v for k, v in posted.headers.items() if k not in own},
        **added,
    }
    asked = served.engine.utterances
    assert asked[0] == asked[1]


async def test_first_bytes_arrive_while_the_engine_still_speaks() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        params = query(model="tts-1", input=LONG_TEXT)
        async with served.client.stream("GET", SPEECH, params=params) as answer:
            await anext(answer.aiter_raw())
            assert engine.num_finished == 0
            engine.gate.set()


@pytest.mark.parametrize("name", ["wav", "mp3", "opus"])
@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=100-", "bytes=5-10", "bytes=-10", "nonsense"])
async def test_range_is_ignored(name: str, asked: str) -> None:
    async with serving() as served:
        answer = await served.client.get(
            SPEECH, params=query(response_format=name), headers={"Range": asked}
        )

    assert answer.status_code == 200
    assert answer.headers["accept-ranges"] == "none"
    assert "content-range" not in answer.headers
    assert answer.content.startswith((b"RIFF", b"ID3", b"\xff", b"OggS"))


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": None}, 422, "validation_error", "input"),
        ({"model": None}, 422, "validation_error", "model"),
        ({"speed": "9"}, 422, "validation_error", "speed"),
        ({"speed": "fast"}, 422, "validation_error", "speed"),
        ({"response_format": "xyz"}, 422, "unsupported_format", "response_format"),
        ({"voice": "nobody"}, 404, "voice_not_found", "voice"),
        ({"model": "nope"}, 404, "model_not_found", "model"),
        ({"input": "..."}, 422, "empty_input", "input"),
        ({"input": "x" * 12_001}, 422, "input_too_long", "input"),
        ({"prosody": "{oops"}, 422, "validation_error", "prosody"),
        ({"fishs2": "[" * 5_000}, 422, "validation_error", "fishs2"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_wrong_query_is_refused_like_the_body(
    method: str, fields: dict[str, object], status: int, code: str, param: str
) -> None:
    params = {name: value for name, value in query(**fields).items() if value is not None}
    async with serving() as served:
        answer = await served.client.request(method, SPEECH, params=params)

    assert answer.status_code == status
    assert served.engine.utterances == []
    if method == "GET":
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == (code, param)


async def test_failure_before_the_first_audio_is_a_status_and_after_it_a_cut() -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        failed = await served.client.get(SPEECH, params=query(model="tts-1"))
    async with serving(FakeEngine(fail_after_chunks=2)) as served:
        with pytest.raises(httpx.RemoteProtocolError):
            await served.client.get(SPEECH, params=query(model="tts-1", input=LONG_TEXT))

    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "generation_failed"


@pytest.mark.parametrize("path", [SPEECH, "/audio/speech"])
async def test_head_says_the_type_and_speaks_nothing(path: str) -> None:
    async with serving() as served:
        answer = await served.client.head(path, params=query(response_format="mp3"))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["accept-ranges"] == "none"
    assert answer.headers["x-fishs2-engine"] == "fake"
    assert "content-length" not in answer.headers
    assert answer.content == b""
    assert served.engine.utterances == []


PAGE = "https://page.example"


@pytest.mark.parametrize(
    ("headers", "origins", "status"),
    [
        ({}, (), 200),
        ({"Sec-Fetch-Site": "none"}, (), 200),
        ({"Sec-Fetch-Site": "same-origin"}, (), 200),
        ({"Sec-Fetch-Site": "same-site"}, (), 200),
        ({"Sec-Fetch-Site": "cross-site"}, (), 403),
        ({"Sec-Fetch-Site": "cross-site", "Referer": f"{PAGE}/"}, (), 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": PAGE}, (), 403),
        ({"Origin": PAGE}, (), 403),
        ({"Origin": "null"}, (), 403),
        ({"Sec-Fetch-Site": "cross-site", "Referer": f"{PAGE}/"}, (PAGE,), 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": PAGE}, (PAGE,), 200),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "https://other.example/"}, (PAGE,), 403),
        ({"Sec-Fetch-Site": "cross-site", "Referer": f"{PAGE}.evil.example/"}, (PAGE,), 403),
        ({"Sec-Fetch-Site": "cross-site"}, (PAGE,), 403),
        ({"Sec-Fetch-Site": "cross-site"}, ("*",), 200),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}, ("*",), 200),
    ],
)
@pytest.mark.parametrize("path", [SPEECH, "/audio/speech"])
async def test_pages_of_other_sites_spend_nothing_unless_they_may(
    path: str, headers: dict[str, str], origins: tuple[str, ...], status: int
) -> None:
    async with serving(cors_origins=origins) as served:
        answer = await served.client.get(path, params=query(), headers=headers)

    assert answer.status_code == status
    assert bool(served.engine.utterances) is (status == 200)
    if status == 403:
        assert answer.json()["error"]["code"] == "origin_not_allowed"


def create_key(folder: Path, name: str, *, quota: int) -> str:
    command = [sys.executable, "-m", "fishs2", "keys", "create", name, "--quota", str(quota)]
    env = {**os.environ, "FISHS2_HOME": str(folder)}
    return subprocess.run(
        command, env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_link_needs_a_key_in_a_header_and_costs_what_the_body_costs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("link")
    with server_process(folder) as url, httpx.Client(base_url=url) as client:
        token = create_key(folder, "player", quota=1_000)
        # Running servers read the keys every second.
        while client.get("/v1/models").status_code != 401:
            time.sleep(0.05)
        none = client.get(SPEECH, params=query())
        in_url = client.get(SPEECH, params=query(api_key=token, token=token))
        headers = {"Authorization": f"Bearer {token}"}

        def left() -> int:
            profile = client.get("/api/open/profile", headers=headers).json()
            return int(profile["api_quota_remaining"])

        before = left()
        head = client.head(SPEECH, params=query(), headers=headers)
        assert left() == before
        spoken = client.get(SPEECH, params=query(model="tts-1"), headers=headers)
        after = left()
        dear = client.get(SPEECH, params=query(input=LONG_TEXT), headers=headers)

    assert [each.status_code for each in (none, in_url, head, spoken)] == [401, 401, 200, 200]
    assert before - after == len(TEXT)
    assert dear.status_code == 429
    assert dear.json()["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac", "aac"])
@pytest.mark.parametrize("stream", ["", "true", "false"])
def test_a_player_opens_the_link(builtin_server: str, name: str, stream: str) -> None:
    params = query(response_format=name, stream=stream)
    url = str(httpx.URL(f"{builtin_server}{SPEECH}", params=params))

    with av.open(url, timeout=PATIENCE_S) as container:
        frames = list(container.decode(audio=0))

    seconds = sum(frame.samples / frame.sample_rate for frame in frames)
    assert 1.0 < seconds < 4.0
