"""Transcriptions and translations, also through OpenAI's own client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from fishs2.store.accounts.keys import NewKey
from tests.listeners import FakeListener
from tests.recordings import make_voice, write_wav
from tests.server.keyed import serving_keys
from tests.serving import Served, serving, until

PATH = "/v1/audio/transcriptions"
GRANULARITIES = "timestamp_granularities[]"
TEXT = "On clear mornings the harbour is already busy, before the sun comes up."
RECORDING = write_wav(make_voice(2.0))


@pytest.fixture
def listener() -> FakeListener:
    return FakeListener(TEXT)


@pytest.fixture
async def served(listener: FakeListener) -> AsyncIterator[Served]:
    async with serving(listener=listener) as made:
        yield made


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{served.url}/v1"
    async with openai.AsyncOpenAI(api_key="x", base_url=url, max_retries=0) as made:
        yield made


async def post(
    served: Served, path: str = PATH, *, more: dict[str, list[str]] | None = None, **fields: str
) -> httpx.Response:
    data: dict[str, Any] = {"model": "whisper-1", **fields, **(more or {})}
    return await served.client.post(path, files={"file": ("a.wav", RECORDING)}, data=data)


async def test_official_client_reads_the_text(client: openai.AsyncOpenAI) -> None:
    heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", RECORDING))

    assert heard.text == TEXT
    assert heard.usage is not None
    assert heard.usage.type == "duration"
    assert heard.usage.seconds == pytest.approx(2.0, abs=0.01)


async def test_official_client_reads_segments_and_words(client: openai.AsyncOpenAI) -> None:
    heard = await client.audio.transcriptions.create(
        model="whisper-1",
        file=("a.wav", RECORDING),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )

    assert (heard.text, heard.language) == (TEXT, "english")
    assert heard.duration == pytest.approx(2.0, abs=0.01)
    assert heard.words is not None
    assert [word.word for word in heard.words] == TEXT.split()
    assert heard.segments is not None
    assert [segment.id for segment in heard.segments] == list(range(len(heard.segments)))
    assert "".join(segment.text for segment in heard.segments).strip() == TEXT
    assert heard.segments[-1].end == heard.words[-1].end


async def test_segments_are_what_verbose_json_has_by_default(served: Served) -> None:
    plain = (await post(served, response_format="verbose_json")).json()
    words = await post(served, response_format="verbose_json", more={GRANULARITIES: ["word"]})

    assert plain["task"] == "transcribe"
    assert "segments" in plain
    assert "words" not in plain
    assert "segments" not in words.json()


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt"])
async def test_official_client_reads_texts_and_subtitles(
    client: openai.AsyncOpenAI, response_format: Any
) -> None:
    heard = await client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", RECORDING), response_format=response_format
    )

    first = "On clear mornings the harbour"
    expected = {
        "text": f"{TEXT}\n",
        "srt": f"1\n00:00:00,000 --> 00:00:00,769\n{first}\n\n2\n",
        "vtt": f"WEBVTT\n\n00:00:00.000 --> 00:00:00.769\n{first}\n\n00:00:00.769 --> ",
    }
    assert str(heard).startswith(expected[response_format])


async def test_official_client_streams_the_text(client: openai.AsyncOpenAI) -> None:
    stream = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.wav", RECORDING), stream=True
    )
    events = [event async for event in stream]

    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == TEXT
    assert "".join(e.delta for e in events if e.type == "transcript.text.delta") == TEXT
    assert len(events) > 3


async def test_official_client_translates(
    client: openai.AsyncOpenAI, listener: FakeListener
) -> None:
    heard = await client.audio.translations.create(
        model="whisper-1", file=("a.wav", RECORDING), response_format="verbose_json", prompt="Hm."
    )

    assert heard.language == "english"
    assert (listener.wishes[0].task, listener.wishes[0].prompt) == ("translate", "Hm.")


async def test_fields_reach_the_listener(served: Served, listener: FakeListener) -> None:
    answer = await post(
        served,
        language="DE-at",
        prompt="Guten Tag.",
        temperature="0.4",
        more={"keywords[]": ["Käthe", "Ulm"]},
    )

    assert answer.status_code == 200
    wish = listener.wishes[0]
    assert (wish.language, wish.temperature) == ("de", 0.4)
    assert wish.prompt == "Guten Tag. Käthe, Ulm"
    assert not wish.with_words


async def test_empty_fields_and_auto_are_none(served: Served, listener: FakeListener) -> None:
    answer = await post(served, language="auto", prompt="", stream="", response_format=" JSON ")

    assert answer.status_code == 200, answer.text
    assert listener.wishes[0].language is None


async def test_what_has_no_effect_is_named(served: Served) -> None:
    more = {"include[]": ["logprobs"], "languages": ["en", "de"]}
    answer = await post(served, more=more, chunking_strategy="auto")

    assert answer.headers["x-fishs2-ignored"] == "include, chunking_strategy, languages"


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "gpt-4o-transcribe-diarize"}, 404, "model_not_found", "model"),
        ({"model": "fishs2"}, 404, "model_not_found", "model"),
        ({"language": "tlh"}, 422, "unsupported_language", "language"),
        ({"response_format": "diarized_json"}, 422, "validation_error", "response_format"),
        ({"temperature": "1.5"}, 422, "validation_error", "temperature"),
        ({"prompt": "x" * 8_001}, 422, "validation_error", "prompt"),
        (
            {"timestamp_granularities[]": "word"},
            422,
            "invalid_parameter",
            "timestamp_granularities",
        ),
        ({"stream": "true", "response_format": "srt"}, 422, "invalid_parameter", "stream"),
    ],
)
async def test_wrong_fields_are_refused_before_anything_is_heard(
    served: Served,
    listener: FakeListener,
    fields: dict[str, str],
    status: int,
    code: str,
    param: str,
) -> None:
    answer = await served.client.post(
        PATH, files={"file": ("a.wav", RECORDING)}, data={"model": "whisper-1", **fields}
    )

    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert not listener.wishes


@pytest.mark.parametrize(
    "name",
    ["whisper-1", "gpt-transcribe", "gpt-4o-mini-transcribe-2025-12-15", "Fake", "whisper-fake"],
)
async def test_names_of_openai_and_of_the_model_that_is_here_are_known(
    served: Served, name: str
) -> None:
    assert (await post(served, model=name)).status_code == 200


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_what_is_no_audio_is_refused_with_an_honest_status(
    served: Served, stream: str
) -> None:
    answer = await served.client.post(
        PATH,
        files={"file": ("a.wav", b"%PDF-1.7 no audio")},
        data={"model": "whisper-1", "stream": stream},
    )
    nothing = await served.client.post(PATH, data={"model": "whisper-1"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_audio")
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (400, "missing_files")


async def test_failure_in_a_stream_is_an_event_that_the_client_raises() -> None:
    listener = FakeListener(fails=True)
    async with serving(listener=listener) as served:
        answer = await post(served, stream="true")
        whole = await post(served)

    last = answer.text.strip().splitlines()[-1].removeprefix("data: ")
    assert json.loads(last)["error"]["code"] == "recognition_failed"
    assert (whole.status_code, whole.json()["error"]["code"]) == (500, "recognition_failed")


@pytest.mark.parametrize(
    ("missing", "status"), [("asr_not_installed", 501), ("asr_model_missing", 503)]
)
async def test_nothing_to_listen_with_is_said(missing: str, status: int) -> None:
    async with serving(listener=FakeListener(missing=missing)) as served:
        answers = [await post(served), await post(served, "/v1/audio/translations")]

    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, missing)
        assert answer.headers["x-should-retry"] == "false"


async def test_client_that_leaves_ends_the_work(served: Served, listener: FakeListener) -> None:
    listener.gate.clear()
    for stream in ("false", "true"):
        task = asyncio.create_task(post(served, stream=stream))
        await until(lambda: listener.num_active == 1)

        task.cancel()

        await until(lambda: listener.num_active == 0)


async def test_what_is_heard_is_counted_like_what_is_spoken(listener: FakeListener) -> None:
    new = NewKey("one", frozenset({"speech"}), granted=100)
    async with serving_keys(new, listener=listener) as (served, [(_, token)]):
        headers = {"Authorization": f"Bearer {token}"}
        statuses = []
        for _ in range(3):
            answer = await served.client.post(
                PATH,
                files={"file": ("a.wav", RECORDING)},
                data={"model": "whisper-1"},
                headers=headers,
            )
            statuses.append(answer.status_code)
        stored = await served.client.get("/wallet/self/api-credit", headers=headers)

    assert len(TEXT) < 100 < 2 * len(TEXT)
    # What it costs is known once it has been heard.
    assert statuses == [200, 429, 429]
    assert stored.json()["credit"] == str(100 - len(TEXT))
