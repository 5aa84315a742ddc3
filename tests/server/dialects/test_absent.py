"""What clients write for a field that they do not set: the same as if they had left it out."""

from typing import Any

import httpx
import ormsgpack
import pytest

from fishs2.server import app as _every_body  # noqa: F401 - so that every dialect's are loaded
from fishs2.server.dialects.fish_cloud.body import SelfHostedTts, Tts
from fishs2.server.dialects.fish_cloud.compat import CompatBody
from fishs2.server.dialects.fish_open.body import OpenSpeech
from fishs2.server.dialects.openai.body import SpeechBody
from fishs2.server.edge.fields import JsonBody
from fishs2.service.voices.choice import PRESET_VOICES
from fishs2.store.voices.changes import NewSample
from tests.fakes import FakeEngine
from tests.server.dialects.fish_cloud.live_client import live
from tests.serving import Served, serving

SPEECH = "/v1/audio/speech"
TEXT = "Hello there."
FILE = NewSample("a.wav", b"RIFF")
REQUIRED: dict[str, dict[str, Any]] = {
    "SpeechBody": {"model": "fishs2", "input": TEXT},
    "CompatBody": {"model": "s2-pro", "input": TEXT},
    "VoiceRef": {"id": "fake"},
    "Tts": {"text": TEXT},
    "SelfHostedTts": {"text": TEXT},
    "TtsReference": {"audio": b"RIFF", "text": TEXT},
    "OpenSpeech": {"reference_id": "default", "text": TEXT},
    "DeleteModel": {"modelId": "a"},
    "CreateModel": {"title": "A"},
    "AddReference": {"id": "a", "text": TEXT, "audio": FILE},
    "DeleteReference": {"reference_id": "a"},
    "UpdateReference": {"old_reference_id": "a", "new_reference_id": "b"},
    "EncodeAudio": {"audios": [FILE]},
    "DecodeTokens": {"tokens": []},
    "AsrBody": {"audio": FILE},
    "_AsrFields": {"audio": b"RIFF"},
    "TranslationBody": {"model": "whisper-1"},
    "TranscriptionBody": {"model": "whisper-1"},
    "LexiconBody": {"words": []},
    "ConsentChanges": {"name": "A"},
    "Event": {"type": "response.create"},
    "ToAudio": {"text": TEXT},
    "Generate": {"text_input": TEXT},
    "Stream": {"text": TEXT},
    "PreviewVoice": {"voice": "a"},
    "CaptionedBody": {"input": TEXT},
    "TextToSpeech": {"text": TEXT},
}
"""Of each body: fields that it cannot be without."""

OPENAI = ["tts-1", "tts-1-1106", "tts-1-hd", "tts-1-hd-1106", "gpt-4o-mini-tts-2025-12-15"]
OPENAI += ["gpt-4o-mini-tts-2025-03-20", "TTS-1-2031-01-02", "gpt-realtime", "gpt-realtime-mini"]
OPENAI += ["gpt-realtime-2.1-mini", "gpt-realtime-2025-08-28", "gpt-4o-mini-tts"]


def bodies(root: type[JsonBody] = JsonBody) -> list[type[JsonBody]]:
    """Every body of every dialect, and every object in one."""
    below = root.__subclasses__()
    return below + [each for body in below for each in bodies(body)]


def optional_fields(body: type[JsonBody]) -> list[str]:
    return [
        field.alias or name
        for name, field in body.model_fields.items()
        if not field.is_required() and name not in REQUIRED.get(body.__name__, {})
    ]


@pytest.mark.parametrize("body", list(dict.fromkeys(bodies())))
def test_null_is_absent_in_every_optional_field(body: type[JsonBody]) -> None:
    given = REQUIRED.get(body.__name__, {})
    absent = body.model_validate(given)

    for name in optional_fields(body):
        read = body.model_validate({**given, name: None})
        assert read == absent, name
        assert read.model_fields_set == absent.model_fields_set, name


@pytest.mark.parametrize("body", [SpeechBody, CompatBody, Tts, SelfHostedTts, OpenSpeech])
def test_blank_is_absent_in_every_field_that_holds_no_text(body: type[JsonBody]) -> None:
    given = REQUIRED[body.__name__]
    schema = body.model_json_schema()["properties"]

    for name in optional_fields(body):
        kinds = [schema[name], *schema[name].get("anyOf", ())]
        if any(kind.get("type") == "string" and "enum" not in kind for kind in kinds):
            continue
        for blank in ("", " "):
            body.model_validate({**given, name: blank})


async def heard(served: Served, path: str, content: dict[str, Any], **kind: Any) -> httpx.Response:
    if kind.get("msgpack"):
        answer = await served.client.post(
            path,
            content=ormsgpack.packb(content),
            headers={"Content-Type": "application/msgpack", **kind.get("headers", {})},
        )
    else:
        answer = await served.client.post(path, json=content, headers=kind.get("headers"))
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (SPEECH, SpeechBody, {}),
        ("/audio/speech", SpeechBody, {}),
        ("/compat/v1/audio/speech", CompatBody, {}),
        ("/v1/tts", SelfHostedTts, {}),
        ("/v1/tts", SelfHostedTts, {"msgpack": True}),
        ("/v1/tts", Tts, {"headers": {"model": "s2-pro"}}),
        ("/v1/tts", Tts, {"headers": {"model": "s2-pro"}, "msgpack": True}),
        ("/v1/tts/stream/with-timestamp", SelfHostedTts, {}),
        ("/api/open/tts", OpenSpeech, {}),
        ("/api/open/tts", OpenSpeech, {"msgpack": True}),
    ],
)
async def test_speech_of_nulls_is_the_speech_of_nothing(
    path: str, body: type[JsonBody], kind: dict[str, Any]
) -> None:
    given = REQUIRED[body.__name__]
    async with serving() as served:
        plain = await heard(served, path, given, **kind)
        for name in optional_fields(body):
            answer = await heard(served, path, {**given, name: None}, **kind)
            assert answer.content == plain.content, name
        nulls = dict.fromkeys(optional_fields(body))
        answer = await heard(served, path, {**nulls, **given}, **kind)

    assert answer.content == plain.content
    for name in ("content-type", "transfer-encoding", "x-audio-sample-rate", "x-fishs2-ignored"):
        assert answer.headers.get(name) == plain.headers.get(name)
    asked = served.engine.utterances
    assert all(utterance == asked[0] for utterance in asked)


async def test_live_speech_of_nulls_is_the_speech_of_nothing() -> None:
    spoken = []
    async with serving() as served:
        for more in ({}, dict.fromkeys([*optional_fields(Tts), "text"])):
            async with live(served) as client:
                await client.say("start", request={"text": "", **more})
                await client.say("text", text=TEXT)
                await client.say("stop")
                assert (await client.hear_all())["reason"] == "stop"
                spoken.append(client.audio)

    assert spoken[0] == spoken[1] != b""


async def test_nulls_in_objects_of_a_body_are_absent() -> None:
    nested: dict[str, Any] = {
        "fishs2": dict.fromkeys(["temperature", "top_k", "max_new_tokens", "verbose"]),
        "prosody": dict.fromkeys(["speed", "volume", "normalize_loudness"]),
        "instructions": '{"fishs2": {"top_k": null}, "temperature": null, "control": null}',
    }
    async with serving() as served:
        plain = await heard(served, SPEECH, REQUIRED["SpeechBody"])
        answer = await heard(served, SPEECH, {**REQUIRED["SpeechBody"], **nested})
        prosody: dict[str, Any] = {
            "prosody": {"speed": None, "volume": None, "normalize_loudness": False}
        }
        variants: list[dict[str, Any]] = [{}, prosody, {"prosody": {}}]
        fish = [await heard(served, "/v1/tts", {"text": TEXT, **more}) for more in variants]

    assert answer.content == plain.content
    assert "x-fishs2-ignored" not in answer.headers
    assert fish[0].content == fish[1].content


async def test_options_that_say_nothing_leave_the_compatible_prefix_at_its_defaults() -> None:
    given = {
        **REQUIRED["CompatBody"],
        "provider": {"options": {"fish-audio": {"sample_rate": None}}},
    }
    async with serving() as served:
        answers = [
            await heard(served, "/compat/v1/audio/speech", given),
            await heard(
                served,
                "/compat/v1/audio/speech",
                {**given, "provider": {"options": {"fish-audio": None}}},
                headers={"X-Fish-Temperature": "", "X-Fish-Sample-Rate": ""},
            ),
        ]

    assert [each.headers["x-audio-sample-rate"] for each in answers] == ["44100", "44100"]
    assert not any("x-fishs2-ignored" in each.headers for each in answers)


@pytest.mark.parametrize("blank", ["", " "])
async def test_blank_response_format_is_the_default(blank: str) -> None:
    async with serving() as served:
        kinds = [
            (await heard(served, SPEECH, {"model": model, "input": TEXT, "response_format": blank}))
            for model in ("fishs2", "tts-1")
        ]

    assert [each.headers["content-type"] for each in kinds] == ["audio/wav", "audio/mpeg"]


async def test_empty_fields_of_a_form_are_absent() -> None:
    names = [name for name in optional_fields(SelfHostedTts) if name != "references"]
    async with serving() as served:
        plain = await heard(served, "/v1/tts", {"text": TEXT})
        answer = await served.client.post(
            "/v1/tts", files={"text": (None, TEXT), **dict.fromkeys(names, (None, ""))}
        )

    assert answer.status_code == 200, answer.text
    assert answer.content == plain.content


@pytest.mark.parametrize(
    "path",
    [
        "/model?page_size=&page_number=&title=&tag=&self=&author_id=&language=&sort_by=",
        "/wallet/self/api-credit?check_free_credit=",
        "/v1/audio/voices?all=&legacy=",
    ],
)
async def test_empty_fields_of_a_query_are_absent(path: str) -> None:
    async with serving() as served:
        answer = await served.client.get(path)
        plain = await served.client.get(path.partition("?")[0])

    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == plain.json().keys()


@pytest.mark.parametrize("language", ["auto", "Auto", " AUTO ", ""])
async def test_language_auto_is_no_language(language: str) -> None:
    async with serving() as served:
        plain = await heard(served, SPEECH, REQUIRED["SpeechBody"])
        answer = await heard(served, SPEECH, {**REQUIRED["SpeechBody"], "language": language})

    assert answer.content == plain.content
    assert answer.headers.keys() == plain.headers.keys()


@pytest.mark.parametrize("model", OPENAI)
async def test_models_of_openai_are_the_one_model_and_speak_mp3(model: str) -> None:
    async with serving() as served:
        answer = await heard(served, SPEECH, {"model": model, "input": TEXT})
        described = await served.client.get(f"/v1/models/{model}")

    assert answer.headers["content-type"] == "audio/mpeg"
    assert described.json()["id"] == "fishaudio/s2-pro"


@pytest.mark.parametrize(
    "model", ["tts-2", "tts-1x", "tts-1-hdx", "gpt-4o", "gpt-realtimes", "gpt-realtime-", "tts-1-"]
)
async def test_other_names_are_no_model(model: str) -> None:
    async with serving() as served:
        answer = await served.client.post(SPEECH, json={"model": model, "input": TEXT})

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"


async def test_presets_of_the_speech_and_the_live_api_are_the_default_voice() -> None:
    assert len(PRESET_VOICES) == 26
    async with serving() as served:
        for voice in ("willow", "Beacon", "cedar"):
            await heard(served, SPEECH, {**REQUIRED["SpeechBody"], "voice": voice})

    assert [utterance.voice for utterance in served.engine.utterances] == ["fake"] * 3


async def test_no_new_tokens_are_no_limit_in_fish_audios_dialect() -> None:
    async with serving(FakeEngine()) as served:
        await heard(served, "/v1/tts", {"text": TEXT, "max_new_tokens": 0})
        too_few = await served.client.post("/v1/tts", json={"text": TEXT, "max_new_tokens": -1})

    assert served.engine.utterances[0].sampling.max_new_tokens == 0
    assert too_few.status_code == 400


async def test_a_thousand_of_the_likeliest_tokens_may_be_drawn_from() -> None:
    async with serving() as served:
        await heard(served, SPEECH, {**REQUIRED["SpeechBody"], "top_k": 1_000})
        await heard(served, SPEECH, {**REQUIRED["SpeechBody"], "fishs2": {"top_k": 1_000}})
        refused = await served.client.post(SPEECH, json={**REQUIRED["SpeechBody"], "top_k": 1_001})

    assert [each.sampling.top_k for each in served.engine.utterances] == [1_000, 1_000]
    assert refused.status_code == 422
