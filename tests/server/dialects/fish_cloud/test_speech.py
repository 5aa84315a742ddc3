"""POST /v1/tts: what each field does, by clients that know the API page only."""

import base64
import io
import json
import threading
import wave
from typing import Any

import numpy as np
import ormsgpack
import pytest
from starlette.datastructures import FormData

from fishs2.audio.decode import decode_audio
from fishs2.server.dialects.fish_cloud.body import _form_fields
from fishs2.server.edge import json_body
from fishs2.settings import Settings
from tests.fakes import FakeEngine
from tests.server.dialects.fish_cloud.conftest import CLOUD, error_of, post
from tests.server.recorded import TRANSCRIPT, Recorded, sine_wav
from tests.serving import serving, until

SELF_HOSTED: dict[str, str] = {}
WAV = sine_wav(300.0)
LONG_TEXT = " ".join(f"Sentence number {n} goes on for a while." for n in range(30))


def test_cloud_and_self_hosted_have_their_own_defaults(recorded: Recorded) -> None:
    cloud = post(recorded.client)
    assert cloud.status_code == 200, cloud.text
    cloud_asked = recorded.asked()["sampling"]
    hosted = post(recorded.client, SELF_HOSTED)
    hosted_asked = recorded.asked()["sampling"]

    assert cloud.headers["content-type"] == "audio/mpeg"
    assert "content-disposition" not in cloud.headers
    assert "x-fishs2-ignored" not in cloud.headers
    assert cloud_asked["temperature"] == cloud_asked["top_p"] == 0.7
    assert cloud_asked["repetition_penalty"] == 1.2
    assert hosted.headers["content-type"] == "audio/wav"
    assert hosted.headers["content-disposition"] == "attachment; filename=audio.wav"
    assert hosted_asked["temperature"] == hosted_asked["top_p"] == 0.8
    assert hosted_asked["repetition_penalty"] == 1.1
    assert cloud_asked["top_k"] == hosted_asked["top_k"] == Settings.model_fields["top_k"].default


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"model": "speech-1.5"}, "audio/mpeg"),
        ({"model": "whatever"}, "audio/mpeg"),
        ({"User-Agent": "fish-audio/python/1.3.0"}, "audio/mpeg"),
        ({"User-Agent": "curl/8"}, "audio/wav"),
    ],
)
def test_headers_tell_the_dialects_apart(
    recorded: Recorded, headers: dict[str, str], kind: str
) -> None:
    assert post(recorded.client, headers).headers["content-type"] == kind


@pytest.mark.parametrize(
    ("fields", "kind", "magic", "rate_hz"),
    [
        ({"format": "mp3"}, "audio/mpeg", (b"ID3", b"\xff"), 44_100),
        ({"format": "mp3", "sample_rate": 32000}, "audio/mpeg", (b"ID3", b"\xff"), 32_000),
        ({"format": "wav"}, "audio/wav", (b"RIFF",), 44_100),
        ({"format": "wav", "sample_rate": 24000}, "audio/wav", (b"RIFF",), 24_000),
        ({"format": "pcm"}, "audio/pcm", (b"",), 44_100),
        ({"format": "pcm", "sample_rate": 8000}, "audio/pcm", (b"",), 8_000),
        ({"format": "opus"}, "audio/ogg", (b"OggS",), 48_000),
    ],
)
def test_speech_has_the_format_and_rate_that_were_asked_for(
    recorded: Recorded,
    fields: dict[str, Any],
    kind: str,
    magic: tuple[bytes, ...],
    rate_hz: int,
) -> None:
    answer = post(recorded.client, **fields)

    assert answer.headers["content-type"] == kind
    assert answer.headers["x-audio-sample-rate"] == str(rate_hz)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content.startswith(magic)
    seconds = len("Hi there.") / 15
    if fields["format"] == "pcm":
        assert len(answer.content) / 2 / rate_hz == pytest.approx(seconds, abs=0.01)
    else:
        decoded = decode_audio(answer.content, max_seconds=10)
        assert len(decoded.pcm) / decoded.sample_rate_hz == pytest.approx(seconds, abs=0.1)
        assert decoded.sample_rate_hz == rate_hz


@pytest.mark.parametrize(
    ("name", "low", "high", "overhead"),
    # Ogg pages of a stream take 28 bytes per 20 ms, 11 kbit/s.
    [("mp3", 64, 192, 0), ("opus", 24, 64, 11)],
)
def test_size_follows_the_bit_rate(
    recorded: Recorded, name: str, low: int, high: int, overhead: int
) -> None:
    def size(kbps: int) -> int:
        field: dict[str, Any] = {f"{name}_bitrate": kbps}
        return len(post(recorded.client, text=LONG_TEXT, format=name, **field).content)

    expected = (high + overhead) / (low + overhead)
    assert size(high) / size(low) == pytest.approx(expected, rel=0.15)


def test_opus_bit_rate_is_in_kbps_or_bps(recorded: Recorded) -> None:
    def speak(rate: int) -> int:
        answer = post(recorded.client, text=LONG_TEXT, format="opus", opus_bitrate=rate)
        assert answer.status_code == 200
        return len(answer.content)

    assert speak(32) == pytest.approx(speak(32_000), rel=0.01)
    assert speak(-1000) > speak(32)


def test_engine_gets_every_sampling_field(recorded: Recorded) -> None:
    post(
        recorded.client,
        temperature=0,
        top_p=0.3,
        repetition_penalty=1.5,
        max_new_tokens=77,
        seed=5,
        latency="balanced",
        condition_on_previous_chunks=False,
        text=LONG_TEXT,
    )

    asked = recorded.asked()
    assert asked["sampling"]["temperature"] == 0
    assert asked["sampling"]["top_p"] == 0.3
    assert asked["sampling"]["repetition_penalty"] == 1.5
    assert asked["sampling"]["max_new_tokens"] == 77
    assert asked["sampling"]["seed"] == 5
    assert asked["latency"] == "balanced"
    assert not asked["is_part"]
    post(recorded.client, text=LONG_TEXT)
    assert recorded.asked()["is_part"]


def test_1024_new_tokens_of_the_sdk_are_no_wish(recorded: Recorded) -> None:
    ours = Settings.model_fields["max_new_tokens"].default
    answer = post(recorded.client, max_new_tokens=1024)

    assert recorded.asked()["sampling"]["max_new_tokens"] == ours
    assert "x-fishs2-ignored" not in answer.headers


def test_chunk_length_bounds_the_utterances(recorded: Recorded) -> None:
    before = len(recorded.record.read_text().splitlines())
    post(recorded.client, text=LONG_TEXT, chunk_length=100, min_chunk_length=0)

    lines = recorded.record.read_text().splitlines()[before:]
    assert max(len(json.loads(line)["text"]) for line in lines) <= 100


def test_fields_without_effect_are_named_only_where_they_were_meant(recorded: Recorded) -> None:
    plain = post(recorded.client, normalize=True, early_stop_threshold=1.0, features=[])
    meant = post(recorded.client, normalize=False, early_stop_threshold=0.5, features=["x"])

    assert "x-fishs2-ignored" not in plain.headers
    assert meant.headers["x-fishs2-ignored"] == "normalize, early_stop_threshold, features"


def test_speed_and_volume_act_after_loudness(recorded: Recorded) -> None:
    def pcm(**prosody: object) -> np.ndarray:
        answer = post(recorded.client, text=LONG_TEXT, format="pcm", prosody=prosody)
        return np.frombuffer(answer.content, "<i2") / 32768

    plain = pcm(normalize_loudness=False)
    assert len(pcm(normalize_loudness=False, speed=2)) == pytest.approx(len(plain) / 2, rel=0.05)
    soft = pcm(normalize_loudness=False, volume=-20)
    assert np.abs(soft).max() == pytest.approx(np.abs(plain).max() / 10, rel=0.05)
    loudness = [float(np.sqrt(np.mean(pcm(**p) ** 2))) for p in ({}, {"volume": -6})]
    assert loudness[0] / loudness[1] == pytest.approx(2, rel=0.1)
    assert loudness[0] < float(np.sqrt(np.mean(plain**2))) / 1.5


@pytest.mark.parametrize("form", ["msgpack", "json", "data-url", "multipart"])
def test_inline_references_reach_the_engine(recorded: Recorded, form: str) -> None:
    encoded = base64.b64encode(WAV).decode()
    headers = {**CLOUD}
    if form == "multipart":
        answer = recorded.client.post(
            "/v1/tts",
            data={"text": "Hi.", "format": "wav", "texts": "What is said."},
            files={"references": ("upload", WAV, "application/octet-stream")},
            headers=headers,
        )
    elif form == "msgpack":
        reference = {"audio": WAV, "text": "What is said."}
        answer = post(recorded.client, text="Hi.", references=[reference])
    else:
        audio = encoded if form == "json" else f"data:audio/wav;base64,{encoded}"
        body = {"text": "Hi.", "references": [{"audio": audio, "text": "What is said."}]}
        answer = recorded.client.post("/v1/tts", json=body, headers=headers)

    assert answer.status_code == 200, answer.text
    reference = recorded.asked()["reference"]
    assert reference["transcript"] == "What is said."
    assert reference["crossings_per_s"] == 300


def test_several_recordings_of_one_speaker_are_joined(recorded: Recorded) -> None:
    both = [{"audio": WAV, "text": "One."}, {"audio": WAV, "text": "Two."}]
    post(recorded.client, references=both)
    assert recorded.asked()["references"] == ["One. Two."]

    post(recorded.client, text="<|speaker:1|>Hi.", references=[[both[0]], [both[1]]])
    assert recorded.asked()["references"] == ["One.", "Two."]
    assert recorded.asked()["text"] == "<|speaker:1|>Hi."


def test_stored_voices_speak_their_turns_and_win_over_references(recorded: Recorded) -> None:
    text = "<|speaker:0|>Hello. <|speaker:1|>Good day."
    answer = post(
        recorded.client,
        text=text,
        reference_id=["alice", "bob"],
        references=[{"audio": b"no audio", "text": "x"}],
    )

    assert answer.status_code == 200
    assert recorded.asked()["text"] == "<|speaker:0|>Hello.\n<|speaker:1|>Good day."
    assert recorded.asked()["references"] == [TRANSCRIPT, TRANSCRIPT]


def test_tags_of_speakers_are_taken_out_for_a_single_voice(recorded: Recorded) -> None:
    post(recorded.client, text="<|speaker:0|>Hello. <|speaker:1|>Good day.", reference_id="alice")

    assert recorded.asked()["text"] == "Hello. Good day."


def test_nulls_of_the_legacy_sdk_are_absent_fields(recorded: Recorded) -> None:
    nulls: dict[str, Any] = dict.fromkeys(
        ("reference_id", "sample_rate", "prosody", "references", "latency")
    )

    assert post(recorded.client, **nulls).status_code == 200


@pytest.mark.parametrize("kind", ["application/msgpack", "application/x-msgpack"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xc1",
        b"not msgpack",
        ormsgpack.packb({"text": "Hi"})[:-1],
        ormsgpack.packb(["text"]),
        b"\x91" * 5_000 + b"\xc0",
        b"\x82\xa4text\xa2Hi\xa1x" + b"\xdd\x00\x0f\x42\x40" + b"\xc0" * 1_000_000,
        b"\xdf\xff\xff\xff\xff",
    ],
    ids=["empty", "unknown", "text", "truncated", "list", "deep", "million", "huge-map"],
)
def test_msgpack_that_cannot_be_read_is_400(recorded: Recorded, kind: str, content: bytes) -> None:
    headers = {"Content-Type": kind}
    answer = recorded.client.post("/v1/tts", content=content, headers=headers)

    assert error_of(answer)[0] == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"text": None},
        {"text": ""},
        {"text": "  \n"},
        {"text": 5},
        {"text": "x" * 12_001},
        {"format": "flac"},
        {"sample_rate": 12345},
        {"format": "opus", "sample_rate": 44100},
        {"format": "mp3", "sample_rate": 8000},
        {"mp3_bitrate": 100},
        {"opus_bitrate": 33},
        {"chunk_length": 99},
        {"chunk_length": 301},
        {"min_chunk_length": 101},
        {"latency": "fast"},
        {"prosody": {"speed": 0.4}},
        {"prosody": {"volume": 21}},
        {"prosody": 1},
        {"temperature": 1.1},
        {"temperature": float("nan")},
        {"top_p": -0.1},
        {"max_new_tokens": -1},
        {"early_stop_threshold": 2},
        {"seed": -2},
        {"reference_id": "nobody"},
        {"reference_id": ["alice", "nobody"]},
        {"reference_id": ["alice"] * 17},
        {"reference_id": {"id": "alice"}},
        {"reference_id": ["alice", "bob"], "text": "<|speaker:2|>Hi."},
        {"references": [{"audio": b"", "text": "x"}]},
        {"references": [{"audio": WAV}]},
        {"references": [{"audio": WAV, "text": " "}]},
        {"references": [{"audio": "no base64!", "text": "x"}]},
        {"references": [[{"audio": WAV, "text": "x"}], {"audio": WAV, "text": "x"}]},
        {"references": "x"},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_wrong_fields_are_400_and_are_not_repeated(
    recorded: Recorded, fields: dict[str, Any]
) -> None:
    status, message = error_of(post(recorded.client, **fields))

    assert status == 400
    assert "xxxx" not in message


def test_message_of_an_error_says_what_to_do(recorded: Recorded) -> None:
    assert "8000, 16000" in error_of(post(recorded.client, format="wav", sample_rate=1))[1]
    assert "GET /model" in error_of(post(recorded.client, reference_id="nobody"))[1]
    blank = [{"audio": WAV, "text": " "}]
    assert "text in references" in error_of(post(recorded.client, references=blank))[1]


def test_chunks_of_the_self_hosted_dialect_may_be_longer(recorded: Recorded) -> None:
    assert post(recorded.client, SELF_HOSTED, chunk_length=1000).status_code == 200
    assert error_of(post(recorded.client, SELF_HOSTED, repetition_penalty=2.5))[0] == 400


def test_other_types_and_methods_are_refused(recorded: Recorded) -> None:
    text = recorded.client.post("/v1/tts", content=b"Hi", headers={"Content-Type": "text/plain"})
    json_text = recorded.client.post(
        "/v1/tts", content=b"{oops", headers={"Content-Type": "application/json"}
    )
    broken_form = recorded.client.post(
        "/v1/tts", content=b"--", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )

    assert error_of(text)[0] == 415
    assert error_of(json_text)[0] == 400
    assert error_of(broken_form)[0] == 400
    assert error_of(recorded.client.get("/v1/tts"))[0] == 405


@pytest.mark.parametrize("path", ["/v1/voice-design", "/v1/agent", "/v1/agents/x/run"])
def test_apis_that_are_missing_say_so(recorded: Recorded, path: str) -> None:
    assert error_of(recorded.client.post(path, json={}))[0] == 501


async def test_audio_leaves_while_it_is_made() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        body = {"text": LONG_TEXT, "streaming": True, "format": "mp3"}
        async with served.client.stream("POST", "/v1/tts", json=body) as answer:
            pieces = answer.aiter_bytes()
            assert await anext(pieces)
            assert engine.num_finished == 0
            engine.gate.set()
            assert b"".join([piece async for piece in pieces])


async def test_approximate_engine_speaks_each_turn_by_itself() -> None:
    engine = FakeEngine()
    async with serving(engine) as served:
        body = {"text": "<|speaker:1|>One.<|speaker:0|>Two.", "reference_id": ["fake", "other"]}
        answer = await served.client.post("/v1/tts", json=body)

    assert answer.status_code == 200
    assert [(u.text, u.voice) for u in engine.utterances] == [("One.", "other"), ("Two.", "fake")]
    with wave.open(io.BytesIO(answer.content)) as wav:
        assert wav.getframerate() == 44_100


async def test_failing_engine_is_a_500() -> None:
    async with serving(FakeEngine(fail_after_chunks=0)) as served:
        answer = await served.client.post("/v1/tts", json={"text": "Hi."})

    assert error_of(answer)[0] == 500


async def test_client_that_leaves_frees_the_engine() -> None:
    engine = FakeEngine()
    engine.gate.clear()
    async with serving(engine) as served:
        async with served.client.stream("POST", "/v1/tts", json={"text": LONG_TEXT}) as answer:
            await anext(answer.aiter_bytes())
        await until(lambda: engine.num_active == 0)

    assert engine.num_aborted >= 1


@pytest.mark.parametrize(
    ("names", "status"),
    [(["references"], 400), ([f"odd{n}" for n in range(30)], 200)],
)
async def test_forms_hold_no_more_json_than_bodies_of_json(names: list[str], status: int) -> None:
    lists = "[" + ",".join(["[]"] * 300_000) + "]"
    form = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in [("text", "Hi."), *((name, lists) for name in names)]
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    async with serving() as served:
        answer = await served.client.post("/v1/tts", content=f"{form}--x--\r\n", headers=kind)

    assert answer.status_code == status
    if status == 400:
        # Refused before it is parsed, so that no field is named.
        assert "body cannot be read" in error_of(answer)[1]


def test_unknown_fields_of_a_form_are_not_parsed() -> None:
    form = FormData([("text", "[not JSON"), ("odd", "[not JSON"), ("prosody", '{"speed": 2}')])

    given = _form_fields(form)
    assert given == {"text": "[not JSON", "odd": "[not JSON", "prosody": {"speed": 2}}


async def test_large_json_does_not_hold_up_others() -> None:
    threads: set[int] = set()

    def read(content: bytes) -> int:
        threads.add(threading.get_ident())
        return len(content)

    assert await json_body.read_aside(b"x" * 2_000_000, read) == 2_000_000
    assert threading.get_ident() not in threads
    assert await json_body.read_aside(b"x", read) == 1
    assert threading.get_ident() in threads


async def test_large_json_is_read_and_judged_as_any_other() -> None:
    audio = base64.b64encode(WAV + b"\0" * 1_000_000).decode()
    async with serving() as served:
        body = {"text": "Hi.", "references": [{"audio": audio, "text": 5}]}
        wrong = await served.client.post("/v1/tts", json=body)
        broken = await served.client.post(
            "/v1/tts",
            content=b'{"text": "' + b"x" * 2_000_000,
            headers={"Content-Type": "application/json"},
        )

    assert error_of(wrong)[0] == 400
    assert "references" in error_of(wrong)[1]
    assert error_of(broken)[0] == 400


@pytest.mark.parametrize("references", [[[], []], [[{"audio": WAV, "text": "Hi."}], []]])
async def test_a_speaker_without_a_recording_is_refused(references: list[object]) -> None:
    async with serving() as served:
        body = ormsgpack.packb({"text": "<|speaker:1|>Hi.", "references": references})
        kind = {"Content-Type": "application/msgpack"}
        answer = await served.client.post("/v1/tts", content=body, headers=kind)

    assert error_of(answer)[0] == 400
    assert "has no recording" in error_of(answer)[1]
    assert served.engine.utterances == []
