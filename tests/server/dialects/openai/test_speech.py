"""POST /v1/audio/speech with a fake engine: what comes back, and what reaches the engine."""

import asyncio
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from fishs2.audio.decode import decode_audio
from fishs2.audio.pcm import from_int16
from tests.fakes import CHARS_PER_S, FakeEngine, fake_frequency_hz
from tests.serving import serving

TEXT = "A quick test."
MAGIC = {"wav": b"RIFF", "opus": b"OggS", "flac": b"fLaC"}
CONTENT_TYPES = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
}


def body(**fields: object) -> dict[str, object]:
    return {"model": "fishs2", "input": TEXT, **fields}


def dominant_hz(pcm: np.ndarray, sample_rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * sample_rate_hz / len(pcm))


async def test_minimal_request_gives_a_whole_wav_with_exact_sizes() -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=body())

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "transfer-encoding" not in answer.headers
    riff, riff_size, wave = struct.unpack_from("<4sI4s", answer.content)
    data, data_size = struct.unpack_from("<4sI", answer.content, 36)
    assert (riff, wave, data) == (b"RIFF", b"WAVE", b"data")
    assert riff_size == len(answer.content) - 8
    assert data_size == len(answer.content) - 44
    kind, num_channels, rate_hz, _, _, num_bits = struct.unpack_from("<HHIIHH", answer.content, 20)
    assert (kind, num_channels, rate_hz, num_bits) == (1, 1, 24_000, 16)


@pytest.mark.parametrize("name", CONTENT_TYPES)
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_every_format_carries_the_same_speech(name: str, is_streamed: bool) -> None:
    async with serving() as served:
        answer = await served.client.post(
            "/v1/audio/speech", json=body(response_format=name, stream=is_streamed)
        )

    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPES[name]
    assert answer.content.startswith(MAGIC.get(name, b""))
    assert ("content-length" in answer.headers) is not is_streamed
    if name == "pcm":
        pcm = from_int16(np.frombuffer(answer.content, np.int16))
        rate_hz = int(answer.headers["x-audio-sample-rate"])
        assert rate_hz == 24_000
    else:
        decoded = decode_audio(answer.content, max_seconds=60)
        pcm, rate_hz = decoded.pcm, decoded.sample_rate_hz
        assert answer.headers["x-audio-sample-rate"] == str(rate_hz)
    assert len(pcm) / rate_hz == pytest.approx(len(TEXT) / CHARS_PER_S, abs=0.06)
    assert dominant_hz(pcm, rate_hz) == pytest.approx(fake_frequency_hz(TEXT), abs=3)


async def test_headers_describe_audio_and_engine() -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=body())

    assert answer.headers["x-fishs2-engine"] == "fake"
    assert answer.headers["x-audio-sample-rate"] == "24000"
    assert answer.headers["x-audio-channels"] == "1"
    assert answer.headers["x-audio-encoding"] == "pcm_s16le"
    assert float(answer.headers["x-audio-duration"]) == pytest.approx(len(TEXT) / CHARS_PER_S, 0.01)
    assert "x-fishs2-ignored" not in answer.headers


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("fishs2", {}, "audio/wav"),
        (" Fish-S2 ", {}, "audio/wav"),
        ("fishaudio/s2-pro", {}, "audio/wav"),
        ("fish-audio/s2-pro", {}, "audio/wav"),
        ("tts-1", {}, "audio/mpeg"),
        ("gpt-4o-mini-tts", {}, "audio/mpeg"),
        ("tts-1", {"default_format": "flac"}, "audio/flac"),
        ("tts-1", {"strict_v1": True}, "audio/wav"),
        ("mine", {"default_model": "mine"}, "audio/wav"),
        ("b", {"model_aliases": ("a", "b")}, "audio/wav"),
    ],
)
async def test_model_name_decides_the_default_format(
    model: str, settings: dict[str, Any], expected: str
) -> None:
    async with serving(**settings) as served:
        answer = await served.client.post("/v1/audio/speech", json=body(model=model))

    assert answer.headers["content-type"] == expected


async def test_format_name_is_read_without_regard_to_case_and_spaces() -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=body(response_format=" MP3 "))

    assert answer.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("speed", [0.5, 2.0, "1.5"])
async def test_speed_changes_duration_and_not_pitch(speed: object) -> None:
    text = "This sentence is long enough to be measured well."
    async with serving() as served:
        answer = await served.client.post(
            "/v1/audio/speech",
            json=body(input=text, speed=speed, response_format="pcm", stream=False),
        )

    pcm = np.frombuffer(answer.content, "<i2") / 32768
    assert float(answer.headers["x-audio-duration"]) == pytest.approx(len(pcm) / 24_000, abs=0.001)
    expected_s = len(text) / CHARS_PER_S / float(str(speed))
    assert len(pcm) / 24_000 == pytest.approx(expected_s, rel=0.05)
    assert dominant_hz(pcm, 24_000) == pytest.approx(fake_frequency_hz(text), rel=0.02)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
async def test_sample_rate_is_honoured(rate_hz: int) -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=body(sample_rate=rate_hz))

    decoded = decode_audio(answer.content, max_seconds=60)
    assert decoded.sample_rate_hz == rate_hz
    assert len(decoded.pcm) / rate_hz == pytest.approx(len(TEXT) / CHARS_PER_S, abs=0.01)


@pytest.mark.parametrize(
    ("voice", "expected"),
    [
        ("other", "other"),
        ({"id": "Other"}, "other"),
        ("alloy", "fake"),
        ("Default", "fake"),
        ("random", "fake"),
        ("", "fake"),
    ],
)
async def test_voice_reaches_the_engine(voice: object, expected: str) -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=body(voice=voice))

    assert answer.status_code == 200
    assert [u.voice for u in served.engine.utterances] == [expected]


async def test_instructions_become_a_style_tag_where_the_engine_acts_on_tags() -> None:
    engine = FakeEngine(speaks_tags=True)
    async with serving(engine) as served:
        answer = await served.client.post(
            "/v1/audio/speech", json=body(instructions=" Speak [softly]\nplease ")
        )

    assert answer.status_code == 200
    assert engine.utterances[0].text == f"[Speak softly please] {TEXT}"
    assert "x-fishs2-ignored" not in answer.headers


async def test_instructions_are_named_as_ignored_where_they_change_nothing() -> None:
    async with serving() as served:
        answer = await served.client.post("/v1/audio/speech", json=body(instructions="Softly."))

    assert answer.headers["x-fishs2-ignored"] == "instructions"
    assert served.engine.utterances[0].text == TEXT


async def test_instructions_can_be_switched_off() -> None:
    engine = FakeEngine(speaks_tags=True)
    async with serving(engine, instructions="ignore") as served:
        answer = await served.client.post("/v1/audio/speech", json=body(instructions="Softly."))

    assert answer.headers["x-fishs2-ignored"] == "instructions"
    assert engine.utterances[0].text == TEXT


async def test_tags_are_not_spoken_by_an_engine_that_cannot_act_on_them() -> None:
    async with serving() as served:
        await served.client.post(
            "/v1/audio/speech", json=body(input="(happy)[whispering] Good news.")
        )

    assert served.engine.utterances[0].text.strip() == "Good news."


async def test_long_text_is_spoken_in_order_and_completely() -> None:
    text = " ".join(f"This is sentence number {n}." for n in range(40))
    async with serving() as served:
        answer = await served.client.post(
            "/v1/audio/speech", json=body(input=text, response_format="pcm")
        )

    spoken = [utterance.text for utterance in served.engine.utterances]
    assert " ".join(spoken) == text
    assert len(spoken) > 1
    assert len(answer.content) / 2 / 24_000 > sum(map(len, spoken)) / CHARS_PER_S


async def test_text_at_the_limit_is_accepted() -> None:
    async with serving(max_input_chars=300) as served:
        answer = await served.client.post("/v1/audio/speech", json=body(input="a" * 300))

    assert answer.status_code == 200


async def test_unprefixed_alias_behaves_the_same() -> None:
    async with serving() as served:
        spoken = await served.client.post("/audio/speech", json=body())
        missing = await served.client.post("/audio/speech", json=body(voice="nobody"))

    assert spoken.headers["content-type"] == "audio/wav"
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "voice_not_found"


async def test_parallel_requests_each_get_their_own_speech() -> None:
    texts = [f"Text number {n} is not like the others." for n in range(16)]
    async with serving() as served:
        answers = [
            served.client.post("/v1/audio/speech", json=body(input=text, response_format="pcm"))
            for text in texts
        ]
        done: list[httpx.Response] = await asyncio.gather(*answers)

    for text, answer in zip(texts, done, strict=True):
        pcm = np.frombuffer(answer.content, "<i2") / 32768
        assert dominant_hz(pcm, 24_000) == pytest.approx(fake_frequency_hz(text), abs=2)


async def test_emoji_are_named_as_ignored_where_the_engine_reads_text_as_it_is() -> None:
    async with serving() as served:
        read = await served.client.post("/v1/audio/speech", json=body(input="Hi 🙂", emoji="read"))
        skipped = await served.client.post("/v1/tts", json={"text": "Hi 🙂", "emoji": "skip"})
    async with serving(emoji="skip") as quiet:
        spoken = await quiet.client.post("/v1/audio/speech", json=body(input="🙂"))

    assert read.headers["x-fishs2-ignored"] == "emoji"
    assert skipped.status_code == 200
    assert [each.text for each in served.engine.utterances] == ["Hi 🙂", "Hi"]
    assert (spoken.status_code, spoken.json()["error"]["code"]) == (422, "empty_input")


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"model": "fishs3"}, "did you mean fishs2?"),
        ({"voice": "Sample_mail"}, "did you mean sample_male?"),
        ({"voice": "en-ukk"}, "did you mean en-us?"),
    ],
)
def test_unknown_name_is_told_the_one_that_was_meant(
    builtin_server: str, fields: dict[str, str], meant: str
) -> None:
    body = {"model": "fishs2", "input": "Hi.", **fields}
    answer = httpx.post(f"{builtin_server}/v1/audio/speech", json=body)

    assert answer.status_code == 404
    assert meant in answer.json()["error"]["message"]
