"""ElevenLabs' WebSockets: text in, speech out, with one context and with several."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from websockets.exceptions import InvalidStatus

from fishs2.runtime import open_database
from fishs2.store.accounts.keys import NewKey
from fishs2.store.accounts.usage import read_usage, today
from tests.fakes import CHARS_PER_S, FakeEngine
from tests.server.dialects.elevenlabs.live_client import LiveClient, live, multi
from tests.server.keyed import serving_keys
from tests.serving import Served, serving, until

LONG = "This sentence is long enough for some chunks of sound, and goes on. "


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


async def is_free(served: Served) -> None:
    await until(lambda: not (served.engine.num_active or served.services.status().num_streams))


def seconds_of(pcm: bytes) -> float:
    return len(pcm) / 2 / 24_000


async def say_first(client: LiveClient, context_id: str, text: str = "Hello there. ") -> None:
    """What LiveKit sends when a turn begins."""
    settings = {"stability": 0.5, "similarity_boost": 0.75}
    await client.say(text=" ", voice_settings=settings, context_id=context_id)
    await client.say(text=text, context_id=context_id)


async def test_speech_of_all_text_is_one_stream_with_one_final(served: Served) -> None:
    served.engine.utterances.clear()
    async with live(served) as client:
        await client.say(text=" ", voice_settings={"speed": 1.0})
        await client.say(text="Hello there. How are", try_trigger_generation=True)
        await client.say(text=" you? And", flush=True)
        await client.say(text=" goodbye")
        await client.say(text="")

        assert await client.hear_final() == {"isFinal": True}
        assert await client.close_code() == 1000
    spoken = " ".join(u.text for u in served.engine.utterances)
    assert spoken.split() == ["Hello", "there.", "How", "are", "you?", "And", "goodbye"]
    assert seconds_of(client.audio_of()) >= len(spoken) / CHARS_PER_S - 0.1


async def test_audio_comes_before_the_last_text(served: Served) -> None:
    async with live(served) as client:
        await client.say(text="Hello there. How are you? ")
        assert await client.hear_audio()
        await client.say(text="")
        await client.hear_final()


async def test_nothing_to_say_is_final_at_once(served: Served) -> None:
    for first in (" ", ""):
        async with live(served) as client:
            await client.say(text=first)
            await client.say(text="")
            assert await client.hear() == {"isFinal": True}
            assert await client.close_code() == 1000


async def test_handshake_names_what_has_no_effect(served: Served) -> None:
    async with live(served, query="apply_text_normalization=on&enable_ssml_parsing=true") as client:
        response = client.socket.response
        assert response is not None
        ignored = set(response.headers["x-fishs2-ignored"].split(", "))
        assert {"style", "apply_text_normalization", "enable_ssml_parsing"} <= ignored


async def test_closed_context_says_all_that_was_sent_before(served: Served) -> None:
    async with multi(served) as client:
        await say_first(client, "a", LONG * 3)
        await client.say(context_id="a", flush=True)
        await client.say(context_id="a", close_context=True)

        assert await client.hear_final("a") == {"isFinal": True, "contextId": "a"}
        assert seconds_of(client.audio_of("a")) >= len(LONG.strip()) * 3 / CHARS_PER_S - 0.5
        assert {frame["contextId"] for frame in client.frames} == {"a"}


async def test_each_context_has_its_own_sound_and_end(served: Served) -> None:
    names = ["a", "b", "c", "d", "e"]
    async with multi(served) as client:
        for name in names:
            await say_first(client, name, f"This is context {name}. ")
        for name in reversed(names):
            await client.say(context_id=name, close_context=True)
        waiting = set(names)
        while waiting:
            frame = await client.hear()
            if frame.get("isFinal"):
                waiting.remove(frame["contextId"])

        assert all(client.audio_of(name) for name in names)
        # The name is free again, and so is the room.
        await say_first(client, "a")
        await client.say(context_id="a", close_context=True)
        await client.hear_final("a")


async def test_sixth_context_is_refused_and_harms_no_other(served: Served) -> None:
    async with multi(served) as client:
        for number in range(5):
            await client.say(text=" ", context_id=f"c{number}")
        await client.say(text="One too many. ", context_id="sixth")
        refused = await client.hear()

        assert (refused["code"], refused["contextId"]) == ("too_many_contexts", "sixth")
        assert "5 contexts" in refused["error"]
        assert await client.hear() == {"isFinal": True, "contextId": "sixth"}
        await client.say(text="Still here. ", context_id="c0", close_context=True)
        await client.hear_final("c0")
        assert client.audio_of("c0")


async def test_text_after_the_end_of_a_context_is_refused(served: Served) -> None:
    served.engine.gate.clear()
    try:
        async with multi(served) as client:
            await say_first(client, "a", LONG)
            await client.say(context_id="a", close_context=True)
            await client.say(context_id="a", text="Too late. ")
            while (frame := await client.hear()).get("error") is None:
                pass
            assert (frame["code"], frame["contextId"]) == ("context_closed", "a")
            served.engine.gate.set()
            await client.hear_final("a")
    finally:
        served.engine.gate.set()
    assert "Too late." not in [u.text for u in served.engine.utterances]


async def test_closing_what_was_never_opened_is_final(served: Served) -> None:
    async with multi(served) as client:
        await client.say(text="", context_id="never")
        await client.say(context_id="never", close_context=True)

        assert await client.hear() == {"isFinal": True, "contextId": "never"}


@pytest.mark.parametrize("leaves", ["close_socket", "hangs_up"])
async def test_leaving_stops_the_engine_within_a_chunk(served: Served, leaves: str) -> None:
    served.engine.gate.clear()
    aborted = served.engine.num_aborted
    try:
        async with multi(served) as client:
            for name in ("a", "b"):
                await say_first(client, name, LONG * 2)
            await until(lambda: served.engine.num_active > 1)
            if leaves == "close_socket":
                await client.say(close_socket=True)
                await client.hear_final("a")
                await client.hear_final("b")
                assert await client.close_code() == 1000
        # The gate is still closed: none could have gone on.
        await is_free(served)
        assert served.engine.num_aborted > aborted
    finally:
        served.engine.gate.set()


async def test_failing_engine_ends_its_context_only() -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served, multi(served) as client:
        await say_first(client, "a")
        failed = await client.hear()
        assert (failed["code"], failed["contextId"]) == ("generation_failed", "a")
        assert await client.hear() == {"isFinal": True, "contextId": "a"}
        await say_first(client, "b")
        await client.hear_final("b")


async def test_unknown_voice_is_told_in_band(served: Served) -> None:
    async with live(served, voice="nobody") as client:
        await client.say(text="Hello there. ")
        assert (await client.hear())["code"] == "voice_not_found"
        assert await client.hear() == {"isFinal": True}
        assert await client.close_code() == 1008


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("output_format=flac_1", "unsupported_format"),
        ("model_id=nothing", "model_not_found"),
        ("inactivity_timeout=0", "validation_error"),
        ("inactivity_timeout=181", "validation_error"),
        ("seed=-1", "validation_error"),
    ],
)
async def test_wrong_address_is_told_in_band(served: Served, query: str, code: str) -> None:
    async with live(served, query=query) as client:
        assert (await client.hear())["code"] == code.replace("validation_error", "invalid_request")
        assert await client.close_code() == 1008


@pytest.mark.parametrize(
    "frame",
    [
        "nothing",
        "[]",
        '{"text": 1}',
        '{"text": "a", "voice_settings": {"stability": 2}}',
        '{"text": "a", "generation_config": {"chunk_length_schedule": [0]}}',
        '{"text": "a", "context_id": "' + "x" * 257 + '"}',
        "[" * 5_000,
        b"\xff\xfe",
        '{"text": "' + "a" * 300_000 + '"}',
    ],
)
async def test_wrong_frame_is_told_and_not_echoed(served: Served, frame: str | bytes) -> None:
    async with multi(served) as client:
        await client.socket.send(frame)
        told = await client.hear()

        assert told["code"] in ("invalid_frame", "frame_too_large")
        assert len(told["error"]) < 500
        assert await client.close_code() == 1008


async def test_settings_cannot_change_in_the_middle(served: Served) -> None:
    async with multi(served) as client:
        await say_first(client, "a")
        await client.say(text="More. ", context_id="a", voice_settings={"speed": 2.0})
        while (frame := await client.hear()).get("error") is None:
            pass
        assert "first frame" in frame["error"]


async def test_idle_context_is_closed_and_idle_connection_told() -> None:
    async with serving(live_idle_s=0.05) as served:
        async with multi(served) as client:
            await say_first(client, "a")
            assert (await client.hear_final("a"))["isFinal"]
            assert client.audio_of("a")
            assert (await client.hear())["code"] == "input_timeout_exceeded"
            assert await client.close_code() == 1008
        async with live(served) as client:
            await client.say(text=" ")
            assert (await client.hear())["code"] == "input_timeout_exceeded"
            assert await client.hear() == {"isFinal": True}


async def test_too_much_text_ends_its_context() -> None:
    async with serving(live_max_chars=50) as served, multi(served) as client:
        await say_first(client, "a", "Hello there. ")
        await client.say(text="x" * 60, context_id="a")
        await client.hear_final("a")

        assert "text_too_long" in [frame.get("code") for frame in client.frames]


async def test_flood_of_refused_frames_is_cut_off_and_holds_up_nobody() -> None:
    async with serving() as served, multi(served) as client:
        for number in range(5):
            await client.say(text=" ", context_id=f"c{number}")
        for number in range(3_000):
            await client.say(text="More. ", context_id=f"flood{number}")
            if number == 100:
                answer = await served.client.post(
                    "/v1/text-to-speech/default", json={"text": "Hello."}
                )
                assert answer.status_code == 200
            if client.socket.close_code is not None:
                break
        await client.socket.close()
        await is_free(served)


@pytest.mark.parametrize("place", ["header", "xi_api_key", "authorization"])
async def test_key_is_taken_where_clients_put_it(place: str) -> None:
    async with serving_keys(NewKey("me", frozenset({"speech"}))) as (served, [(key, token)]):
        headers = {"xi-api-key": token} if place == "header" else {}
        first = {} if place == "header" else {place: token}
        if place == "authorization":
            first = {place: f"Bearer {token}"}
        async with live(served, headers=headers) as client:
            await client.say(text="Hello there. ", **first)
            await client.say(text="")
            await client.hear_final()
            assert client.audio_of()
        database = open_database(served.settings)
        [day] = read_usage(database, key.id, today())[:1]
        database.close()
        assert day.num_chars == len("Hello there. ")


async def test_speech_without_a_key_is_refused_and_so_is_a_wrong_one() -> None:
    async with serving_keys(NewKey("me", frozenset({"voices:write"}))) as (served, [(_, token)]):
        for first, code in (
            ({}, "unauthorized"),
            ({"xi_api_key": "wrong"}, "unauthorized"),
            ({"xi_api_key": token}, "missing_scope"),
        ):
            async with live(served) as client:
                await client.say(text="Hello. ", **first)
                assert (await client.hear())["code"] == code
                assert await client.close_code() == 1008
        with pytest.raises(InvalidStatus) as refused:
            async with live(served, headers={"xi-api-key": "wrong"}):
                pass
        assert refused.value.response.status_code == 401
        assert not served.engine.utterances


async def test_each_context_counts_against_the_rate() -> None:
    new = NewKey("me", frozenset({"speech"}), per_minute=2)
    async with serving_keys(new) as (served, [(_, token)]):
        async with multi(served, headers={"xi-api-key": token}) as client:
            for name in ("a", "b", "c"):
                await say_first(client, name)
            while (frame := await client.hear()).get("error") is None:
                pass
            assert (frame["code"], frame["contextId"]) == ("rate_limit_error", "c")


async def test_plain_request_is_told_that_this_is_a_websocket(served: Served) -> None:
    answer = await served.client.get("/v1/text-to-speech/default/multi-stream-input")

    assert answer.status_code == 426
    assert answer.json()["detail"]["status"] == "websocket_required"


async def test_others_are_answered_while_one_floods_with_keep_alives(served: Served) -> None:
    async with multi(served) as client:
        for _ in range(2_000):
            await client.say(text="", context_id="never")
        async with asyncio.timeout(60):
            await client.say(text="Hello. ", context_id="a", close_context=True)
            await client.hear_final("a")
