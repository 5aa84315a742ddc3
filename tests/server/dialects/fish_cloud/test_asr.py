"""`/v1/asr` and the cloud's OpenAI-compatible transcriptions."""

import asyncio
import base64
from collections.abc import AsyncIterator

import fish_audio_sdk
import fishaudio
import ormsgpack
import pytest
from fish_audio_sdk.schemas import ASRResponse

from tests.listeners import FakeListener
from tests.recordings import make_voice, write_wav
from tests.serving import Served, serving

TEXT = "one two three four five six"
RECORDING = write_wav(make_voice(3.0))


@pytest.fixture
def listener() -> FakeListener:
    return FakeListener(TEXT)


@pytest.fixture
async def served(listener: FakeListener) -> AsyncIterator[Served]:
    async with serving(listener=listener) as made:
        yield made


async def test_packed_json_and_forms_are_heard_alike(
    served: Served, listener: FakeListener
) -> None:
    given = {"audio": RECORDING, "language": "de", "ignore_timestamps": False}
    packed = await served.client.post(
        "/v1/asr", content=ormsgpack.packb(given), headers={"Content-Type": "application/msgpack"}
    )
    written = {**given, "audio": base64.b64encode(RECORDING).decode()}
    as_json = await served.client.post("/v1/asr", json=written)
    form = await served.client.post(
        "/v1/asr",
        files={"audio": ("a.wav", RECORDING)},
        data={"language": "de", "ignore_timestamps": "false"},
    )

    assert packed.status_code == 200, packed.text
    assert packed.json() == as_json.json() == form.json()
    assert packed.json() == {
        "text": TEXT,
        "duration": 3.0,
        "segments": [
            {"text": "one two three four five", "start": 0.0, "end": 2.5},
            {"text": "six", "start": 2.5, "end": 3.0},
        ],
    }
    assert {wish.language for wish in listener.wishes} == {"de"}


async def test_official_clients_read_what_is_heard(served: Served) -> None:
    async with fishaudio.AsyncFishAudio(api_key="any", base_url=served.url) as sdk:
        heard = await sdk.asr.transcribe(audio=RECORDING, language="en")
        brief = await sdk.asr.transcribe(audio=RECORDING, include_timestamps=False)

    def ask_legacy() -> ASRResponse:
        with fish_audio_sdk.Session("any", base_url=served.url) as session:
            request = fish_audio_sdk.ASRRequest(audio=RECORDING, ignore_timestamps=False)
            heard: ASRResponse = session.asr(request)
            return heard

    legacy = await asyncio.to_thread(ask_legacy)

    assert (heard.text, heard.duration) == (TEXT, 3.0)
    assert [(each.start, each.end) for each in heard.segments] == [(0.0, 2.5), (2.5, 3.0)]
    assert brief.segments == []
    assert [each.text for each in legacy.segments] == ["one two three four five", "six"]


async def test_segments_are_left_out_where_they_are_not_asked_for(served: Served) -> None:
    answer = await served.client.post("/v1/asr", files={"audio": ("a.wav", RECORDING)})

    assert answer.json() == {"text": TEXT, "duration": 3.0, "segments": []}


@pytest.mark.parametrize(
    ("files", "data", "word"),
    [
        ({}, {"language": "de"}, "audio"),
        ({"audio": ("a", b"no audio")}, {}, "cannot be read"),
        ({"audio": ("a", RECORDING)}, {"language": "tlh"}, "language"),
        ({"audio": ("a", RECORDING)}, {"ignore_timestamps": "perhaps"}, "ignore_timestamps"),
    ],
)
async def test_wrong_requests_are_refused_in_the_dialect(
    served: Served, files: dict[str, tuple[str, bytes]], data: dict[str, str], word: str
) -> None:
    answer = await served.client.post("/v1/asr", files=files, data=data)

    assert answer.status_code == 400
    assert set(answer.json()) == {"status", "message"}
    assert word in answer.json()["message"]


@pytest.mark.parametrize(
    "path", [f"/compat{root}/v1/audio/transcriptions" for root in ("", "/api", "/openai")]
)
async def test_compatible_routes_are_openais_with_the_clouds_errors(
    served: Served, path: str
) -> None:
    files = {"file": ("a.wav", RECORDING)}
    heard = await served.client.post(path, files=files, data={"model": "fish-audio/transcribe-1"})
    unknown = await served.client.post(path, files=files, data={"model": "nope"})

    assert heard.json()["text"] == TEXT
    assert unknown.json()["error"]["code"] == 404
