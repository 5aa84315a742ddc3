"""When speech sounds: words and sentences in the caller's own characters, on every delivery."""

import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.engines.espeak.engine import BuiltinEngine
from tests.listeners import FakeListener
from tests.serving import Served, serving, until

TEXT = "Hello there, my **old** friend. It costs 25 € &amp; more! Is that “well-known”?\n\nThe end"
PATH = "/v1/audio/speech"


@pytest.fixture
async def builtin() -> AsyncIterator[Served]:
    async with serving(BuiltinEngine(num_workers=1)) as served:
        yield served


async def ask(served: Served, **more: Any) -> dict[str, Any]:
    body = {"model": "fishs2", "input": TEXT, "response_format": "wav", "timestamps": "word"}
    answer = await served.client.post(PATH, json={**body, **more})
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    found: dict[str, Any] = answer.json()
    found["header"] = answer.headers.get("x-fishs2-times")
    return found


def read(told: dict[str, Any]) -> tuple[np.ndarray[Any, Any], int]:
    with wave.open(io.BytesIO(base64.b64decode(told["audio"]))) as file:
        return np.frombuffer(file.readframes(10**9), np.int16), file.getframerate()


def check(times: dict[str, Any], text: str, seconds: float) -> None:
    for unit in ("words", "sentences"):
        for each in times[unit]:
            assert text[each["char_start"] : each["char_end"]] == each["text"]
            assert 0 <= each["start"] <= each["end"] <= seconds + 0.001
        for before, after in pairwise(times[unit]):
            assert before["char_end"] <= after["char_start"]
            assert before["end"] <= after["start"] + 0.001
    for sentence in times["sentences"]:
        inside = [
            word
            for word in times["words"]
            if sentence["char_start"] <= word["char_start"] < sentence["char_end"]
        ]
        if times["words"]:
            assert inside
            assert (inside[0]["start"], inside[-1]["end"]) == (sentence["start"], sentence["end"])


async def test_words_are_the_callers_own(builtin: Served) -> None:
    told = await ask(builtin, text_cleaning="markdown")
    pcm, rate_hz = read(told)

    times = told["times"]
    check(times, TEXT, len(pcm) / rate_hz)
    assert (told["format"], told["header"], times["kind"]) == ("wav", "exact", "exact")
    words = [word["text"] for word in times["words"]]
    assert words[:5] == ["Hello", "there", "my", "old", "friend"]
    assert any(word.startswith("25") for word in words)
    assert [each["text"] for each in times["sentences"]] == [
        "Hello there, my **old** friend.",
        "It costs 25 € &amp; more!",
        "Is that “well-known”?",
        "The end",
    ]


async def test_what_is_left_out_is_in_no_word_or_sentence(builtin: Served) -> None:
    parts = (
        "# Title",
        "* one\n* see [link](http://x.y)",
        "```py\nprint(1)\n```",
        "| a | b |\n|--|--|\n| 1 | 2 |",
    )
    text = "\n\n".join(parts)
    told = await ask(builtin, input=text, text_cleaning="markdown")

    check(told["times"], text, told["seconds"])
    words = [word["text"] for word in told["times"]["words"]]
    assert words[:5] == ["Title", "one", "see", "link", "a"]
    sentences = [sentence["text"] for sentence in told["times"]["sentences"]]
    assert sentences[:2] == ["Title", "one"]
    assert not any("print" in each or each.endswith("|") for each in sentences)


async def test_words_are_where_they_sound(builtin: Served) -> None:
    told = await ask(builtin, input="Hello. [pause:2s] World.")
    pcm, rate_hz = read(told)

    first, second = told["times"]["words"]
    assert second["start"] - first["end"] >= 1.999
    loud = np.flatnonzero(np.abs(pcm) > 600) / rate_hz
    assert loud[0] == pytest.approx(first["start"], abs=0.06)
    assert loud[loud < 1.5][-1] == pytest.approx(first["end"], abs=0.06)
    assert loud[loud > 1.5][0] == pytest.approx(second["start"], abs=0.06)
    assert loud[-1] == pytest.approx(second["end"], abs=0.06)


async def test_words_are_where_players_of_aac_play_them(builtin: Served) -> None:
    told = await ask(builtin, input="One. [pause:1s] Two.", response_format="aac")
    decoded = decode_audio(base64.b64decode(told["audio"]), max_seconds=60)

    loud = np.flatnonzero(np.abs(decoded.pcm) > 0.02) / decoded.sample_rate_hz
    second = told["times"]["words"][1]
    assert loud[loud > 1.2][0] == pytest.approx(second["start"], abs=0.015)


async def test_words_end_before_the_pauses_of_the_engine(builtin: Served) -> None:
    told = await ask(builtin, input="Hello. World, and more: all.")
    pcm, rate_hz = read(told)

    loud = np.flatnonzero(np.abs(pcm) > 300) / rate_hz
    for word, after in pairwise(told["times"]["words"]):
        inside = loud[(loud >= word["start"]) & (loud < after["start"] - 0.02)]
        assert word["end"] - inside[-1] < 0.05


async def test_times_follow_the_speed(builtin: Served) -> None:
    usual, quick = await ask(builtin), await ask(builtin, speed=2.0)

    check(quick["times"], TEXT, quick["seconds"])
    for before, after in zip(usual["times"]["words"], quick["times"]["words"], strict=True):
        assert after["start"] == pytest.approx(before["start"] / 2, abs=0.02)


async def test_sentences_alone_are_the_same_sentences(builtin: Served) -> None:
    alone, both = await ask(builtin, timestamps="sentence"), await ask(builtin)

    assert alone["times"]["words"] == []
    assert alone["times"]["sentences"] == both["times"]["sentences"]
    assert alone["audio"] == both["audio"]


async def test_events_tell_each_word_once(builtin: Served) -> None:
    whole = await ask(builtin)
    body = {"model": "fishs2", "input": TEXT, "timestamps": "word", "stream_format": "sse"}
    answer = await builtin.client.post(PATH, json=body)
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line]

    assert answer.headers["x-fishs2-times"] == "exact"
    times = [event for event in events if event["type"] == "speech.times"]
    assert len(times) > 1
    for unit in ("words", "sentences"):
        assert [each for event in times for each in event[unit]] == whole["times"][unit]
    assert events[-1]["type"] == "speech.audio.done"


@pytest.mark.parametrize(
    ("kind", "content_type", "begins"),
    [
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00."),
        ("json", "application/json", '{"captions": [{'),
    ],
)
async def test_captions_are_a_file(
    builtin: Served, kind: str, content_type: str, begins: str
) -> None:
    body = {"model": "fishs2", "input": TEXT, "captions": kind}
    answer = await builtin.client.post(PATH, json=body)
    beside = await ask(builtin, captions=kind)

    assert answer.headers["content-type"] == content_type
    assert answer.text.startswith(begins)
    assert beside["captions"] == answer.text
    assert beside["audio"]


async def test_captions_come_among_events_too(builtin: Served) -> None:
    body = {"model": "fishs2", "input": TEXT, "captions": "srt"}
    alone = await builtin.client.post(PATH, json=body)
    streamed = await builtin.client.post(PATH, json={**body, "stream_format": "sse"})
    events = [json.loads(line[6:]) for line in streamed.text.split("\n\n") if line]

    assert events[-2] == {"type": "speech.captions", "captions": alone.text}
    assert [event["type"] for event in events].count("speech.times") == 0


async def test_other_engines_estimate_words_and_know_sentences() -> None:
    text = "One two three. Four five six seven. Eight."
    async with serving() as served:
        told = await ask(served, input=text)
        utterances = [each.text for each in served.engine.utterances]
    pcm, rate_hz = read(told)

    check(told["times"], text, len(pcm) / rate_hz)
    assert (told["header"], told["times"]["kind"]) == ("estimated", "estimated")
    assert utterances == ["One two three.", "Four five six seven.", "Eight."]
    assert [each["text"] for each in told["times"]["sentences"]] == utterances
    assert [word["text"] for word in told["times"]["words"]] == text.replace(".", "").split()


@pytest.mark.parametrize("wrong", [{"timestamps": "letter"}, {"captions": "ass"}])
async def test_unknown_wish_is_refused(wrong: dict[str, str]) -> None:
    async with serving() as served:
        body = {"model": "fishs2", "input": TEXT, **wrong}
        refused = await served.client.post(PATH, json=body)

    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == next(iter(wrong))


async def test_other_engines_are_heard_where_something_can_listen() -> None:
    text = "One two three. Four five."
    async with serving(listener=FakeListener()) as served:
        told = await ask(served, input=text)
    pcm, rate_hz = read(told)

    check(told["times"], text, len(pcm) / rate_hz)
    assert (told["header"], told["times"]["kind"]) == ("aligned", "aligned")
    assert len(told["times"]["words"]) == 5


async def test_a_listener_that_fails_is_told_in_the_header() -> None:
    async with serving(listener=FakeListener(fails=True)) as served:
        told = await ask(served, input="One two three.")

    assert (told["header"], told["times"]["kind"]) == ("estimated", "estimated")


async def test_client_that_leaves_ends_what_is_heard_for_it() -> None:
    listener = FakeListener()
    listener.gate.clear()
    body = {"model": "fishs2", "input": TEXT, "timestamps": "word", "stream_format": "sse"}
    async with serving(listener=listener) as served:
        async with served.client.stream("POST", PATH, json=body) as answer:
            pieces = answer.aiter_bytes()
            assert await anext(pieces)
            await until(lambda: listener.num_active > 0)
        await until(lambda: listener.num_active == 0)
