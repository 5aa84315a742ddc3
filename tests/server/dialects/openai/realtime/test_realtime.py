"""OpenAI's Realtime API: text in, speech out, by OpenAI's own client."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fishs2.runtime import open_database
from fishs2.store.accounts.keys import NewKey, find_key
from tests.fakes import CHARS_PER_S, FakeEngine, Timing
from tests.server.keyed import serving_keys
from tests.serving import Served, serving, until

TEXT = "The light in the kitchen is on."


@asynccontextmanager
async def realtime(served: Served) -> AsyncIterator[AsyncRealtimeConnection]:
    client = AsyncOpenAI(base_url=f"{served.url}/v1", api_key="x")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        first = await receive(connection)
        assert first.type == "session.created"
        yield connection


async def receive(connection: AsyncRealtimeConnection) -> Any:
    return await connection.recv()


async def say(connection: AsyncRealtimeConnection, text: str, role: str = "user") -> str:
    kind = "output_text" if role == "assistant" else "input_text"
    item: Any = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    await connection.conversation.item.create(item=item)
    added = await receive(connection)
    done = await receive(connection)
    assert (added.type, done.type) == ("conversation.item.added", "conversation.item.done")
    return str(added.item.id)


async def hear(connection: AsyncRealtimeConnection) -> tuple[list[Any], bytes]:
    """All events up to the end of a response, or an error; and its sound."""
    events, sound = [], b""
    while True:
        event = await receive(connection)
        events.append(event)
        if event.type == "response.output_audio.delta":
            sound += base64.b64decode(event.delta)
        if event.type in ("response.done", "error"):
            return events, sound


async def error_of(connection: AsyncRealtimeConnection) -> Any:
    event = await receive(connection)
    assert event.type == "error"
    return event.error


async def test_text_of_the_conversation_is_spoken_once() -> None:
    async with serving() as served, realtime(served) as connection:
        await say(connection, "You are kind.", role="system")
        await say(connection, TEXT)
        await connection.response.create()
        events, sound = await hear(connection)
        await connection.response.create()
        again = await error_of(connection)

    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        "conversation.item.done",
        "response.done",
    ]
    assert len({event.event_id for event in events}) == len(events)
    assert events[-1].response.status == "completed"
    assert events[-1].response.output[0].content[0].transcript == TEXT
    assert len(sound) / 2 / 24_000 == pytest.approx(len(TEXT) / CHARS_PER_S, abs=0.01)
    assert [each.text for each in served.engine.utterances] == [TEXT]
    assert again.code == "empty_input"


async def test_input_of_a_response_leaves_the_conversation_as_it_is() -> None:
    async with serving() as served, realtime(served) as connection:
        await say(connection, TEXT)
        item: Any = {"type": "message", "role": "user"}
        item["content"] = [{"type": "input_text", "text": "Aside."}]
        await connection.response.create(
            response={"conversation": "none", "input": [item], "metadata": {"a": "b"}}
        )
        aside, _ = await hear(connection)
        await connection.response.create()
        await hear(connection)

    assert aside[-1].response.metadata == {"a": "b"}
    assert [each.text for each in served.engine.utterances] == ["Aside.", TEXT]


@pytest.mark.parametrize(
    "session",
    [
        {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {"turn_detection": None},
                "output": {
                    "voice": "other",
                    "speed": 2.0,
                    "format": {"type": "audio/pcm", "rate": 24_000},
                },
            },
        },
        {"voice": {"id": "other"}, "speed": 2.0, "output_audio_format": "pcm16"},
    ],
)
async def test_session_says_how_all_is_spoken(session: dict[str, Any]) -> None:
    async with serving() as served, realtime(served) as connection:
        await connection.session.update(session=session)  # type: ignore[arg-type]
        updated = await receive(connection)
        assert updated.type == "session.updated"
        await say(connection, TEXT)
        await connection.response.create()
        _, sound = await hear(connection)

    output = updated.session.audio.output
    assert (output.voice, output.speed) == ("other", 2.0)
    assert served.engine.utterances[0].voice == "other"
    assert len(sound) / 2 / 24_000 == pytest.approx(len(TEXT) / CHARS_PER_S / 2, rel=0.1)


@pytest.mark.parametrize(("name", "begins"), [("wav", b"RIFF"), ("mp3", b""), ("opus", b"OggS")])
async def test_other_formats_are_files_in_pieces(name: str, begins: bytes) -> None:
    async with serving() as served, realtime(served) as connection:
        session: Any = {"output_audio_format": name}
        await connection.session.update(session=session)
        await receive(connection)
        await say(connection, TEXT)
        await connection.response.create()
        _, sound = await hear(connection)

    assert sound.startswith(begins)
    assert len(sound) > 500


@pytest.mark.parametrize(
    ("session", "code"),
    [
        ({"turn_detection": {"type": "server_vad"}}, "turn_detection_not_supported"),
        (
            {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
            "turn_detection_not_supported",
        ),
        ({"output_modalities": ["text"]}, "modality_not_supported"),
        ({"audio": {"output": {"format": {"type": "audio/x"}}}}, "invalid_event"),
        ({"speed": 40}, "invalid_event"),
        ({"audio": 7}, "invalid_event"),
    ],
)
async def test_what_speech_cannot_do_is_refused(session: Any, code: str) -> None:
    async with serving() as served, realtime(served) as connection:
        await connection.session.update(session=session)
        assert (await error_of(connection)).code == code
        await say(connection, TEXT)
        await connection.response.create()
        assert (await hear(connection))[0][-1].response.status == "completed"


async def test_response_is_cancelled_and_the_engine_free() -> None:
    engine = FakeEngine(timing=Timing(rtf=0.05))
    async with serving(engine) as served, realtime(served) as connection:
        await say(connection, "A sentence. " * 300)
        await connection.response.create()
        while (await receive(connection)).type != "response.output_audio.delta":
            pass
        await connection.response.create()
        while (busy := await receive(connection)).type != "error":
            pass
        await connection.response.cancel()
        events, _ = await hear(connection)
        await until(lambda: engine.num_active == 0)
        assert engine.num_aborted > 0
        await connection.response.cancel()
        assert (await error_of(connection)).code == "response_cancel_not_active"

    assert busy.error.code == "conversation_already_has_active_response"
    assert events[-1].response.status == "cancelled"
    assert served.services.status().num_streams == 0


async def test_refused_response_loses_no_text() -> None:
    async with serving() as served, realtime(served) as connection:
        await connection.session.update(session=cast(Any, {"voice": "nobody"}))
        await receive(connection)
        await say(connection, TEXT)
        await connection.response.create()
        assert (await error_of(connection)).code == "voice_not_found"
        await connection.session.update(session=cast(Any, {"voice": "other"}))
        await receive(connection)
        await connection.response.create()
        events, _ = await hear(connection)

    assert events[-1].response.status == "completed"
    assert [each.text for each in served.engine.utterances] == [TEXT]


async def test_answer_names_what_the_engine_cannot_act_on() -> None:
    async with serving() as served, realtime(served) as connection:
        await say(connection, TEXT)
        await connection.response.create(response={"instructions": "Whisper."})
        events, _ = await hear(connection)

    assert events[-1].response.x_fishs2_ignored == ["instructions"]


async def test_client_that_takes_nothing_frees_the_engine() -> None:
    async with serving(client_stall_s=0.2) as served:
        address = served.url.replace("http", "ws") + "/v1/realtime"
        content = [{"type": "input_text", "text": "Word. " * 1_900}]
        item = {"type": "message", "content": content}
        async with connect(address, max_queue=1) as socket:
            for event in (
                {"type": "conversation.item.create", "item": item},
                {"type": "response.create"},
            ):
                await socket.send(json.dumps(event))
            await until(lambda: bool(served.engine.utterances))
            await until(lambda: served.services.status().num_streams == 0)

    assert served.engine.num_finished < len("Word. " * 1_900) / 200


async def test_client_that_leaves_frees_the_engine() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=3_600))
    async with serving(engine) as served:
        async with realtime(served) as connection:
            await say(connection, TEXT)
            await connection.response.create()
            await until(lambda: engine.num_active == 1)
        await until(lambda: engine.num_active == 0)


async def test_failure_ends_the_response_and_not_the_session() -> None:
    engine = FakeEngine(fail_after_chunks=1)
    async with serving(engine) as served, realtime(served) as connection:
        await say(connection, TEXT)
        await connection.response.create()
        while (failed := await receive(connection)).type != "error":
            pass
        while (ended := await receive(connection)).type != "response.done":
            pass
        await say(connection, "More.")

    assert failed.error.code == "generation_failed"
    assert ended.response.status == "failed"


async def test_items_are_deleted_found_and_in_their_places() -> None:
    async with serving() as served, realtime(served) as connection:
        first = await say(connection, "First.")
        second = await say(connection, "Second.")
        await connection.conversation.item.delete(item_id=first)
        assert (await receive(connection)).type == "conversation.item.deleted"
        item: Any = {"type": "message", "role": "user"}
        item["content"] = [{"type": "input_text", "text": "Before."}]
        await connection.conversation.item.create(item=item, previous_item_id="root")
        added = await receive(connection)
        await receive(connection)
        await connection.conversation.item.retrieve(item_id=second)
        found = await receive(connection)
        await connection.conversation.item.retrieve(item_id=first)
        assert (await error_of(connection)).code == "item_not_found"
        await connection.response.create()
        await hear(connection)

    assert added.previous_item_id is None
    assert found.item.content[0].text == "Second."
    assert [each.text for each in served.engine.utterances] == ["Before.\nSecond."]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_event"),
        ("[]", "invalid_event"),
        ("{}", "invalid_event"),
        ('{"type": "nonsense"}', "invalid_event"),
        ('{"type": "input_audio_buffer.append", "audio": "AAAA"}', "not_supported"),
        ('{"type": "conversation.item.create"}', "invalid_event"),
        ('{"type": "conversation.item.create", "item": {"role": "tool"}}', "invalid_event"),
        (
            '{"type": "conversation.item.create", "item": {"type": "function_call"}}',
            "item_not_supported",
        ),
        (
            '{"type": "conversation.item.create", '
            '"item": {"content": [{"type": "input_audio", "audio": "AA"}]}}',
            "item_not_supported",
        ),
        ('{"type": "conversation.item.delete", "item_id": "nothing"}', "item_not_found"),
        ('{"type": "session.update"}', "invalid_event"),
        ('{"type": "response.create"}', "empty_input"),
        ('{"type": "response.create", "response": {"input": []}}', "empty_input"),
        ("[" * 100_000, "invalid_event"),
        ("x" * 1_048_577, "frame_too_large"),
        (b"\xff", "invalid_event"),
    ],
    ids=range(16),
)
async def test_wrong_event_is_answered_and_the_session_goes_on(
    frame: str | bytes, code: str
) -> None:
    async with serving() as served:
        address = served.url.replace("http", "ws") + "/v1/realtime"
        async with connect(address, max_size=None) as socket:
            await socket.recv()
            await socket.send(frame)
            told = json.loads(await socket.recv())
            await socket.send('{"type": "session.update", "session": {}, "event_id": "mine"}')
            after = json.loads(await socket.recv())

    assert (told["type"], told["error"]["code"]) == ("error", code)
    assert told["error"]["message"]
    assert after["type"] == "session.updated"


@pytest.mark.parametrize("path", ["/compat/v1", "/compat/api/v1", "/compat/openai/v1"])
async def test_fish_addresses_take_any_name_of_a_model(path: str) -> None:
    async with serving() as served:
        address = f"{served.url.replace('http', 'ws')}{path}/realtime?model=s2.1-pro"
        async with connect(address) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


async def test_unknown_model_and_plain_get_are_refused() -> None:
    async with serving() as served:
        address = served.url.replace("http", "ws") + "/v1/realtime?model=nonsense"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address):
                pass
        plain = await served.client.get("/v1/realtime")

    assert refused.value.response.status_code == 404
    assert (plain.status_code, plain.json()["error"]["code"]) == (426, "websocket_required")


@pytest.mark.parametrize("how", ["header", "query", "protocol"])
async def test_key_comes_as_browsers_can_send_it(how: str) -> None:
    async with serving_keys(NewKey("me", granted=40)) as (served, [(key, token)]):
        address = served.url.replace("http", "ws") + "/v1/realtime"
        ways: dict[str, dict[str, Any]] = {
            "header": {"additional_headers": {"Authorization": f"Bearer {token}"}},
            "query": {},
            "protocol": {"subprotocols": ["realtime", f"openai-insecure-api-key.{token}"]},
        }
        more = ways[how]
        if how == "query":
            address += f"?api_key={token}"
        async with connect(address, **more) as socket:
            await socket.recv()
            event: Any = {"type": "response.create", "response": {"input": [{"content": []}]}}
            event["response"]["input"][0]["content"] = [{"type": "input_text", "text": TEXT}]
            for status in ("completed", "failed"):
                await socket.send(json.dumps(event))
                while (told := json.loads(await socket.recv()))["type"] != "response.done":
                    pass
                assert told["response"]["status"] == status
        database = open_database(served.settings)
        spent = find_key(database, key.id)
        database.close()
        assert spent is not None
        assert spent.spent == len(TEXT)
        with pytest.raises(InvalidStatus):
            async with connect(served.url.replace("http", "ws") + "/v1/realtime?api_key=wrong"):
                pass
