"""Lone surrogates: one rule in every dialect, however they come."""

import ormsgpack
import pytest

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
