"""When each part of a text sounds: server-sent events and live speech with timestamps."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from fishs2.audio.decode import decode_audio
from tests.fakes import CHARS_PER_S, FakeEngine
from tests.server.dialects.fish_cloud.conftest import error_of
from tests.server.dialects.fish_cloud.live_client import LIVE, live
from tests.serving import serving

PATH = "/v1/tts/stream/with-timestamp"
KEYS = {"audio_base64", "content", "alignment", "chunk_seq", "chunk_audio_offset_sec"}
TEXT = (
    "First things  first. That was quick, was it not?\n\n[sigh] And now the rest of it. "
    "“Really?” <|speaker:0|>Yes, really.  "
) * 5


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) for line in lines]


def segments_of(events: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """All segments on one timeline, as the API page says how: the last snapshot of each chunk."""
    snapshots = {event["chunk_seq"]: event for event in events if event["alignment"]}
    return [
        (
            segment["text"],
            event["chunk_audio_offset_sec"] + segment["start"],
            event["chunk_audio_offset_sec"] + segment["end"],
        )
        for _, event in sorted(snapshots.items())
        for segment in event["alignment"]["segments"]
    ]


def check_times(segments: list[tuple[str, float, float]], pcm: np.ndarray) -> None:
    """The fake's sine sounds in every segment, and only silence lies between them."""
    at_s = 0.0
    for _, start_s, end_s in segments:
        assert at_s <= start_s < end_s
        if start_s - at_s > 0.03:
            between = pcm[round(44_100 * (at_s + 0.01)) : round(44_100 * (start_s - 0.01))]
            assert np.abs(between).max() < 0.01
        inside = pcm[round(44_100 * start_s) : round(44_100 * end_s)]
        assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.35, abs=0.03)
        at_s = end_s
    assert at_s == pytest.approx(len(pcm) / 44_100, abs=0.01)


@pytest.mark.parametrize("speed", [1.0, 1.5])
async def test_segments_add_up_to_the_text_and_lie_where_it_sounds(speed: float) -> None:
    async with serving() as served:
        prosody = {"speed": speed, "normalize_loudness": False}
        body = {"text": TEXT, "format": "pcm", "chunk_length": 100, "prosody": prosody}
        events = events_of(await served.client.post(PATH, json=body))

    assert all(set(event) == KEYS for event in events)
    audio = b"".join(base64.b64decode(event["audio_base64"]) for event in events)
    segments = segments_of(events)
    assert "".join(text for text, _, _ in segments) == TEXT
    assert len(segments) == len(served.engine.utterances)
    check_times(segments, np.frombuffer(audio, "<i2") / 32768)


async def test_audio_is_that_of_the_plain_route() -> None:
    async with serving() as served:
        for name in ("mp3", "wav", "opus"):
            body = {"text": TEXT, "format": name}
            plain = await served.client.post("/v1/tts", json=body)
            timed = events_of(await served.client.post(PATH, json=body))
            audio = b"".join(base64.b64decode(event["audio_base64"]) for event in timed)
            if name == "opus":
                # Each stream of Ogg has a serial number of its own.
                assert len(audio) == len(plain.content)
            else:
                assert audio == plain.content


async def test_snapshots_grow_and_chunks_stay_small() -> None:
    async with serving() as served:
        body = {"text": TEXT * 6, "format": "mp3", "chunk_length": 100}
        events = events_of(await served.client.post(PATH, json=body))

    chunks = [event["chunk_seq"] for event in events]
    assert chunks == sorted(chunks)
    assert set(chunks) == set(range(chunks[-1] + 1))
    assert chunks[-1] >= 1
    assert max(len(event["alignment"]["segments"]) for event in events) <= 16
    assert "".join(text for text, _, _ in segments_of(events)) == TEXT * 6
    durations = [e["alignment"]["audio_duration"] for e in events if e["chunk_seq"] == 0]
    assert durations == sorted(durations)


async def test_failure_before_the_audio_is_an_error_and_after_it_an_event() -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        assert error_of(await served.client.post(PATH, json={"text": TEXT}))[0] == 500
        assert error_of(await served.client.post(PATH, json={"text": ""}))[0] == 400
    async with serving(FakeEngine(fail_after_chunks=2)) as served:
        answer = await served.client.post(PATH, json={"text": TEXT})
    last = answer.text.split("\n\n")[-2]
    assert last.startswith("event: error\ndata: ")
    assert set(json.loads(last.partition("data: ")[2])) == {"status", "message"}


async def test_live_speech_says_the_same_of_text_that_comes_in_pieces() -> None:
    async with serving() as served, live(served, path=f"{LIVE}/with-timestamp") as client:
        await client.start()
        for start in range(0, len(TEXT), 7):
            await client.say("text", text=TEXT[start : start + 7])
        await client.say("stop")
        finish = await client.hear_all()

    assert set(finish) == {"event", "reason", "time"}
    audio_events = client.events[:-1]
    assert all(
        set(event) == {"event", "audio", "time", *KEYS} - {"audio_base64"} for event in audio_events
    )
    segments = segments_of(audio_events)
    assert "".join(text for text, _, _ in segments) == TEXT
    check_times(segments, np.frombuffer(client.audio, "<i2") / 32768)
    times = [event["time"] for event in client.events]
    assert times == sorted(times)


async def test_live_speech_without_text_has_no_audio_events() -> None:
    async with serving() as served, live(served, path=f"{LIVE}/with-timestamp") as client:
        await client.start(text=" ")
        await client.say("stop")
        assert (await client.hear())["event"] == "finish"


async def test_duration_is_that_of_the_audio() -> None:
    async with serving() as served:
        body = {"text": "Hello there.", "format": "wav"}
        events = events_of(await served.client.post(PATH, json=body))

    audio = b"".join(base64.b64decode(event["audio_base64"]) for event in events)
    seconds = len(decode_audio(audio, max_seconds=10).pcm) / 44_100
    assert events[-1]["alignment"]["audio_duration"] == pytest.approx(seconds, abs=0.002)
    assert seconds == pytest.approx(len("Hello there.") / CHARS_PER_S, abs=0.002)
