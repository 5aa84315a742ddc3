"""SillyTavern's XTTS provider: its requests, from its page, written from the contract."""

import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from fishs2.store.accounts.keys import NewKey
from tests.recordings import make_voice, write_wav
from tests.server.keyed import serving_keys
from tests.serving import Served, serving

PAGE = "http://127.0.0.1:8000"
TEXT = "She looked up. It was late."


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(cors_origins=(PAGE,), public_url=None) as served:
        yield served


async def ask(served: Served, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Origin": PAGE, "Sec-Fetch-Site": "cross-site", **more.pop("headers", {})}
    return await served.client.request(method, path, headers=headers, **more)


async def speak(served: Served, text: str = TEXT, **more: str) -> httpx.Response:
    body = {"text": text, "speaker_wav": "other", "language": "en", **more}
    return await ask(served, "POST", "/tts_to_audio/", json=body)


async def test_page_asks_before_it_speaks(served: Served) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,cache-control",
    }
    may = await ask(served, "OPTIONS", "/tts_to_audio/", headers=asked)

    assert may.status_code == 200
    assert may.headers["access-control-allow-origin"] == PAGE


async def test_page_that_no_setting_names_is_told_which_setting() -> None:
    async with serving() as served:
        refused = await speak(served)

    assert refused.status_code == 403
    assert refused.json()["code"] == "origin_not_allowed"
    assert "FISHS2_CORS_ORIGINS" in refused.json()["detail"]


async def test_speakers_are_the_voices(served: Served) -> None:
    files = {"files": ("a.wav", write_wav(make_voice()), "audio/wav")}
    form = {"name": "Anna Ö", "voice_id": "anna", "transcript": "Hello."}
    stored = await served.client.post("/v1/audio/voices", data=form, files=files)
    assert stored.status_code == 200, stored.text

    speakers = (await ask(served, "GET", "/speakers")).json()
    names = (await ask(served, "GET", "/speakers_list")).json()

    shown = next(speaker for speaker in speakers if speaker["name"] == "Anna Ö")
    assert shown["voice_id"] in names
    assert [speaker["voice_id"] for speaker in speakers] == names
    assert {"default", "fake", "other"} <= set(names)
    preview = next(each for each in speakers if each["name"] == "other")["preview_url"]
    heard = await ask(served, "GET", preview)
    assert heard.headers["content-type"] == "audio/wav"
    assert served.engine.utterances[-1].voice == "other"


async def test_speech_is_a_whole_wav(served: Served) -> None:
    answer = await speak(served)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getnframes() > file.getframerate()
    assert served.engine.utterances[-1].voice == "other"


@pytest.mark.parametrize("path", ["/tts_stream", "/tts_stream/"])
async def test_stream_has_the_same_sound(served: Served, path: str) -> None:
    query = {"text": TEXT, "speaker_wav": "other.wav", "language": "en"}
    streamed = await ask(served, "GET", path, params=query)
    whole = await speak(served)

    assert streamed.headers["content-type"] == "audio/x-wav"
    assert streamed.content[44:] == whole.content[44:]


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"language": "tlh"}, 400, "unsupported_language"),
        ({"speaker_wav": "nobody"}, 404, "voice_not_found"),
        ({"speaker_wav": "/etc/passwd"}, 422, "invalid_voice"),
        ({"speaker_wav": "..\\x.wav"}, 422, "invalid_voice"),
        ({"text": ""}, 422, "validation_error"),
        ({"text": "..."}, 422, "empty_input"),
    ],
)
async def test_wrong_field_is_refused_in_their_shape(
    served: Served, wrong: dict[str, str], status: int, code: str
) -> None:
    refused = await speak(served, **{"text": TEXT, **wrong})

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert isinstance(refused.json()["detail"], str)
    for value in wrong.values():
        assert not value or value in TEXT or value not in refused.text


async def test_broken_body_is_refused_in_their_shape(served: Served) -> None:
    kind = {"Content-Type": "application/json"}
    refused = await ask(served, "POST", "/tts_to_audio/", content=b"{", headers=kind)

    assert refused.status_code == 422
    assert set(refused.json()) >= {"detail", "code"}


async def test_settings_are_those_of_a_key() -> None:
    async with serving_keys(NewKey("a"), NewKey("b")) as (served, keys):
        a, b = ({"Authorization": f"Bearer {token}"} for _, token in keys)
        await served.client.post("/set_tts_settings", headers=a, json={"speed": 2})
        of_a = await served.client.get("/get_tts_settings", headers=a)
        of_b = await served.client.get("/get_tts_settings", headers=b)

    assert (of_a.json()["speed"], of_b.json()["speed"]) == (2, None)


async def test_settings_hold_for_what_follows(served: Served) -> None:
    before = await speak(served)
    set_ = await ask(
        served,
        "POST",
        "/set_tts_settings",
        json={
            "stream_chunk_size": 100,
            "temperature": 0.1,
            "speed": 2,
            "length_penalty": 1,
            "repetition_penalty": 5,
            "top_p": 0.85,
            "top_k": 50,
            "enable_text_splitting": True,
        },
    )
    after = await speak(served)

    assert set_.json() == {"message": "Settings successfully applied"}
    assert (await ask(served, "GET", "/get_tts_settings")).json()["temperature"] == 0.1
    assert len(after.content) < 0.6 * len(before.content)
    sampling = served.engine.utterances[-1].sampling
    assert (sampling.temperature, sampling.repetition_penalty) == (0.1, 5)
    assert (sampling.top_p, sampling.top_k) == (0.85, 50)
    ignored = after.headers["x-fishs2-ignored"]
    for name in ("stream_chunk_size", "length_penalty", "enable_text_splitting"):
        assert name in ignored


async def test_wrong_settings_change_nothing(served: Served) -> None:
    await ask(served, "POST", "/set_tts_settings", json={"speed": 2})
    refused = await ask(served, "POST", "/set_tts_settings", json={"speed": 40})

    assert refused.status_code == 422
    assert (await ask(served, "GET", "/get_tts_settings")).json()["speed"] == 2


@pytest.mark.parametrize(
    "path", ["/switch_model", "/set_output", "/set_speaker_folder", "/tts_to_file"]
)
async def test_what_names_paths_is_refused(served: Served, path: str) -> None:
    refused = await ask(served, "POST", path, json={"speaker_folder": "/etc", "output": "/tmp"})

    assert (refused.status_code, refused.json()["code"]) == (501, "not_supported")


async def test_languages_are_named(served: Served) -> None:
    assert (await ask(served, "GET", "/languages")).json() == {"languages": {}}


async def test_sample_of_nobody_repeats_nothing_of_its_address(served: Served) -> None:
    answer = await served.client.get("/sample/not-anybody-here.wav")

    assert answer.status_code == 404
    assert "not-anybody" not in answer.text
    assert "/speakers_list" in answer.json()["detail"]
