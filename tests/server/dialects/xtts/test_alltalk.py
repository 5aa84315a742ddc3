"""SillyTavern's AllTalk provider: its requests, written from the contract."""

from collections.abc import AsyncIterator

import pytest

from fishs2.server.dialects.xtts.alltalk import mark_turns
from tests.serving import Served, serving

FORM = {
    "text_input": '*She looks up.* "Who is there?" Silence.',
    "text_filtering": "standard",
    "character_voice_gen": "other.wav",
    "narrator_enabled": "false",
    "narrator_voice_gen": "fake",
    "text_not_inside": "narrator",
    "language": "en",
    "output_file_name": "st_output",
    "output_file_timestamp": "true",
    "autoplay": "false",
    "autoplay_volume": "0.8",
}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving() as served:
        yield served


async def test_engine_is_ready_and_described(served: Served) -> None:
    await served.services.wait_for_engine()
    ready = await served.client.get("/api/ready")
    voices = await served.client.get("/api/voices")
    settings = await served.client.get("/api/currentsettings")

    assert ready.text == "Ready"
    assert {"default", "fake", "other"} <= set(voices.json()["voices"])
    names = [model["model_name"] for model in settings.json()["models_available"]]
    assert settings.json()["current_model_loaded"] in names


async def test_speech_is_kept_and_its_address_told(served: Served) -> None:
    answer = await served.client.post("/api/tts-generate", data=FORM)

    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "generate-success"
    sound = await served.client.get(answer.json()["output_file_url"])
    assert sound.headers["content-type"] == "audio/wav"
    assert {utterance.voice for utterance in served.engine.utterances} == {"other"}


async def test_narrator_speaks_what_is_between_asterisks(served: Served) -> None:
    await served.client.post("/api/tts-generate", data={**FORM, "narrator_enabled": "true"})

    spoken = [(each.voice, each.text) for each in served.engine.utterances]
    assert spoken == [
        ("fake", "She looks up."),
        ("other", '"Who is there?"'),
        ("fake", "Silence."),
    ]


async def test_stream_is_sound_as_it_is_made(served: Served) -> None:
    query = {"text": "Hello.", "voice": "other", "language": "en", "output_file": "x.wav"}
    answer = await served.client.get("/api/tts-generate-streaming", params=query)

    assert answer.headers["content-type"] == "audio/wav"
    assert served.engine.utterances[-1].voice == "other"


async def test_voice_is_previewed(served: Served) -> None:
    answer = await served.client.post("/api/previewvoice/", data={"voice": "other"})

    assert (await served.client.get(answer.json()["output_file_url"])).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"character_voice_gen": "nobody.wav"}, 404),
        ({"character_voice_gen": "a/b.wav"}, 422),
        ({"narrator_enabled": "perhaps"}, 422),
        ({"text_input": ""}, 422),
        ({"language": "tlh"}, 400),
    ],
)
async def test_wrong_field_is_refused(served: Served, wrong: dict[str, str], status: int) -> None:
    refused = await served.client.post("/api/tts-generate", data={**FORM, **wrong})

    assert refused.status_code == status
    assert isinstance(refused.json()["detail"], str)


@pytest.mark.parametrize(
    ("text", "outside", "turns"),
    [
        ("plain", "character", "<|speaker:0|>plain\n"),
        ("plain", "narrator", "<|speaker:1|>plain\n"),
        ("a *b* c", "silent", "<|speaker:1|>b\n"),
        ("*b* “d” e", "narrator", "<|speaker:1|>b\n<|speaker:0|>“d”\n<|speaker:1|>e\n"),
        ("**b** *", "character", "<|speaker:1|>b\n<|speaker:0|>*\n"),
    ],
)
def test_turns_are_marked(text: str, outside: str, turns: str) -> None:
    assert mark_turns(text, outside=outside) == turns  # type: ignore[arg-type]


def test_narrator_can_be_left_out() -> None:
    assert mark_turns('*b* "d" e', outside="character", leaves_out_narrator=True) == '"d"\ne'
