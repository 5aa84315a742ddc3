"""Speech with the times of its words, as Kokoro's clients ask for it."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fishs2.engines.espeak.engine import BuiltinEngine
from tests.serving import Served, serving

PATH = "/dev/captioned_speech"
TEXT = "Hello there, my friend. This is the second sentence."
WORDS = ["Hello", "there", "my", "friend", "This", "is", "the", "second", "sentence"]


@pytest.fixture
async def builtin() -> AsyncIterator[Served]:
    async with serving(BuiltinEngine(num_workers=1)) as served:
        yield served


def body(**more: Any) -> dict[str, Any]:
    return {"model": "kokoro", "input": TEXT, "voice": "default", "response_format": "pcm", **more}


async def test_whole_and_lines_have_the_same_audio_and_words(builtin: Served) -> None:
    whole = await builtin.client.post(PATH, json=body(stream=False))
    streamed = await builtin.client.post(PATH, json=body())

    assert whole.status_code == streamed.status_code == 200, whole.text
    assert whole.headers["content-type"] == "application/json"
    told = whole.json()
    assert set(told) == {"audio", "audio_format", "timestamps"}
    assert told["audio_format"] == "audio/pcm"
    assert [each["word"] for each in told["timestamps"]] == WORDS
    lines = [json.loads(line) for line in streamed.text.splitlines()]
    assert len(lines) > 1
    audio = b"".join(base64.b64decode(line["audio"]) for line in lines)
    assert audio == base64.b64decode(told["audio"])
    assert [word for line in lines for word in line["timestamps"]] == told["timestamps"]
    seconds = len(audio) / 2 / 24_000
    ends = [0.0] + [each["end_time"] for each in told["timestamps"]]
    for before, each in zip(ends, told["timestamps"], strict=False):
        assert before <= each["start_time"] + 0.001
        assert each["start_time"] <= each["end_time"] <= seconds + 0.001


async def test_words_are_left_out_where_nobody_wants_them(builtin: Served) -> None:
    for stream in (True, False):
        answer = await builtin.client.post(PATH, json=body(return_timestamps=False, stream=stream))
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert lines
        assert all(line["timestamps"] == [] for line in lines)


async def test_what_another_shape_would_need_is_named(builtin: Served) -> None:
    answer = await builtin.client.post(
        PATH, json=body(captions="srt", stream_format="sse", stream=False)
    )

    assert answer.status_code == 200
    assert answer.headers["x-fishs2-ignored"] == "stream_format, captions"
    assert answer.json()["audio"]


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"input": ""}, 422, None),
        ({"voice": "nobody"}, 404, "voice_not_found"),
        ({"return_timestamps": "perhaps"}, 422, "validation_error"),
        ({"stream": 7}, 422, "validation_error"),
    ],
)
async def test_bad_bodies_are_refused_before_any_sound(
    builtin: Served, wrong: dict[str, Any], status: int, code: str | None
) -> None:
    answer = await builtin.client.post(PATH, json=body(**wrong))

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == (code or error["code"])
