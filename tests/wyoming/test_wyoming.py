"""Home Assistant's protocol, spoken by the library that its voice programs are made with."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from fishs2.errors import SettingsError
from fishs2.runtime import check_database, open_database, wyoming_options
from fishs2.service.accounts.accounts import Accounts
from fishs2.store.accounts.keys import NewKey, create_key, disable_key, list_keys
from tests.fakes import FakeEngine, Timing
from tests.recordings import make_voice, write_wav
from tests.serving import free_port, make_settings, server_process, until
from tests.wyoming.speaking import Answer, Port, listening, read_answer

TEXT = "A first sentence, of some length. Then there is a second one. And a third."


async def speak(port: Port, text: str, **voice: str) -> Answer:
    asked = SynthesizeVoice(**voice) if voice else None
    async with port.client() as client:
        await client.write_event(Synthesize(text, voice=asked).event())
        return await read_answer(client)


async def stream(client: AsyncTcpClient, text: str, *, step: int = 7) -> None:
    """Send a text as Home Assistant does: in bits, and once more as a whole."""
    await client.write_event(SynthesizeStart().event())
    for start in range(0, len(text), step):
        await client.write_event(SynthesizeChunk(text[start : start + step]).event())
    await client.write_event(Synthesize(text).event())
    await client.write_event(SynthesizeStop().event())


def error_code(answer: Answer) -> object:
    assert answer.kinds[-1] == "error"
    assert answer.events[-1].data["text"]
    return answer.events[-1].data["code"]


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with listening(live_idle_s=60.0) as port:
        yield port


async def test_text_is_spoken_with_its_rate_and_times(port: Port) -> None:
    body = {"model": "tts-1", "input": TEXT, "response_format": "pcm"}
    same = await port.served.client.post("/v1/audio/speech", json=body)

    answer = await speak(port, TEXT)

    assert answer.kinds == ["audio-start", "audio-chunk", "audio-stop"]
    start = AudioStart.from_event(answer.events[0])
    assert (start.rate, start.width, start.channels) == (24_000, 2, 1)
    assert answer.pcm == same.content
    ends = [event.data["timestamp"] for event in answer.events]
    assert ends == sorted(ends)
    assert ends[-1] == len(answer.pcm) // 2 * 1000 // 24_000


async def test_streamed_text_is_spoken_once(port: Port) -> None:
    async with port.client() as client:
        await stream(client, TEXT)
        answer = await read_answer(client, last="synthesize-stopped")
        await client.write_event(Synthesize("More.").event())
        more = await read_answer(client)

    assert answer.kinds == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
    spoken = "".join(utterance.text for utterance in port.served.engine.utterances)
    assert spoken.count("third") == 1
    assert more.pcm


async def test_speech_begins_before_the_text_has_ended(port: Port) -> None:
    async with port.client() as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk("A first sentence. And").event())
        first = await client.read_event()
        assert first is not None
        assert first.type == "audio-start"
        await client.write_event(SynthesizeStop().event())
        rest = await read_answer(client, last="synthesize-stopped")

    assert rest.kinds == ["audio-chunk", "audio-stop", "synthesize-stopped"]


async def test_stream_without_words_ends_like_any_other(port: Port) -> None:
    async with port.client() as client:
        await stream(client, " ... ")
        answer = await read_answer(client, last="synthesize-stopped")

    assert answer.kinds == ["audio-start", "audio-stop", "synthesize-stopped"]


async def test_requests_on_one_connection_are_answered_in_order(port: Port) -> None:
    alone = [(await speak(port, text)).pcm for text in ("One.", "Two, longer.")]

    async with port.client() as client:
        for text in ("One.", "Two, longer."):
            await client.write_event(Synthesize(text).event())
        together = [(await read_answer(client)).pcm for _ in range(2)]

    assert together == alone


async def test_ping_and_describe_are_answered_while_it_speaks() -> None:
    engine = FakeEngine(timing=Timing(first_audio_s=3_600))
    async with listening(engine) as port:
        async with port.client() as client:
            await client.write_event(Synthesize(TEXT).event())
            await client.write_event(Ping("still there?").event())
            pong = await client.read_event()
            await client.write_event(Describe().event())
            info = await client.read_event()
        # It has left before there was any sound.
        await until(lambda: engine.num_active == 0)

    assert pong == Event("pong", {"text": "still there?"})
    assert info is not None
    assert info.type == "info"


async def test_voices_are_listed_under_their_languages(port: Port) -> None:
    files = {"files": ("a.wav", write_wav(make_voice()), "audio/wav")}
    form = {"name": "Anna", "transcript": "Hello there."}
    stored = await port.served.client.post("/v1/audio/voices", data=form, files=files)
    assert stored.status_code == 200, stored.text

    async with port.client() as client:
        await client.write_event(Describe().event())
        event = await client.read_event()

    assert event is not None
    [program] = Info.from_event(event).tts
    assert program.supports_synthesize_streaming
    assert program.installed
    names = [voice.name for voice in program.voices]
    assert names[:3] == ["default", "fake", "other"]
    assert stored.json()["id"] in names
    assert len(names) == len(set(names))


async def test_voice_is_taken_by_name(port: Port) -> None:
    await speak(port, "Hello.", name="other")

    assert port.served.engine.utterances[-1].voice == "other"


@pytest.mark.parametrize(
    ("voice", "code"),
    [({"name": "nobody"}, "voice_not_found"), ({"language": "tlh"}, "unsupported_language")],
)
async def test_voice_or_language_that_is_none_is_an_error(
    port: Port, voice: dict[str, str], code: str
) -> None:
    assert error_code(await speak(port, "Hello.", **voice)) == code


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Event("synthesize", {}), "invalid_event"),
        (Event("synthesize", {"text": 7}), "invalid_event"),
        (Event("synthesize", {"text": ""}), "empty_input"),
        (Event("synthesize", {"text": "Hi.", "voice": "anna"}), "invalid_event"),
        (Event("synthesize", {"text": "Hi.", "voice": {"name": 7}}), "invalid_event"),
        (Event("synthesize", {"text": "x" * 201}), "input_too_long"),
        (Event("synthesize", {"text": "Hi.", "text_format": "ssml"}), "invalid_ssml"),
        (Event("synthesize", {"text": "Hi.", "text_format": "html"}), "invalid_event"),
        (Event("synthesize-start", {"text_format": "ssml"}), "invalid_parameter"),
        (SynthesizeChunk("Hello.").event(), "invalid_event"),
    ],
)
async def test_wrong_event_is_an_error_and_ends_the_connection(event: Event, code: str) -> None:
    async with listening(max_input_chars=200) as port, port.client() as client:
        await client.write_event(event)
        answer = await read_answer(client)

        assert error_code(answer) == code
        assert await client.read_event() is None


async def test_unknown_events_are_passed_over(port: Port) -> None:
    async with port.client() as client:
        await client.write_event(Event("select-program", {"name": "fishs2"}))
        await client.write_event(Event("audio-chunk", {"rate": 1}, payload=b"abc"))
        await client.write_event(Synthesize("Hello.").event())
        assert (await read_answer(client)).pcm


async def test_engine_that_fails_is_an_error_without_its_reasons() -> None:
    async with listening(FakeEngine(fail_after_chunks=0)) as port:
        assert error_code(await speak(port, TEXT)) == "generation_failed"


async def test_second_stream_within_the_first_is_an_error(port: Port) -> None:
    async with port.client() as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeStart().event())

        assert error_code(await read_answer(client)) == "invalid_event"


async def test_stream_has_a_longest_text() -> None:
    async with listening(live_max_chars=100) as port, port.client() as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk("x" * 101).event())

        assert error_code(await read_answer(client)) == "input_too_long"


async def test_stream_that_does_not_go_on_is_ended() -> None:
    async with listening(live_idle_s=0.05) as port, port.client() as client:
        await client.write_event(SynthesizeStart().event())

        assert error_code(await read_answer(client)) == "idle"


async def test_flood_of_requests_is_an_error() -> None:
    async with listening(FakeEngine(timing=Timing(first_audio_s=3_600))) as port:
        async with port.client() as client:
            for _ in range(9):
                await client.write_event(Synthesize("Hello.").event())

            assert error_code(await read_answer(client)) == "server_busy"
        await until(lambda: port.served.engine.num_active == 0)


async def test_one_connection_too_many_is_told_so() -> None:
    async with listening(max_connections=1) as port, port.client() as first:
        await first.write_event(Ping().event())
        await first.read_event()
        async with port.client() as second:
            assert error_code(await read_answer(second)) == "too_many_connections"


async def test_client_that_leaves_frees_the_engine() -> None:
    engine = FakeEngine(timing=Timing(rtf=0.01))
    async with listening(engine) as port:
        async with port.client() as client:
            await client.write_event(Synthesize("A sentence. " * 300).event())
            await client.read_event()
        await until(lambda: engine.num_active == 0)

        assert engine.num_aborted > 0


async def test_end_of_the_server_lets_the_speech_finish(port: Port) -> None:
    async with port.client() as client:
        await client.write_event(Synthesize(TEXT).event())
        await client.read_event()
        port.stopping.begin()

        assert (await read_answer(client)).kinds[-1] == "audio-stop"
        assert await client.read_event() is None


async def test_end_of_the_server_says_that_a_stream_is_cut(port: Port) -> None:
    async with port.client() as client:
        await client.write_event(SynthesizeStart().event())
        await client.write_event(SynthesizeChunk("A first sentence. And").event())
        await client.read_event()
        port.stopping.begin()
        answer = await read_answer(client, last="synthesize-stopped")

    assert "audio-stop" in answer.kinds
    assert error_code(answer) == "shutting_down"


async def test_speech_is_counted_on_the_key_that_the_settings_name(tmp_path: Path) -> None:
    async with listening(data_dir=tmp_path, wyoming_key="home") as port:
        database = open_database(port.served.settings)
        database.migrate()
        key, _ = create_key(database, NewKey("Home", granted=20))
        await until_keys_count(port.served.services.accounts)

        assert (await speak(port, "Ten chars.")).pcm
        assert error_code(await speak(port, "Eleven chars.")) == "insufficient_quota"
        assert [each.spent for each in list_keys(database)] == [10]
        disable_key(database, key.id)
        await until_disabled(port)
        database.close()


async def until_keys_count(accounts: Accounts) -> None:
    while await accounts.is_open():  # noqa: ASYNC110 - it looks once a second
        await asyncio.sleep(0.01)


async def until_disabled(port: Port) -> None:
    while True:
        answer = await speak(port, "x")
        if answer.kinds[-1] == "error" and error_code(answer) == "invalid_token":
            return


async def test_keys_without_one_for_it_stop_the_start(tmp_path: Path) -> None:
    settings = make_settings(data_dir=tmp_path, home=tmp_path, wyoming=True)
    check_database(settings)
    database = open_database(settings)
    database.migrate()
    for name in ("home", "twice", "twice"):
        create_key(database, NewKey(name))
    database.close()

    with pytest.raises(SettingsError, match="FISHS2_WYOMING_KEY"):
        check_database(settings)
    for wrong in ("nobody", "twice"):
        with pytest.raises(SettingsError, match=f"FISHS2_WYOMING_KEY={wrong}"):
            check_database(make_settings(**{**dict(settings), "wyoming_key": wrong}))
    check_database(make_settings(**{**dict(settings), "wyoming_key": "HOME"}))


def test_only_a_port_that_others_reach_is_announced() -> None:
    with pytest.raises(SettingsError, match="FISHS2_WYOMING_HOST"):
        wyoming_options(make_settings(wyoming=True, wyoming_zeroconf=True))
    options = wyoming_options(
        make_settings(wyoming=True, wyoming_zeroconf=True, wyoming_host="0.0.0.0")
    )
    assert options is not None
    assert (options.port, options.is_announced) == (10_200, True)
    assert wyoming_options(make_settings()) is None


async def test_conversation_with_a_real_server(tmp_path: Path) -> None:
    """As Home Assistant does: ask once what there is, then a connection for each answer."""
    port = free_port()
    with server_process(tmp_path, FISHS2_WYOMING_PORT=str(port)):
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Describe().event())
            event = await client.read_event()
        assert event is not None
        [program] = Info.from_event(event).tts
        languages = {voice.name: voice.languages for voice in program.voices}
        assert "en" in languages["default"]
        assert "de" not in languages["default"]
        assert languages["de"] == ["de"]
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await stream(client, "The light in the kitchen is on. Shall I turn it off?")
            answer = await read_answer(client, last="synthesize-stopped")
        assert answer.kinds == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
        seconds = len(answer.pcm) / 2 / AudioStart.from_event(answer.events[0]).rate
        assert 2 < seconds < 8
