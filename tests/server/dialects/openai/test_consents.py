"""Consents and voices as the official `openai` package stores them."""

from typing import Any

import openai
import pytest

from tests.server.recorded import Recorded, sine_wav

WAV = ("sound.wav", sine_wav(), "audio/wav")


@pytest.fixture
def client(recorded: Recorded) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{recorded.url}/v1", api_key="none", max_retries=0)


def test_a_consent_is_stored_listed_renamed_and_deleted(client: openai.OpenAI) -> None:
    consents = client.audio.voice_consents
    made = [
        consents.create(name=f"Ada {number}", language="en-US", recording=WAV)
        for number in range(3)
    ]

    assert made[0].object == "audio.voice_consent"
    assert (made[0].name, made[0].language) == ("Ada 0", "en-US")
    assert consents.retrieve(made[0].id) == made[0]
    # Two a page: the SDK asks for the next one by itself.
    assert list(consents.list(limit=2)) == made[::-1]
    renamed = consents.update(made[0].id, name="Ada L.")
    assert renamed == made[0].model_copy(update={"name": "Ada L."})
    assert consents.retrieve(made[0].id).name == "Ada L."
    for each in made:
        gone = consents.delete(each.id)
        assert (gone.id, gone.deleted, gone.object) == (each.id, True, "audio.voice_consent")
    with pytest.raises(openai.NotFoundError) as raised:
        consents.retrieve(made[0].id)
    assert raised.value.code == "consent_not_found"


def test_a_voice_keeps_the_consent_it_was_stored_with(
    client: openai.OpenAI, recorded: Recorded
) -> None:
    consent = client.audio.voice_consents.create(name="Ada", language="en", recording=WAV)

    voice = client.audio.voices.create(
        name="consented", audio_sample=WAV, consent=consent.id, type="audio_sample"
    )
    assert (voice.object, voice.type, voice.name) == ("audio.voice", "audio_sample", "consented")
    assert voice.created_at > 0
    client.audio.voice_consents.delete(consent.id)
    meta = (recorded.folder / "voices" / "consented" / "meta.json").read_text()
    assert consent.id in meta
    gone = client.audio.voices.delete(voice.id)
    assert (gone.id, gone.deleted, gone.object) == (voice.id, True, "audio.voice.deleted")


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"consent": "cons_unknown"}, 404, "consent_not_found", "consent"),
        ({"consent": "../voices"}, 404, "consent_not_found", "consent"),
        ({"type": "hologram"}, 400, "invalid_voice_type", "type"),
        ({"type": "prompt", "prompt": "An old sailor"}, 501, "not_supported", "type"),
    ],
)
def test_a_voice_that_cannot_be_is_refused_and_not_stored(
    recorded: Recorded, fields: dict[str, str], status: int, code: str, param: str
) -> None:
    answer = recorded.client.post(
        "/v1/audio/voices", files={"audio_sample": WAV}, data={"name": "refused", **fields}
    )

    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert not (recorded.folder / "voices" / "refused").exists()
    assert not set(fields.values()) & set(error["message"].split())


def test_a_prompt_voice_is_refused_with_its_reason(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError, match="does not design voices") as raised:
        client.audio.voices.create(name="sailor", type="prompt", prompt="An old sailor")

    assert raised.value.status_code == 501


@pytest.mark.parametrize(
    ("data", "content", "status", "code"),
    [
        ({"name": "Ada", "language": "en"}, b"no sound", 400, "invalid_audio"),
        ({"name": "Ada", "language": "en"}, b"", 400, "missing_files"),
        ({"name": "Ada"}, WAV[1], 422, "missing_parameter"),
        ({"name": "Ada", "language": "/etc/passwd"}, WAV[1], 422, "invalid_consent"),
    ],
)
def test_a_consent_that_cannot_be_is_refused(
    recorded: Recorded, data: dict[str, Any], content: bytes, status: int, code: str
) -> None:
    path = "/v1/audio/voice_consents"
    answer = recorded.client.post(path, files={"recording": ("a.wav", content)}, data=data)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert recorded.client.get(path).json()["data"] == []
    assert recorded.client.get(path, params={"limit": 101}).status_code == 422
