"""Every field of a body reaches the request, or is named as ignored, in every dialect."""

import base64
from typing import Any

import pytest
from pydantic import BaseModel

from fishs2.runtime import server_options
from fishs2.server.dialects.elevenlabs.body import TextToSpeech
from fishs2.server.dialects.elevenlabs.request import to_speech_request as from_elevenlabs
from fishs2.server.dialects.fish_cloud.body import SelfHostedTts, Tts
from fishs2.server.dialects.fish_cloud.request import to_speech_request as from_fish
from fishs2.server.dialects.fish_open.api import to_speech_request as from_open
from fishs2.server.dialects.fish_open.body import OpenSpeech
from fishs2.server.dialects.openai.body import SpeechBody
from fishs2.server.dialects.openai.request import to_speech_request as from_openai
from fishs2.service.speech.request import SpeechRequest
from tests.fakes import FakeEngine
from tests.serving import make_settings, serving

AUDIO = "data:audio/wav;base64," + base64.b64encode(b"RIFF").decode()
OPTIONS = server_options(make_settings())

WORDS: dict[str, object] = {
    "lexicons": ["loud"],
    "pronunciations": [{"word": "hi", "say": "high"}],
}
OPENAI: dict[str, object] = {
    "input": "Other.",
    "voice": "other",
    "instructions": "Slowly.",
    "response_format": "flac",
    "speed": 2,
    "sample_rate": 8_000,
    "language": "de",
    "fishs2": {"top_k": 3},
    "reference_audio": AUDIO,
    "prompt_audio": AUDIO,
    "ref_audio": AUDIO,
    "speaker_wav": AUDIO,
    "references": [{"audio": AUDIO, "text": "a"}],
    "reference_text": "a",
    "ref_text": "a",
    "prompt_text": "a",
    "control": "whispering",
    "temperature": 0.1,
    "top_p": 0.1,
    "top_k": 3,
    "max_new_tokens": 9,
    "repetition_penalty": 1.5,
    "seed": 3,
    "chunk_length": 100,
    "emoji": "skip",
    "text_cleaning": "off",
    "text_type": "ssml",
    "timestamps": "word",
    "captions": "srt",
    **WORDS,
    "pause_sentence": 1,
    "pause_line": 1,
    "pause_paragraph": 1,
    "latency": "low",
    "normalize": True,
    "prosody": {"volume": 3},
    "cast": {"Tom": "de"},
    "verify": True,
}
FISH: dict[str, object] = {
    "text": "Other.",
    "reference_id": "other",
    "references": [{"audio": AUDIO, "text": "a"}],
    "format": "opus",
    "sample_rate": 32_000,
    "mp3_bitrate": 64,
    "opus_bitrate": 24,
    "chunk_length": 100,
    "min_chunk_length": 0,
    "condition_on_previous_chunks": False,
    "emoji": "skip",
    "text_cleaning": "off",
    "text_type": "ssml",
    **WORDS,
    "pause_sentence": 1,
    "pause_line": 1,
    "pause_paragraph": 1,
    "latency": "low",
    "normalize": False,
    "prosody": {"volume": 3},
    "temperature": 0.1,
    "top_p": 0.1,
    "repetition_penalty": 1.5,
    "max_new_tokens": 9,
    "early_stop_threshold": 0.5,
    "seed": 3,
    "verify": True,
    "features": ["a"],
}
OPEN: dict[str, object] = {
    "text": "Other.",
    "reference_id": "other",
    "speed": 2,
    "volume": 3,
    "format": "wav",
    "emotion": "sad",
    "language": "zh",
    "emoji": "skip",
    "text_cleaning": "off",
    "text_type": "ssml",
    **WORDS,
    "pause_sentence": 1,
    "pause_line": 1,
    "pause_paragraph": 1,
}

ELEVEN: dict[str, object] = {
    "text": "Other.",
    "voice_settings": {"stability": 0.1, "speed": 2},
    "language_code": "zh",
    "seed": 3,
    "previous_text": "Before.",
    "next_text": "After.",
    "previous_request_ids": ["a"],
    "next_request_ids": ["a"],
    "pronunciation_dictionary_locators": ["a"],
    "apply_text_normalization": "on",
    "apply_language_text_normalization": True,
    "use_pvc_as_ivc": True,
}

ELSEWHERE = {
    # Answered, checked or paid for beside the speech.
    SpeechBody: {"model", "stream", "stream_format"},
    TextToSpeech: {"model_id"},
    # What it always does.
    Tts: {"streaming", "use_memory_cache"},
    SelfHostedTts: {"streaming", "use_memory_cache"},
    # The version says whether emotion and language mean anything.
    OpenSpeech: {"token", "cache", "version"},
}


def translate(body: BaseModel) -> SpeechRequest:
    if isinstance(body, SpeechBody):
        return from_openai(body, OPTIONS, "id")
    if isinstance(body, OpenSpeech):
        return from_open(body, "id")
    if isinstance(body, TextToSpeech):
        return from_elevenlabs(
            body, "default", OPTIONS, request_id="id", output_format=None, latency=None
        )
    assert isinstance(body, Tts)
    return from_fish(body, OPTIONS, "id")


@pytest.mark.parametrize(
    ("kind", "base", "values"),
    [
        (SpeechBody, {"model": "fishs2", "input": "Hi."}, OPENAI),
        (TextToSpeech, {"text": "Hi."}, ELEVEN),
        (Tts, {"text": "Hi.", "format": "mp3"}, FISH),
        (SelfHostedTts, {"text": "Hi.", "format": "mp3"}, FISH),
        (OpenSpeech, {"text": "Hi.", "reference_id": "default"}, OPEN),
        (OpenSpeech, {"text": "Hi.", "reference_id": "default", "version": "v3-hd"}, OPEN),
    ],
)
def test_every_field_of_a_body_reaches_the_request(
    kind: type[BaseModel], base: dict[str, Any], values: dict[str, object]
) -> None:
    assert values.keys() | ELSEWHERE[kind] == set(kind.model_fields)
    for field, value in values.items():
        # The bit rates of a format that is not asked for are sent by every client.
        with_format = {"format": "opus"} if field == "opus_bitrate" else {}
        plain = translate(kind.model_validate({**base, **with_format}))
        changed = translate(kind.model_validate({**base, **with_format, field: value}))
        assert changed != plain, field


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"language": "de"}, "language"),
        ({"latency": "low", "normalize": True}, "latency, normalize"),
    ],
)
async def test_answer_names_what_was_ignored(fields: dict[str, object], named: str) -> None:
    async with serving(FakeEngine()) as served:
        body = {"model": "fishs2", "input": "Hello.", **fields}
        answer = await served.client.post("/v1/audio/speech", json=body)

    assert answer.status_code == 200
    assert answer.headers["x-fishs2-ignored"] == named


@pytest.mark.parametrize(
    ("dialect", "value", "limit", "is_common"),
    [
        (SpeechBody, None, 2_048, True),
        (SpeechBody, 1_024, 1_024, False),
        (SpeechBody, 9, 9, False),
        (Tts, None, 2_048, True),
        (Tts, 1_024, 2_048, True),
        (Tts, 9, 9, False),
        (SelfHostedTts, None, 2_048, True),
        (SelfHostedTts, 1_024, 1_024, True),
        (SelfHostedTts, 0, 0, True),
        (SelfHostedTts, 9, 9, False),
    ],
)
async def test_only_a_limit_that_was_asked_for_is_the_clients_own(
    dialect: type[BaseModel], value: int | None, limit: int, is_common: bool
) -> None:
    engine = FakeEngine()
    body = {"model": "s2", "input": "Hello.", "text": "Hello.", "max_new_tokens": value}
    path = "/v1/audio/speech" if dialect is SpeechBody else "/v1/tts"
    headers = {"model": "s2-pro"} if dialect is Tts else {}
    async with serving(engine, max_new_tokens=2_048, model_aliases=("s2",)) as served:
        answer = await served.client.post(path, json=body, headers=headers)

    assert answer.status_code == 200, answer.text
    (utterance,) = engine.utterances
    assert (utterance.sampling.max_new_tokens, utterance.has_common_limit) == (limit, is_common)
