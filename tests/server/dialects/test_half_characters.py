"""Lone surrogates: one rule in every dialect, however they come."""

import ormsgpack
import pytest

from tests.recordings import make_voice, write_wav
from tests.serving import serving

HALF = rb"half \ud83d here"
RAW = b"half \xed\xa0\xbd here"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/v1/audio/speech", b'{"model":"tts-1","input":"%s"}'),
        ("/v1/tts", b'{"text":"%s"}'),
        ("/api/open/tts", b'{"reference_id":"default","text":"%s"}'),
    ],
)
@pytest.mark.parametrize("half", [HALF, RAW])
async def test_half_a_character_is_left_out_of_json(path: str, content: bytes, half: bytes) -> None:
    async with serving() as served:
        answer = await served.client.post(
            path, content=content % half, headers={"Content-Type": "application/json"}
        )

    assert answer.status_code == 200, answer.text
    assert [each.text for each in served.engine.utterances] == ["half here"]


@pytest.mark.parametrize("path", ["/v1/tts", "/api/open/tts"])
async def test_half_a_character_is_left_out_of_messagepack(path: str) -> None:
    content = ormsgpack.packb({"reference_id": "default", "text": "half XXX here"})
    async with serving() as served:
        answer = await served.client.post(
            path,
            content=content.replace(b"XXX", b"\xed\xa0\xbd"),
            headers={"Content-Type": "application/msgpack"},
        )

    assert answer.status_code == 200, answer.text
    assert [each.text for each in served.engine.utterances] == ["half here"]


async def test_half_a_character_is_no_voice() -> None:
    async with serving() as served:
        answer = await served.client.post(
            "/v1/audio/speech",
            content=b'{"model":"tts-1","input":"Hello.","voice":"a\\ud83d"}',
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "voice_not_found"


async def test_half_a_character_is_left_out_of_forms() -> None:
    async with serving() as served:
        answer = await served.client.post(
            "/v1/tts", files={"text": (None, RAW), "format": (None, b"wav")}
        )

    assert answer.status_code == 200, answer.text
    assert [each.text for each in served.engine.utterances] == ["half here"]


@pytest.mark.parametrize(
    ("path", "name", "file"),
    [("/model", "title", "voices"), ("/v1/audio/voices", "name", "audio_sample")],
)
async def test_half_a_character_is_none_of_a_voices_name(path: str, name: str, file: str) -> None:
    form = {name: (None, b"Jos\xed\xa0\xbd"), file: ("a.wav", write_wav(make_voice()))}
    async with serving() as served:
        answer = await served.client.post(path, files=form)

    assert answer.status_code in (200, 201), answer.text
    assert answer.json().get("title", answer.json().get("name")) == "Jos\ufffd"
