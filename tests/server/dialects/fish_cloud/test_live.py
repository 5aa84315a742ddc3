"""/v1/tts/live: text in, speech out, at the same time, on one connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import fishaudio
import numpy as np
import ormsgpack
import pytest
from httpx_ws import WebSocketUpgradeError
from starlette.datastructures import Headers
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fishs2.audio.decode import decode_audio
from fishs2.runtime import open_database, server_options
from fishs2.server.dialects.fish_cloud.live import LiveSession
from fishs2.server.wire.stopping import Stopping
from fishs2.service.accounts.accounts import Principal
from fishs2.store.accounts.keys import Key, NewKey, find_key
from tests.fakes import CHARS_PER_S, FakeEngine, Timing
from tests.server.dialects.fish_cloud.conftest import CLOUD, error_of
from tests.server.dialects.fish_cloud.live_client import LIVE, LiveClient, live
from tests.server.keyed import serving_keys
from tests.serving import Served, serving, until

SENTENCES = [f"Sentence number {n} goes on for a while. " for n in range(12)]


def seconds_of(pcm: bytes) -> float:
    return len(pcm) / 2 / 44_100


async def is_idle(served: Served) -> None:
    await until(lambda: not (served.engine.num_active or served.services.status().num_streams))


async def test_speech_of_all_text_is_one_stream_with_one_finish() -> None:
    async with serving() as served, live(served) as client:
        await client.start(format="wav")
        await client.say("text", text="Hello there. How are")
        await client.say("text", text=" you? And")
        await client.say("flush")
        await client.say("text", text=" goodbye")
        await client.say("stop")
        finish = await client.hear_all()

        assert finish == {"event": "finish", "reason": "stop"}
        assert await client.close_code() == 1000
    assert client.audio.count(b"RIFF") == 1
    decoded = decode_audio(client.audio, max_seconds=60)
    assert " ".join(u.text for u in served.engine.utterances).split() == [
        *("Hello", "there.", "How", "are", "you?", "And", "goodbye"),
    ]
    num_chars = sum(len(u.text) for u in served.engine.utterances)
    assert len(decoded.pcm) / 44_100 >= num_chars / CHARS_PER_S - 0.01


def has_spoken(engine: FakeEngine, number: int) -> bool:
    return len(engine.utterances) == number


async def test_audio_comes_before_the_last_text() -> None:
    async with serving() as served, live(served) as client:
        await client.start()
        for number, sentence in enumerate(SENTENCES[:3], start=1):
            await client.say("text", text=sentence)
            assert await client.hear_audio()
            # What was heard may be the rest of the sentence before.
            await until(partial(has_spoken, served.engine, number))
            await is_idle_engine(served)
        await client.say("stop")
        await client.hear_all()

    assert [u.text for u in served.engine.utterances] == [s.strip() for s in SENTENCES[:3]]


async def is_idle_engine(served: Served) -> None:
    await until(lambda: served.engine.num_active == 0)


async def test_words_wait_for_their_sentence_or_a_flush() -> None:
    async with serving() as served, live(served) as client:
        await client.start()
        for word in ("This", " is", " not", " finished"):
            await client.say("text", text=word)
        await client.socket.ping()
        assert served.engine.utterances == []
        await client.say("flush")
        await client.hear_audio()

    assert served.engine.utterances[0].text == "This is not finished"


async def test_words_without_an_end_are_spoken_at_the_chunk_length() -> None:
    async with serving() as served, live(served) as client:
        await client.start(chunk_length=100)
        await client.say("text", text="word " * 19)
        await client.socket.ping()
        assert served.engine.utterances == []
        await client.say("text", text="word " * 2)
        await client.hear_audio()

    assert served.engine.utterances[0].text == "word " * 19 + "word"


async def test_text_that_comes_faster_than_speech_is_packed_into_utterances() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=0.05))
    async with serving(engine) as served, live(served) as client:
        await client.start()
        for sentence in SENTENCES:
            await client.say("text", text=sentence)
        await client.say("stop")
        await client.hear_all()

    assert engine.utterances[0].text.startswith(SENTENCES[0].strip())
    assert len(engine.utterances) < len(SENTENCES)
    parts = [u.part for u in engine.utterances]
    assert [part.index for part in parts if part] == list(range(len(parts)))
    assert [part.is_last for part in parts if part] == [*[False] * (len(parts) - 1), True]
    assert len({part.speech for part in parts if part}) == 1


async def test_streamed_text_sounds_as_the_whole_does() -> None:
    text = "One sentence here. Another sentence there."
    async with serving() as served:
        body = {"text": text, "format": "pcm", "prosody": {"speed": 1.5, "volume": 3}}
        whole = await served.client.post("/v1/tts", json=body, headers={"model": "s1"})
        async with live(served) as client:
            await client.start(**body)
            await client.say("stop")
            await client.hear_all()

    assert client.audio == whole.content


@pytest.mark.parametrize("num_chars", [1, 5, 8])
async def test_a_pause_that_comes_in_pieces_is_one(num_chars: int) -> None:
    text = "One sentence here. [pause:1.003s] Another [pause:250ms] sentence there. [pause]"
    async with serving() as served:
        body = {"format": "pcm", "sample_rate": 24_000}
        whole = await served.client.post("/v1/tts", json={"text": text, **body})
        async with live(served) as client:
            await client.start(text="", **body)
            for start in range(0, len(text), num_chars):
                await client.say("text", text=text[start : start + num_chars])
            await client.say("stop")
            await client.hear_all()

    spoken = [utterance.text for utterance in served.engine.utterances]
    assert spoken[: len(spoken) // 2] == spoken[len(spoken) // 2 :]
    assert client.audio == whole.content


async def test_text_in_start_counts_and_nothing_at_all_ends_well() -> None:
    async with serving() as served:
        async with live(served) as client:
            await client.start(text="Hello.")
            await client.say("stop")
            assert (await client.hear_all())["reason"] == "stop"
        async with live(served) as silent:
            await silent.start(format="wav")
            await silent.say("text", text=" ... ")
            await silent.say("stop")
            assert await silent.hear() == {"event": "finish", "reason": "stop"}
            assert await silent.close_code() == 1000

    assert len(client.audio) > 0


async def test_self_hosted_defaults_hold_for_other_clients() -> None:
    async with serving() as served, live(served, headers={}) as client:
        await client.say("start", request={"text": "Hello."})
        await client.say("stop")
        await client.hear_all()

    assert client.audio.startswith(b"RIFF")


async def test_unknown_events_and_what_follows_stop_are_ignored() -> None:
    async with serving() as served, live(served) as client:
        await client.say("log", message="x")
        await client.start(text="Hello.")
        await client.say("whatever", text=5)
        odd = {"event": "odd", 1: 2, "own": ormsgpack.Ext(5, b"x")}
        await client.socket.send(ormsgpack.packb(odd, option=ormsgpack.OPT_NON_STR_KEYS))
        await client.say("stop")
        await client.say("text", text="No.")
        await client.say("start", request={})
        await client.socket.send("a text frame")
        await client.socket.send(b"\xc1")
        assert (await client.hear_all())["reason"] == "stop"

    assert [u.text for u in served.engine.utterances] == ["Hello."]


async def test_turns_of_speakers_last_over_frames() -> None:
    async with serving() as served, live(served) as client:
        await client.start(reference_id=["fake", "other"])
        await client.say("text", text="<|speaker:1|>One. ")
        await client.hear_audio()
        await client.say("text", text="Two. <|speaker:0|>Three.")
        await client.say("stop")
        await client.hear_all()

    spoken = [(u.text, u.voice) for u in served.engine.utterances]
    assert spoken == [("One.", "other"), ("Two.", "other"), ("Three.", "fake")]


START = ormsgpack.packb({"event": "start", "request": {"text": "", "format": "pcm"}})


@pytest.mark.parametrize(
    "frames",
    [
        [ormsgpack.packb({"event": "text", "text": "Hi."})],
        [ormsgpack.packb({"event": "flush"})],
        [ormsgpack.packb({"event": "stop"})],
        [ormsgpack.packb({"event": "start"})],
        [ormsgpack.packb({"event": "start", "request": "x"})],
        [ormsgpack.packb({"event": "start", "request": {"text": 5}})],
        [ormsgpack.packb({"event": "start", "request": {"format": "flac"}})],
        [ormsgpack.packb({"event": "start", "request": {"sample_rate": 12345}})],
        [ormsgpack.packb({"event": "start", "request": {"reference_id": "nobody"}})],
        [ormsgpack.packb({"event": "start", "request": {"text_type": "ssml"}})],
        [START[:-1]],
        [START, START],
        [START, b""],
        [START, b"\xc1"],
        [START, ormsgpack.packb({"event": "flush"}) + b"\x00"],
        [START, ormsgpack.packb({"event": "text", "text": ormsgpack.Ext(5, b"x")})],
        [START, bytes(range(256))],
        [START, ormsgpack.packb(["text"])],
        [START, ormsgpack.packb({"event": 5})],
        [START, ormsgpack.packb({"event": "text"})],
        [START, ormsgpack.packb({"event": "text", "text": b"Hi."})],
        [START, b"\x91" * 5_000],
        [START, b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000],
        [START, ormsgpack.packb({"event": "text", "text": "x" * 10_000_000})],
        [ormsgpack.packb({"event": "start", "request": {"text": "x" * 10_000_000}})],
        [START, ormsgpack.packb({"event": "text", "text": "x" * 200_001})],
        [START, "a text frame"],
        ["a text frame"],
    ],
    ids=range(28),
)
async def test_what_is_wrong_ends_with_one_error_that_says_so(frames: list[bytes | str]) -> None:
    async with serving() as served, live(served) as client:
        for frame in frames:
            await client.socket.send(frame)
        finish = await client.hear()
        code = await client.close_code()
        await is_idle(served)

    assert (finish["event"], finish["reason"]) == ("finish", "error")
    assert finish["message"]
    assert "xxx" not in finish["message"]
    assert code == 1008
    assert served.engine.utterances == []


async def test_frame_beyond_every_limit_closes_the_connection() -> None:
    async with serving(max_upload_bytes=100_000) as served, live(served) as client:
        await client.start()
        await client.socket.send(b"x" * 200_000)
        with pytest.raises(ConnectionClosed):
            await client.hear()
        assert client.socket.close_code == 1009
        await is_idle(served)


async def test_turn_of_nobody_is_an_error_in_the_middle() -> None:
    async with serving() as served, live(served) as client:
        await client.start(reference_id=["fake", "other"])
        await client.say("text", text="Fine. ")
        await client.hear_audio()
        await client.say("text", text="<|speaker:2|>Not fine. ")
        finish = await client.hear_all()

    assert "speaker 2" in finish["message"]


async def test_more_text_than_may_wait_is_refused_while_pings_are_answered() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine, live_max_chars=1000) as served, live(served) as client:
        await client.start(text=SENTENCES[0] * 10)
        await client.hear_audio()
        await (await client.socket.ping())
        await client.say("text", text=SENTENCES[0] * 20)
        finish = await client.hear_all()
        await is_idle(served)

    assert finish["reason"] == "error"
    assert "1,000" in finish["message"]


async def test_whole_text_of_a_speech_is_limited() -> None:
    async with serving(live_max_chars=100) as served, live(served) as client:
        await client.start()
        for _ in range(3):
            await client.say("text", text=SENTENCES[0])
        assert "100" in (await client.hear_all())["message"]


async def test_client_that_never_stops_is_ended_when_all_is_spoken() -> None:
    async with serving(live_idle_s=0.05) as served:
        async with live(served) as silent:
            assert "0.05 s" in (await silent.hear_all())["message"]
    # Long enough for a busy machine to send the text.
    async with serving(live_idle_s=1.0) as served:
        async with live(served) as client:
            await client.start(text="Hello there.")
            finish = await client.hear_all()
        await is_idle(served)

    assert finish["reason"] == "error"
    assert seconds_of(client.audio) > 0.5


async def test_flushes_and_unknown_events_do_not_keep_an_idle_speech_open() -> None:
    async def keep_talking(client: LiveClient, event: str) -> None:
        with suppress(ConnectionClosed):
            while True:
                await client.say(event)
                await asyncio.sleep(0.002)

    async with serving(live_idle_s=0.05) as served:
        for starts in (False, True):
            for event in ("log", "flush") if starts else ("log",):
                async with live(served) as client:
                    if starts:
                        await client.start()
                    talking = asyncio.create_task(keep_talking(client, event))
                    assert "0.05 s" in (await client.hear_all())["message"]
                    talking.cancel()


async def test_a_speech_that_waits_for_text_takes_no_place() -> None:
    async with serving(max_streams=1) as served, live(served) as client:
        await client.start()
        for sentence in SENTENCES[:2]:
            await client.say("text", text=sentence)
            await _until_spoken(served, sentence.strip())
            await is_idle(served)
            other = await served.client.post("/v1/tts", json={"text": "Hello."})
            assert other.status_code == 200
        await client.say("stop")
        assert (await client.hear_all())["reason"] == "stop"


async def _until_spoken(served: Served, text: str) -> None:
    await until(lambda: text in [utterance.text for utterance in served.engine.utterances])


async def test_pings_are_answered_and_text_is_taken_while_the_engine_loads() -> None:
    engine = SlowEngine()
    async with serving(engine) as served:
        async with live(served) as left:
            await left.start(text="Never said.")
            await (await left.socket.ping())
        async with live(served) as client:
            await client.start(text="Hello there. ")
            for _ in range(100):
                await client.say("text", text=SENTENCES[0])
            await (await client.socket.ping())
            # Only a loop that reads has seen that the other has left.
            await until(lambda: _num_sessions() == 1)
            engine.loading.set()
            await client.say("stop")
            assert (await client.hear_all())["reason"] == "stop"

    assert engine.utterances[0].text.startswith("Hello there.")
    assert "Never said." not in {u.text for u in engine.utterances}


class SlowEngine(FakeEngine):
    """Loads until it is told that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loading = asyncio.Event()

    async def start(self) -> None:
        await self.loading.wait()


def _num_sessions() -> int:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return names.count("LiveSession._speak")


async def test_a_book_may_come_at_once() -> None:
    book = [f"{n} sentences, and the book still goes on. " for n in range(40)]
    async with serving(max_input_chars=500) as served, live(served) as client:
        await client.start()
        for sentence in book:
            await client.say("text", text=sentence)
        await client.say("stop")
        assert (await client.hear_all())["reason"] == "stop"

    words = " ".join(u.text for u in served.engine.utterances).split()
    assert words == "".join(book).split()


async def test_a_flood_of_tiny_frames_holds_up_nobody() -> None:
    async with serving() as served, live(served) as client:
        await client.start(chunk_length=300, text="Dr. " * 70)
        flood = [ormsgpack.packb({"event": "text", "text": text}) for text in ("", ".")]
        flood.append(ormsgpack.packb({"event": "flush"}))
        for frame in flood * 2_000:
            await client.socket.send(frame)
        await client.say("stop")
        hearing = asyncio.create_task(client.hear_all())
        other = await served.client.post("/v1/tts", json={"text": "Hello."})
        assert other.status_code == 200
        assert (await hearing)["reason"] == "stop"


async def test_others_have_their_turn_after_each_frame_that_has_come() -> None:
    socket = EagerSocket([START, *[ormsgpack.packb({"event": "flush"})] * 500])
    num_turns = 0

    async def count_turns() -> None:
        nonlocal num_turns
        while True:
            num_turns += 1
            await asyncio.sleep(0)

    async with serving() as served:
        other = asyncio.create_task(count_turns())
        await LiveSession(
            cast("WebSocket", socket),
            served.services,
            server_options(served.settings),
            has_times=False,
        ).run()
        other.cancel()

    assert num_turns >= 500


class EagerSocket:
    """A WebSocket on which everything has come already, so that receiving never waits."""

    def __init__(self, frames: list[bytes]) -> None:
        self.state = SimpleNamespace(principal=Principal(), request_id="x")
        self.app = SimpleNamespace(state=SimpleNamespace(stopping=Stopping()))
        self.headers = Headers(CLOUD)
        self.scope: dict[str, Any] = {"state": {}}
        self._messages = [{"type": "websocket.receive", "bytes": frame} for frame in frames]

    async def accept(self) -> None:
        pass

    async def receive(self) -> dict[str, Any]:
        return self._messages.pop(0) if self._messages else {"type": "websocket.disconnect"}


async def test_client_that_never_reads_is_cut_off_and_delays_nobody() -> None:
    async with serving(client_stall_s=0.2) as served:
        async with live(served, max_queue=1, compression=None) as client:
            await client.start(format="wav")
            for _ in range(6):
                await client.say("text", text=" ".join(SENTENCES * 3))
            await until(lambda: len(served.engine.utterances) >= 2)
            other = await served.client.post("/v1/tts", json={"text": "Hello."})
            await is_idle(served)
            num_spoken = len(served.engine.utterances)

    assert other.status_code == 200
    assert num_spoken < 60


@pytest.mark.parametrize("fail_after", [0, 2])
async def test_failing_engine_is_an_error_at_any_time(fail_after: int) -> None:
    async with serving(FakeEngine(fail_after_chunks=fail_after)) as served:
        async with live(served) as client:
            await client.start(text=SENTENCES[0])
            finish = await client.hear_all()
            assert await client.close_code() == 1011
        await is_idle(served)

    assert "engine failed" in finish["message"]


async def test_busy_server_says_so_and_stays_open_for_others() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine, max_streams=1) as served:
        async with live(served) as first:
            await first.start(text=SENTENCES[0])
            await first.hear_audio()
            async with live(served) as second:
                await second.start(text="Hello.")
                finish = await second.hear_all()
                assert await second.close_code() == 1013
            engine.gate.set()
            await first.say("stop")
            assert (await first.hear_all())["reason"] == "stop"

    assert "busy" in finish["message"]


async def test_client_that_leaves_frees_the_engine() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        async with live(served) as client:
            await client.start(text=" ".join(SENTENCES))
            await client.hear_audio()
        await is_idle(served)

    assert engine.num_aborted >= 1


async def test_twenty_clients_with_mixed_speeds_and_departures_leak_nothing() -> None:
    rng = np.random.default_rng(3)
    engine = FakeEngine(timing=Timing(first_audio_s=0.001, rtf=0.0003))
    heard: list[int] = []

    async def one_client(served: Served, index: int) -> None:
        patience = int(rng.integers(1, 20)) if index % 2 else 10**9
        async with live(served, max_queue=int(rng.integers(1, 16))) as client:
            await client.start(format=["mp3", "pcm", "opus", "wav"][index % 4])
            for sentence in SENTENCES[: int(rng.integers(1, 12))]:
                await client.say("text", text=sentence)
                await asyncio.sleep(float(rng.uniform(0, 0.003)))
            await client.say("stop")
            while patience and (event := await client.hear())["event"] != "finish":
                patience -= 1
                await asyncio.sleep(float(rng.uniform(0, 0.004)))
            if patience:
                assert event["reason"] == "stop"
                heard.append(index)

    async with serving(engine) as served:
        before = len(asyncio.all_tasks())
        await asyncio.gather(*(one_client(served, index) for index in range(20)))
        await is_idle(served)
        await until(lambda: len(asyncio.all_tasks()) <= before)

    assert len(heard) >= 10
    assert engine.num_finished + engine.num_aborted == len(engine.utterances)


@asynccontextmanager
async def with_key(
    engine: FakeEngine | None = None, **limits: Any
) -> AsyncIterator[tuple[Served, Key, dict[str, str]]]:
    """A server that has a key; the headers that carry it."""
    async with serving_keys(NewKey("me", **limits), engine=engine) as (served, [(key, token)]):
        yield served, key, {"Authorization": f"Bearer {token}", "model": "s2-pro"}


def account_of(served: Served, key: Key) -> tuple[int, int, int]:
    """Spent, reserved, and requests in progress."""
    database = open_database(served.settings)
    found = find_key(database, key.id)
    database.close()
    assert found is not None
    return found.spent, found.reserved, found.active


async def test_wrong_keys_are_refused_at_the_handshake() -> None:
    async with with_key() as (served, _, headers):
        for wrong in ({}, {"Authorization": "Bearer no"}):
            with pytest.raises(InvalidStatus) as refused:
                async with live(served, headers=wrong):
                    pass
            assert refused.value.response.status_code == 401
            assert b'"status":401' in refused.value.response.body
            answer = await served.client.post("/v1/tts", json={"text": "Hi."}, headers=wrong)
            assert error_of(answer)[0] == 401
        async with live(served, headers=headers) as client:
            await client.start(text="Hello.")
            await client.say("stop")
            assert (await client.hear_all())["reason"] == "stop"


async def test_key_without_the_scope_is_refused_at_the_handshake() -> None:
    async with with_key(scopes=frozenset({"voices:write"})) as (served, _, headers):
        with pytest.raises(InvalidStatus) as refused:
            async with live(served, headers=headers):
                pass
    assert refused.value.response.status_code == 403


async def test_text_is_paid_when_the_finish_comes() -> None:
    async with with_key(granted=100) as (served, key, headers):
        async with live(served, headers=headers) as client:
            await client.start(text="Hello there. ")
            await client.hear_audio()
            await client.say("text", text="Good day.")
            await client.say("stop")
            await client.hear_all()
            assert account_of(served, key) == (22, 0, 0)


async def test_text_beyond_the_quota_ends_the_speech_and_what_was_heard_is_paid() -> None:
    async with with_key(granted=20) as (served, key, headers):
        async with live(served, headers=headers) as client:
            await client.start(text="Hello there. ")
            await client.hear_audio()
            await client.say("text", text="This is too much.")
            finish = await client.hear_all()
            assert await client.close_code() == 1008
        assert "fewer than" in finish["message"]
        assert account_of(served, key) == (12, 0, 0)


async def test_who_leaves_pays_for_what_was_begun_and_failure_costs_nothing() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with with_key(engine, granted=1000) as (served, key, headers):
        async with live(served, headers=headers) as client:
            await client.start(text=SENTENCES[0] + "\n\n" + SENTENCES[1])
            await client.hear_audio()
        await is_idle(served)
        await until(lambda: account_of(served, key)[1:] == (0, 0))
        assert account_of(served, key)[0] == len(SENTENCES[0].strip())
    async with with_key(FakeEngine(fail_after_chunks=1), granted=1000) as (served, key, headers):
        async with live(served, headers=headers) as client:
            await client.start(text=SENTENCES[0])
            await client.hear_all()
        assert account_of(served, key) == (0, 0, 0)


async def test_text_without_anything_to_pronounce_costs_nothing_by_itself() -> None:
    async with with_key(granted=100) as (served, key, headers):
        for texts, num_paid in (([" ", " \n ", "..."], 0), ([" \n ", "Hello."], 9)):
            async with live(served, headers=headers) as client:
                await client.start()
                for text in texts:
                    await client.say("text", text=text)
                    await client.say("flush")
                await client.say("stop")
                assert (await client.hear_all())["reason"] == "stop"
            assert account_of(served, key) == (num_paid, 0, 0)


async def test_requests_per_minute_hold_for_speeches() -> None:
    async with with_key(per_minute=1) as (served, _, headers):
        async with live(served, headers=headers) as first:
            await first.start(text="Hello.")
            await first.say("stop")
            await first.hear_all()
        async with live(served, headers=headers) as second:
            await second.start(text="Hello.")
            assert "times a minute" in (await second.hear_all())["message"]
            assert await second.close_code() == 1013


@pytest.mark.parametrize(
    ("origin", "settings", "is_allowed"),
    [
        (None, {}, True),
        ("https://evil.example", {}, False),
        ("null", {}, False),
        ("own", {}, True),
        ("https://good.example", {"cors_origins": ("https://good.example",)}, True),
        ("https://evil.example", {"cors_origins": ("https://good.example",)}, False),
    ],
)
async def test_pages_of_other_origins_may_not_connect(
    origin: str | None, settings: dict[str, Any], is_allowed: bool
) -> None:
    async with serving(**settings) as served:
        origin = served.url if origin == "own" else origin
        headers = {"Origin": origin} if origin else {}
        if not is_allowed:
            with pytest.raises(InvalidStatus) as refused:
                async with live(served, headers=headers):
                    pass
            assert refused.value.response.status_code == 403
            return
        async with live(served, headers=headers) as client:
            await client.start(text="Hello.")
            await client.say("stop")
            assert (await client.hear_all())["reason"] == "stop"


async def test_plain_request_to_the_socket_path_is_answered() -> None:
    async with serving() as served:
        assert error_of(await served.client.get(LIVE))[0] == 426


async def test_sdk_raises_its_own_errors_for_keys_rates_and_failures() -> None:
    async with with_key(per_minute=1, granted=1000) as (served, _, headers):
        token = headers["Authorization"].removeprefix("Bearer ")
        async with fishaudio.AsyncFishAudio(api_key="no", base_url=served.url) as stranger:
            with pytest.raises(fishaudio.AuthenticationError):
                await stranger.tts.convert(text="Hi.")
            with pytest.raises(WebSocketUpgradeError):
                _ = [piece async for piece in stranger.tts.stream_websocket(_texts())]
        async with fishaudio.AsyncFishAudio(api_key=token, base_url=served.url) as client:
            assert await client.tts.convert(text="Hi.")
            with pytest.raises(fishaudio.RateLimitError):
                await client.tts.convert(text="Hi.")
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        async with fishaudio.AsyncFishAudio(api_key="x", base_url=served.url) as client:
            with pytest.raises(fishaudio.ServerError):
                await client.tts.convert(text="Hi.")


async def _texts() -> AsyncIterator[str]:
    yield "Hi."
