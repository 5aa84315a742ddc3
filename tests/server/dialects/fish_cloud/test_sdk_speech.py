"""The official `fish-audio-sdk`, new and legacy, sync and async, against a real server process."""

from collections.abc import AsyncIterator, Iterator

import fish_audio_sdk
import fishaudio
import numpy as np
import pytest
from fish_audio_sdk.exceptions import HttpCodeErr, WebSocketErr
from fishaudio.types import FlushEvent, Prosody, ReferenceAudio, TTSConfig

from fishs2.audio.decode import decode_audio
from fishs2.audio.pcm import from_int16
from tests.server.recorded import Recorded, sine_wav

TEXT = "The quick brown fox jumps over the lazy dog."
MAGIC = {"mp3": (b"ID3", b"\xff"), "wav": (b"RIFF",), "opus": (b"OggS",), "pcm": (b"",)}


@pytest.fixture
def client(builtin_server: str) -> Iterator[fishaudio.FishAudio]:
    with fishaudio.FishAudio(api_key="not-needed", base_url=builtin_server) as client:
        yield client


def seconds_of(audio: bytes, name: str = "mp3") -> float:
    """Seconds of speech; asserts that something is heard."""
    if name == "pcm":
        pcm, rate_hz = from_int16(np.frombuffer(audio, np.int16)), 44_100
    else:
        decoded = decode_audio(audio, max_seconds=60)
        pcm, rate_hz = decoded.pcm, decoded.sample_rate_hz
    assert 0.02 < float(np.sqrt(np.mean(np.square(pcm)))) < 0.4
    return len(pcm) / rate_hz


@pytest.mark.parametrize("name", MAGIC)
def test_convert_gives_every_format(client: fishaudio.FishAudio, name: str) -> None:
    audio = client.tts.convert(text=TEXT, format=name)

    assert audio.startswith(MAGIC[name])
    assert 2.0 < seconds_of(audio, name) < 4.5


def test_stream_gives_the_same_and_speed_acts(client: fishaudio.FishAudio) -> None:
    plain = seconds_of(b"".join(client.tts.stream(text=TEXT)))
    fast = seconds_of(client.tts.convert(text=TEXT, speed=1.5, latency="normal"))

    assert fast == pytest.approx(plain / 1.5, rel=0.1)


def test_every_model_name_speaks(client: fishaudio.FishAudio) -> None:
    for model in ("speech-1.5", "speech-1.6", "s1", "s2-pro"):
        assert client.tts.convert(text="Hi.", model=model)


def test_whole_configuration_is_accepted(recorded: Recorded) -> None:
    config = TTSConfig(
        format="opus",
        sample_rate=48_000,
        opus_bitrate=24,
        chunk_length=100,
        latency="balanced",
        prosody=Prosody(speed=1.2, volume=-3),
        top_p=0.5,
        temperature=0.4,
        max_new_tokens=500,
        repetition_penalty=1.4,
        min_chunk_length=10,
        references=[ReferenceAudio(audio=sine_wav(440), text="What is said.")],
    )
    with fishaudio.FishAudio(api_key="x", base_url=recorded.url) as client:
        assert client.tts.convert(text=TEXT, config=config).startswith(b"OggS")
        asked = recorded.asked()
        assert client.tts.convert(text=TEXT, reference_id="alice")

    assert asked["reference"]["crossings_per_s"] == 440
    assert asked["sampling"]["temperature"] == 0.4
    assert asked["sampling"]["max_new_tokens"] == 500
    assert asked["latency"] == "balanced"


async def test_async_client_does_the_same(builtin_server: str) -> None:
    async with fishaudio.AsyncFishAudio(api_key="x", base_url=builtin_server) as client:
        assert 2.0 < seconds_of(await client.tts.convert(text=TEXT)) < 4.5
        pieces = [piece async for piece in await client.tts.stream(text=TEXT, format="wav")]
        assert b"".join(pieces).startswith(b"RIFF")

        async def texts() -> AsyncIterator[str | FlushEvent]:
            yield "The quick brown fox "
            yield FlushEvent()
            yield "jumps over the lazy dog."

        heard = [piece async for piece in client.tts.stream_websocket(texts(), format="wav")]
    assert 2.0 < seconds_of(b"".join(heard)) < 5.0


@pytest.mark.parametrize("name", MAGIC)
def test_websocket_gives_one_stream(client: fishaudio.FishAudio, name: str) -> None:
    words = [f"{word} " for word in TEXT.split()]
    heard = list(client.tts.stream_websocket(iter(words), format=name))

    assert heard[0].startswith(MAGIC[name])
    assert 2.0 < seconds_of(b"".join(heard), name) < 4.5


def test_websocket_without_text_ends(client: fishaudio.FishAudio) -> None:
    assert list(client.tts.stream_websocket(iter([]))) == []


def test_websocket_errors_are_the_sdks_own(client: fishaudio.FishAudio) -> None:
    with pytest.raises(fishaudio.WebSocketError):
        list(client.tts.stream_websocket(iter(["Hi."]), reference_id="nobody"))


def test_http_errors_are_the_sdks_own(client: fishaudio.FishAudio) -> None:
    with pytest.raises(fishaudio.APIError) as refused:
        client.tts.convert(text="Hi.", reference_id="nobody")
    assert refused.value.status == 400
    assert "GET /model" in refused.value.message
    with pytest.raises(fishaudio.APIError) as empty:
        client.tts.convert(text="")
    assert empty.value.status == 400


async def test_legacy_client_speaks(builtin_server: str) -> None:
    request = fish_audio_sdk.TTSRequest(text=TEXT)
    session = fish_audio_sdk.Session("x", base_url=builtin_server)
    nobody = fish_audio_sdk.TTSRequest(text="Hi.", reference_id="nobody")
    with session:
        assert 2.0 < seconds_of(b"".join(session.tts(request))) < 4.5
        with pytest.raises(HttpCodeErr) as refused:
            list(session.tts(nobody))
    assert refused.value.status == 400
    async with session:
        pieces = [piece async for piece in session.tts.awaitable(request)]
    assert 2.0 < seconds_of(b"".join(pieces)) < 4.5


async def test_legacy_websockets_speak(builtin_server: str) -> None:
    request = fish_audio_sdk.TTSRequest(text="", format="wav")
    with fish_audio_sdk.WebSocketSession("x", base_url=builtin_server) as session:
        heard = b"".join(session.tts(request, iter(["The quick brown fox ", "jumps. And"])))
        assert seconds_of(heard) > 1
        nobody = fish_audio_sdk.TTSRequest(text="", reference_id="nobody")
        with pytest.raises(WebSocketErr):
            list(session.tts(nobody, iter(["Hi."])))

    async def texts() -> AsyncIterator[str]:
        for word in TEXT.split():
            yield f"{word} "

    async with fish_audio_sdk.AsyncWebSocketSession("x", base_url=builtin_server) as session:
        pieces = [piece async for piece in session.tts(request, texts())]
    assert 2.0 < seconds_of(b"".join(pieces)) < 4.5
