"""Whatever a client sends wrong is a 4xx in the OpenAI shape: stable code, nothing echoed."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.serving import Served, serving

SPEECH = "/v1/audio/speech"
SECRET = "The secret recipe"


def body(**fields: object) -> dict[str, object]:
    return {"model": "fishs2", "input": SECRET, **fields}


def check_error(answer: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    """Assert the one shape of every error, and that the text is not in it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]
    assert SECRET not in answer.text
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": ""}, 422, "validation_error", "input"),
        ({"input": "   \n\t "}, 422, "empty_input", "input"),
        ({"input": "..."}, 422, "empty_input", "input"),
        ({"input": "[sigh]"}, 422, "empty_input", "input"),
        ({"input": "x" * 12_001}, 422, "input_too_long", "input"),
        ({"input": 5}, 422, "validation_error", "input"),
        ({"input": None}, 422, "validation_error", "input"),
        ({"input": ["a"]}, 422, "validation_error", "input"),
        ({"input": "\0\a"}, 422, "empty_input", "input"),
        ({"model": None}, 422, "validation_error", "model"),
        ({"model": "nope"}, 404, "model_not_found", "model"),
        ({"model": "tts_models/multilingual/xtts_v2"}, 404, "model_not_found", "model"),
        ({"voice": "nobody"}, 404, "voice_not_found", "voice"),
        ({"voice": {"name": "fake"}}, 422, "validation_error", "voice"),
        ({"voice": "../../etc/passwd"}, 404, "voice_not_found", "voice"),
        ({"response_format": "xyz"}, 422, "unsupported_format", "response_format"),
        ({"response_format": "xyz", "model": "nope"}, 422, "unsupported_format", None),
        ({"speed": 0.2}, 422, "validation_error", "speed"),
        ({"speed": 5}, 422, "validation_error", "speed"),
        ({"speed": "fast"}, 422, "validation_error", "speed"),
        ({"speed": True}, 422, "validation_error", "speed"),
        ({"stream_format": "xyz"}, 422, "validation_error", "stream_format"),
        ({"stream": "perhaps"}, 422, "validation_error", "stream"),
        ({"instructions": "x" * 4_097}, 422, "validation_error", "instructions"),
        ({"sample_rate": 7_999}, 422, "validation_error", "sample_rate"),
        (
            {"sample_rate": 12_345, "response_format": "mp3"},
            422,
            "unsupported_sample_rate",
            "sample_rate",
        ),
        ({"language": "xx"}, 422, "unsupported_language", "language"),
    ],
)
async def test_wrong_field_is_refused(
    fields: dict[str, object], status: int, code: str, param: str | None
) -> None:
    async with serving() as served:
        answer = await served.client.post(SPEECH, json=body(**fields))

    check_error(answer, status, code, param)
    assert served.engine.utterances == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{bad", 422, "invalid_json"),
        (b"", 422, "validation_error"),
        (b"[1]", 422, "validation_error"),
        (b"null", 422, "validation_error"),
        (b'"text"', 422, "validation_error"),
        (b'{"model":"fishs2","input":"\xff\xfe"}', 400, "invalid_body"),
        (b'{"model":"fishs2","input":"\\ud800"}', 422, "empty_input"),
        (b'{"model":"fishs2","input":"hi","speed":NaN}', 422, "validation_error"),
        (b'{"model":"fishs2","input":"hi","speed":1e999}', 422, "validation_error"),
        (
            b'{"model":"fishs2","input":"hi","sample_rate":' + b"9" * 5_000 + b"}",
            400,
            "invalid_body",
        ),
        (b"[" * 100_000, 400, "invalid_body"),
        (b'{"a":' * 50_000, 400, "invalid_body"),
        (b"\0" * 100, 422, "invalid_json"),
    ],
)
async def test_wrong_body_is_refused(content: bytes, status: int, code: str) -> None:
    async with serving() as served:
        answer = await served.client.post(
            SPEECH, content=content, headers={"Content-Type": "application/json"}
        )

    check_error(answer, status, code)


async def test_validation_errors_carry_the_detail_list_that_old_clients_read() -> None:
    async with serving() as served:
        answer = await served.client.post(SPEECH, json={"input": SECRET, "speed": 9})

    check_error(answer, 422, "validation_error", "model")
    detail = answer.json()["detail"]
    assert [item["loc"] for item in detail] == [["body", "model"], ["body", "speed"]]
    assert all(set(item) == {"type", "loc", "msg"} for item in detail)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "audio/wav", ""]
)
async def test_body_of_another_type_is_refused(content_type: str) -> None:
    async with serving() as served:
        answer = await served.client.post(
            SPEECH, content=json.dumps(body()), headers={"Content-Type": content_type}
        )

    check_error(answer, 415, "unsupported_media_type")


async def test_form_is_refused() -> None:
    async with serving() as served:
        answer = await served.client.post(SPEECH, data={"model": "fishs2", "input": SECRET})

    check_error(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_body_over_the_limit_is_refused(is_chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 1_000_000

    async with serving() as served:
        answer = await served.client.post(
            SPEECH,
            content=pieces() if is_chunked else b"x" * 50_000_000,
            headers={"Content-Type": "application/json"},
        )
        after = await served.client.get("/health")

    check_error(answer, 413, "body_too_large")
    assert "33,554,432" in answer.json()["error"]["message"]
    assert after.status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_wrong_method_is_refused(method: str) -> None:
    async with serving() as served:
        answer = await served.client.request(method, SPEECH)

    check_error(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", ["/nowhere", "/v1/nothing", "/v1/models/nope", "/%00", "/a/../b"])
async def test_unknown_path_is_refused(path: str) -> None:
    async with serving() as served:
        answer = await served.client.get(path)

    check_error(answer, 404, "model_not_found" if "models" in path else "not_found")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"response_format": "mp3"}, "unsupported_format"),
        ({"speed": 1.5}, "unsupported_speed"),
    ],
)
async def test_strict_v1_refuses_what_the_original_wrapper_lacked(
    fields: dict[str, object], code: str
) -> None:
    async with serving(strict_v1=True) as served:
        answer = await served.client.post(SPEECH, json=body(**fields))

    check_error(answer, 422, code)


async def test_strict_voices_refuses_preset_names() -> None:
    async with serving(strict_voices=True) as served:
        answer = await served.client.post(SPEECH, json=body(voice="alloy"))

    check_error(answer, 404, "voice_not_found", "voice")


async def test_unknown_fields_are_ignored_as_the_contract_says() -> None:
    async with serving() as served:
        answer = await served.client.post(SPEECH, json=body(bogus=1, voice={"id": "fake", "x": 2}))

    assert answer.status_code == 200


async def test_refused_requests_leave_nothing_behind() -> None:
    async with serving() as served:
        for fields in ({"input": ""}, {"voice": "nobody"}, {"speed": 9}):
            await served.client.post(SPEECH, json=body(**fields))
        await check_idle(served)


async def check_idle(served: Served) -> None:
    health = (await served.client.get("/health")).json()
    assert health["queue"] == {"streams": 0, "waiting": 0}
