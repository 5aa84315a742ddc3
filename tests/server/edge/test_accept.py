"""Which kind of answer the Accept header asks for."""

import pytest

from fishs2.server.edge.accept import prefers_json
from tests.serving import serving

BODY = {"model": "fishs2", "input": "Hello there.", "response_format": "mp3"}


@pytest.mark.parametrize(
    ("accept", "is_events"),
    [
        ("text/event-stream", True),
        ("TEXT/Event-Stream", True),
        ("text/event-stream; charset=utf-8", True),
        ("text/event-stream;q=0.9, */*;q=0.1", True),
        ("text/event-stream, */*", True),
        ("audio/*;q=0.5, text/event-stream", True),
        ("text/*", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream; q=0.000, */*", False),
        ("text/event-stream;q=0.5, audio/mpeg", False),
        ("audio/mpeg, text/event-stream;q=0.8", False),
        ("text/event-stream;q=0, text/*", False),
        ("*/*", False),
        ("*/*, text/event-stream;q=0.1", False),
        ("application/octet-stream", False),
        ("application/x-text/event-streams", False),
        ("", False),
        (",;q=,", False),
    ],
)
async def test_accept_decides_between_audio_and_events(accept: str, is_events: bool) -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=BODY, headers={"Accept": accept})

    assert answer.status_code == 200
    is_stream = answer.headers["content-type"].startswith("text/event-stream")
    assert is_stream is is_events


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("application/json", True),
        ("application/json, */*", True),
        ("application/json, application/msgpack;q=0.5", True),
        ("application/json, application/vnd.msgpack", False),
        ("application/json;q=0", False),
        ("application/json;q=0.2, application/x-msgpack", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_accept_decides_between_json_and_messagepack(accept: str, is_json: bool) -> None:
    assert prefers_json(accept) is is_json
