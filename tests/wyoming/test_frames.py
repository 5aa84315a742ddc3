"""Events as they come: within limits, whatever somebody sends."""

import asyncio
import json

import pytest

from fishs2.errors import UserError
from fishs2.wyoming.frames import MAX_PAYLOAD_BYTES, read_event, text_of

LIMIT = 1_000


async def read(content: bytes) -> object:
    reader = asyncio.StreamReader(limit=LIMIT)
    reader.feed_data(content)
    reader.feed_eof()
    return await read_event(reader, LIMIT)


async def test_data_on_the_line_and_after_it_are_one() -> None:
    more = b'{"text": "after"}'
    line = {"type": "synthesize", "data": {"text": "on it", "x": 1}, "data_length": len(more)}
    reader = asyncio.StreamReader(limit=LIMIT)
    reader.feed_data(json.dumps(line).encode() + b"\n" + more + b'{"type": "ping"}\n')

    first = await read_event(reader, LIMIT)
    second = await read_event(reader, LIMIT)
    assert first is not None
    assert second is not None
    assert (first.type, first.data) == ("synthesize", {"text": "after", "x": 1})
    assert (second.type, second.data) == ("ping", {})


async def test_payload_is_passed_over() -> None:
    reader = asyncio.StreamReader(limit=LIMIT)
    reader.feed_data(b'{"type": "audio-chunk", "payload_length": 3}\nabc{"type": "ping"}\n')

    kinds = [event.type for _ in range(2) if (event := await read_event(reader, LIMIT))]
    assert kinds == ["audio-chunk", "ping"]


async def test_nothing_more_is_the_end() -> None:
    assert await read(b"") is None


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\n",
        b"\xff\n",
        b"[]\n",
        b"null\n",
        b'"ping"\n',
        b"{}\n",
        b'{"type": 1}\n',
        b'{"type": "ping", "data": []}\n',
        b'{"type": "ping", "data_length": "1"}\n',
        b'{"type": "ping", "data_length": -1}\n',
        b'{"type": "ping", "data_length": 2}\n[]',
        b'{"type": "ping", "data_length": 9}\n{}',
        b'{"type": "ping", "payload_length": 9}\n{}',
        b'{"type": "ping", "x": ' + b"9" * 600 + b"}" + b'{"type"',
        b"[" * 500 + b"\n",
        b'{"type": "ping"}',
    ],
    ids=range(16),
)
async def test_what_is_no_event_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(UserError) as broken:
        await read(content)
    assert broken.value.code == "invalid_event"


@pytest.mark.parametrize(
    "content",
    [
        b"x" * (2 * LIMIT) + b"\n",
        b"x" * (3 * LIMIT),
        b'{"type": "ping", "data_length": 1001}\n',
        b'{"type": "ping", "payload_length": %d}\n' % (MAX_PAYLOAD_BYTES + 1),
    ],
    ids=["line", "endless line", "data", "payload"],
)
async def test_what_is_too_large_is_not_waited_for(content: bytes) -> None:
    with pytest.raises(UserError) as large:
        await read(content)
    assert large.value.code == "event_too_large"


async def test_half_a_character_is_replaced() -> None:
    event = await read(b'{"type": "synthesize", "data": {"text": "a\\ud83d b \\ud83d\\ude00"}}\n')

    assert text_of(event) == "a\ufffd b \U0001f600"  # type: ignore[arg-type]
