"""When each character sounds, over ElevenLabs' WebSockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes import FakeEngine
from tests.server.dialects.elevenlabs.live_client import LiveClient, live, multi
from tests.serving import Served, serving

TEXT = "Hello there, you. How are you today? “Fine”, she said…\n\nIt is 7.30. "
PARTS = (" ", "Hello there, you. How are", " you today? “Fine”, she ", "said…\n\nIt is 7.30. ")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving(FakeEngine(num_turns=8)) as served:
        yield served


def alignments_of(client: LiveClient, context_id: str | None = None) -> list[dict[str, Any]]:
    told = [
        frame
        for frame in client.frames
        if "alignment" in frame and frame.get("contextId") == context_id
    ]
    assert all(frame["alignment"] == frame["normalizedAlignment"] for frame in told)
    return [frame["alignment"] for frame in told]


def text_of(alignments: list[dict[str, Any]]) -> str:
    return "".join(char for each in alignments for char in each["chars"])


def one_clock(alignments: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Starts and ends of characters whose times begin anew in each frame, as Pipecat adds them."""
    clock_ms, times = 0, []
    for each in alignments:
        pairs = zip(each["charStartTimesMs"], each["charDurationsMs"], strict=True)
        times += [(clock_ms + start, clock_ms + start + lasting) for start, lasting in pairs]
        clock_ms += each["charStartTimesMs"][-1] + each["charDurationsMs"][-1]
    return times


def as_told(alignments: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [
        (start, start + lasting)
        for each in alignments
        for start, lasting in zip(each["charStartTimesMs"], each["charDurationsMs"], strict=True)
    ]


def check(times: list[tuple[int, int]], pcm: bytes) -> None:
    flat = [each for pair in times for each in pair]
    assert flat == sorted(flat)
    assert flat[0] >= 0
    seconds = len(pcm) / 48_000
    assert seconds - 1 < flat[-1] / 1000 <= seconds + 0.01


@pytest.mark.parametrize("query", ["", "&sync_alignment=true"])
async def test_every_character_that_was_sent_is_told_with_its_time(
    served: Served, query: str
) -> None:
    async with live(served, query=f"output_format=pcm_24000{query}") as client:
        for part in PARTS:
            await client.say(text=part)
        await client.say(text="")
        await client.hear_final()

    told = alignments_of(client)
    assert len(told) > 1
    assert text_of(told) == " " + TEXT
    check(as_told(told), client.audio_of())


@pytest.mark.parametrize("is_synced", [True, False])
async def test_contexts_have_their_own_clocks(served: Served, is_synced: bool) -> None:
    query = "output_format=pcm_24000" + ("&sync_alignment=true" if is_synced else "")
    async with multi(served, query=query) as client:
        for name in ("a", "b"):
            for part in PARTS:
                await client.say(text=part, context_id=name)
            await client.say(context_id=name, close_context=True)
        for name in ("a", "b"):
            await client.hear_final(name)

    for name in ("a", "b"):
        told = alignments_of(client, name)
        assert text_of(told) == " " + TEXT
        check(as_told(told) if is_synced else one_clock(told), client.audio_of(name))


async def test_times_of_what_sounded_come_before_more_text(served: Served) -> None:
    async with multi(served) as client, asyncio.timeout(60):
        await client.say(text="Hello there. ", context_id="a", flush=True)
        while text_of(alignments_of(client, "a")) != "Hello there. ":
            await client.hear()
        await client.say(text="Bye.", context_id="a", close_context=True)
        await client.hear_final("a")

    assert text_of(alignments_of(client, "a")) == "Hello there. Bye."


async def test_nobody_is_told_times_who_wants_none(served: Served) -> None:
    async with live(served, query="output_format=pcm_24000&sync_alignment=false") as client:
        await client.say(text=TEXT)
        await client.say(text="")
        await client.hear_final()

    assert client.audio_of()
    assert not alignments_of(client)


async def test_times_are_right_before_an_end_that_cannot_be_spoken(served: Served) -> None:
    text = "One two. ... Three. ... — "
    async with multi(served, query="output_format=pcm_24000&sync_alignment=true") as client:
        await client.say(text=text, context_id="a", close_context=True)
        await client.hear_final("a")

    assert text_of(alignments_of(client, "a")) == text
    check(as_told(alignments_of(client, "a")), client.audio_of("a"))
