"""The Python SDK of ElevenLabs against a server process."""

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
from elevenlabs import VoiceSettings
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError

from fishs2.audio.decode import decode_audio
from fishs2.audio.pcm import from_int16
from tests.server.recorded import Recorded, sine_wav

TEXT = "Hello from your own machine."


def test_whole_speech_has_the_voice_the_manner_and_the_format(
    sdk: ElevenLabs, server: Recorded
) -> None:
    settings = VoiceSettings(stability=0.25, similarity_boost=0.5, speed=1.0)
    audio = b"".join(
        sdk.text_to_speech.convert(
            "alice",
            text=TEXT,
            model_id="eleven_multilingual_v2",
            output_format="wav_16000",
            voice_settings=settings,
            language_code="de",
            seed=7,
        )
    )

    assert decode_audio(audio, max_seconds=60).sample_rate_hz == 16_000
    asked = server.asked()
    assert asked["text"] == TEXT
    assert (asked["sampling"]["temperature"], asked["sampling"]["seed"]) == (0.75, 7)


def test_stream_is_the_default_format(sdk: ElevenLabs) -> None:
    audio = b"".join(sdk.text_to_speech.stream("default", text=TEXT))

    decoded = decode_audio(audio, max_seconds=60)
    assert decoded.sample_rate_hz == 44_100
    assert len(decoded.pcm)


@pytest.mark.parametrize("voice_id", ["default", "-", "Alice"])
def test_voices_are_found_by_name(sdk: ElevenLabs, voice_id: str) -> None:
    assert b"".join(sdk.text_to_speech.stream(voice_id, text=TEXT))


def test_telephone_sound_is_as_long_as_others(sdk: ElevenLabs) -> None:
    ulaw, alaw, pcm = (
        b"".join(sdk.text_to_speech.stream("default", text=TEXT, output_format=name, seed=1))
        for name in ("ulaw_8000", "alaw_8000", "pcm_8000")
    )

    assert len(ulaw) == len(alaw) == len(pcm) // 2
    assert np.abs(from_int16(np.frombuffer(pcm, np.int16))).max() > 0.1


def test_answer_names_what_has_no_effect_and_what_it_cost(server: Recorded) -> None:
    answer = server.client.post(
        "/v1/text-to-speech/default/stream?optimize_streaming_latency=4",
        json={
            "text": TEXT,
            "voice_settings": {"style": 0.5, "stability": None},
            "previous_text": "Before.",
            "apply_text_normalization": "off",
            "pronunciation_dictionary_locators": [],
        },
    )

    ignored = set(answer.headers["x-fishs2-ignored"].split(", "))
    assert {"style", "previous_text", "apply_text_normalization"} <= ignored
    assert not {"stability", "pronunciation_dictionary_locators", "temperature"} & ignored
    assert answer.headers["character-cost"] == str(len(TEXT))
    assert answer.headers["content-type"] == "audio/mpeg"


def test_live_speech_is_heard_to_its_end(sdk: ElevenLabs) -> None:
    def words() -> Iterator[str]:
        yield from ("Hello there. ", "How are you today? ", "Fine, thank you.")

    heard = b"".join(
        sdk.text_to_speech.convert_realtime(
            "alice",
            text=words(),
            output_format="pcm_24000",
            voice_settings=VoiceSettings(stability=0.5, speed=1.0),
        )
    )

    assert len(heard) > 24_000


def test_live_speech_of_nobody_raises(sdk: ElevenLabs) -> None:
    with pytest.raises(ApiError) as raised:
        list(sdk.text_to_speech.convert_realtime("nobody", text=iter(["Hello."])))

    assert raised.value.status_code == 1008


def test_voice_is_added_found_spoken_and_deleted(sdk: ElevenLabs, server: Recorded) -> None:
    added = sdk.voices.ivc.create(
        name="Bob",
        files=[("bob.wav", io.BytesIO(sine_wav()), "audio/wav")],
        description="Calm.",
        labels={"accent": "British"},
    )
    try:
        assert added.requires_verification is False
        found = sdk.voices.get(added.voice_id)
        assert (found.name, found.category, found.description) == ("Bob", "cloned", "Calm.")
        assert found.labels == {"accent": "British"}
        listed = sdk.voices.get_all().voices
        assert {"alice", added.voice_id} <= {voice.voice_id for voice in listed}
        searched = sdk.voices.search(search="bob", page_size=1)
        assert [voice.voice_id for voice in searched.voices] == [added.voice_id]
        assert (searched.total_count, searched.has_more) == (1, False)
        assert sdk.voices.settings.get(added.voice_id).stability is not None
    finally:
        sdk.voices.delete(added.voice_id)
    with pytest.raises(ApiError) as raised:
        sdk.voices.get(added.voice_id)
    assert (raised.value.status_code, raised.value.body["detail"]["status"]) == (
        404,
        "voice_not_found",
    )


def test_pages_of_voices_follow_each_other(sdk: ElevenLabs) -> None:
    seen: list[str] = []
    token = None
    while True:
        page = sdk.voices.search(page_size=1, next_page_token=token)
        seen += [voice.voice_id for voice in page.voices]
        token = page.next_page_token
        if not page.has_more:
            break

    assert len(seen) == len(set(seen)) == page.total_count
    assert {"alice", "default"} <= set(seen)


def test_preview_can_be_heard(sdk: ElevenLabs, server: Recorded) -> None:
    preview = sdk.voices.get("alice").preview_url

    assert preview is not None
    assert server.client.get(preview).content[:4] == b"RIFF"


def test_settings_of_voices_are_read_and_not_kept(sdk: ElevenLabs) -> None:
    assert sdk.voices.settings.get_default().speed == 1.0
    with pytest.raises(ApiError) as raised:
        sdk.voices.settings.update("alice", request=VoiceSettings(stability=0.5))

    assert raised.value.status_code == 501


def test_model_speaks_languages(sdk: ElevenLabs) -> None:
    models = sdk.models.list()

    assert models[0].can_do_text_to_speech
    assert models[0].model_id
    audio = sdk.text_to_speech.stream("default", text=TEXT, model_id=models[0].model_id)
    assert b"".join(audio)


def test_user_has_a_subscription(sdk: ElevenLabs) -> None:
    user = sdk.user.get()

    assert user.subscription.status == "active"
    # The SDK for JavaScript refuses answers without these.
    assert (user.workspace_id, user.seat_type) == ("default", "workspace_admin")
    subscription = sdk.user.subscription.get()
    assert (subscription.voice_add_edit_counter, subscription.open_invoices) == (0, [])
    assert (subscription.tier, subscription.character_count) == ("unlimited", 0)


def test_list_of_voices_serves_clients_of_others_too(server: Recorded) -> None:
    for headers in ({}, {"xi-api-key": "any"}):
        body = server.client.get("/v1/voices", headers=headers).json()
        assert body["object"] == "list"
        assert {"id", "name", "voice_id", "category", "labels", "preview_url"} == set(
            body["voices"][0]
        )


def test_key_header_decides_whose_models_are_meant(server: Recorded) -> None:
    theirs = server.client.get("/v1/models", headers={"xi-api-key": "any"})
    ours = server.client.get("/v1/models")

    assert isinstance(theirs.json(), list)
    assert ours.json()["object"] == "list"
    assert json.dumps(theirs.json()).count("model_id") == len(ours.json()["data"])
