"""WebSockets of live speech with frames that are wrong in content, order and number."""

import asyncio
import random
from typing import Any

import ormsgpack
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks.campaign.mutations import CANARY, mutate_bytes
from tests.fakes import FakeEngine
from tests.serving import PATIENCE_S, Served, serving, until

PATHS = ("/v1/tts/live", "/v1/tts/live/with-timestamp")
CLOSES = {1000, 1003, 1006, 1007, 1008, 1009, 1013}
"""All but 1011, a defect of ours. 1006 is whoever left without a word."""

START: dict[str, Any] = {"event": "start", "request": {"text": "", "format": "pcm"}}
EVENTS: tuple[dict[str, Any], ...] = (
    START,
    {"event": "text", "text": f"{CANARY} says this. "},
    {"event": "text", "text": "And that, without an end"},
    {"event": "flush"},
    {"event": "stop"},
)
ODD: tuple[Any, ...] = (
    *(None, True, 7, -1.5, "start", [], {}, [START], {"event": None}, {"event": "nothing"}),
    {"event": "text"},
    {"event": "text", "text": None},
    {"event": "text", "text": 7},
    {"event": "text", "text": "a" * 300_000},
    {"event": "text", "text": "[" * 20_000},
    {"event": "start"},
    {"event": "start", "request": []},
    {"event": "start", "request": {"text": CANARY, "format": "exe"}},
    {"event": "start", "request": {"text": "", "reference_id": f"../../{CANARY}"}},
    {"event": "start", "request": {"text": "", "references": [{"audio": b"RIFF", "text": "x"}]}},
    {"event": "stop", "text": "more"},
    {b"event": b"start"},
)


def draw_frames(pick: random.Random) -> list[bytes | str]:
    """What a client sends: the right events with some out of order, odd, broken, or very many."""
    events: list[Any] = list(EVENTS)
    for _ in range(pick.choice((0, 1, 1, 3))):
        events.insert(pick.randrange(len(events) + 1), pick.choice(ODD))
    if pick.random() < 0.3:
        pick.shuffle(events)
    if pick.random() < 0.1:
        events[1:1] = [pick.choice((*EVENTS[1:4], ODD[9]))] * 500
    packed = [ormsgpack.packb(each, option=ormsgpack.OPT_NON_STR_KEYS) for each in events]
    frames: list[bytes | str] = list(packed)
    if pick.random() < 0.4:
        at = pick.randrange(len(frames))
        broken = mutate_bytes(packed[at], pick)
        frames[at] = broken if pick.random() < 0.8 else "text frames are no events"
    return frames


async def talk(served: Served, seed: int) -> tuple[int | None, str]:
    """Send them all and listen; returns how the server closed, and what it said at last."""
    pick = random.Random(seed)
    url = served.url.replace("http", "ws", 1) + pick.choice(PATHS)
    message = ""
    try:
        async with connect(url, max_size=None, open_timeout=PATIENCE_S, proxy=None) as socket:
            listening = asyncio.create_task(_listen(socket))
            try:
                for frame in draw_frames(pick):
                    await socket.send(frame)
                if pick.random() < 0.3:
                    socket.transport.abort()
                else:
                    await socket.send(ormsgpack.packb({"event": "stop"}))
            except ConnectionClosed:
                pass
            message = await listening
            await socket.wait_closed()
            return socket.close_code, message
    except InvalidStatus as error:
        return error.response.status_code, message


async def _listen(socket: Any) -> str:
    """The message of the finish, if there is one."""
    message = ""
    try:
        async for frame in socket:
            event = ormsgpack.unpackb(frame)
            message = event.get("message", message) if isinstance(event, dict) else message
    except ConnectionClosed:
        pass
    return message


@pytest.mark.parametrize(
    "num", [150, pytest.param(5_000, marks=[pytest.mark.slow, pytest.mark.timeout(1_800)])]
)
async def test_wrong_frames_end_their_own_speech_only(num: int) -> None:
    engine = FakeEngine(num_turns=64)
    async with serving(engine, live_idle_s=1.0) as served:
        seeds = list(range(num))
        ends: list[tuple[int, int | None, str]] = []

        async def work() -> None:
            while seeds:
                seed = seeds.pop()
                ends.append((seed, *await talk(served, seed)))

        await asyncio.gather(*(work() for _ in range(6)))
        # Whoever behaves is spoken to as ever.
        await until(lambda: not (engine.num_active or served.services.status().num_streams))

    codes = {code for _, code, _ in ends}
    assert [end for end in ends if end[1] not in CLOSES] == []
    assert {1000, 1008} <= codes
    assert [end for end in ends if CANARY in end[2]] == []
    assert [end for end in ends if "Traceback" in end[2] or "site-packages" in end[2]] == []
