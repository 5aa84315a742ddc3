"""What the API page shows for the operations of ElevenLabs."""

from fishs2.server.examples import OWN_VOICE, TEXT, VOICE, Example

_BODY = {
    "text": TEXT,
    "model_id": "eleven_multilingual_v2",
    "voice_settings": {"stability": 0.4, "speed": 1.1},
}
_GIVEN = {"voice_id": "default", "output_format": "mp3_44100_128"}
_ROOT = "/elevenlabs/v1"
_SPEECH = f"{_ROOT}/text-to-speech/{{voice_id}}"
_SETTINGS = {
    "stability": 0.3,
    "similarity_boost": 0.75,
    "style": 0.0,
    "use_speaker_boost": True,
    "speed": 1.0,
}
_ALIGNMENT = {
    "characters": ["H", "i"],
    "character_start_times_seconds": [0.0, 0.1],
    "character_end_times_seconds": [0.1, 0.2],
}
_TIMED = {
    "audio_base64": "//uQxAAAAAAA",
    "alignment": _ALIGNMENT,
    "normalized_alignment": _ALIGNMENT,
}
_VOICE = {"voice_id": VOICE, "name": "Sample Male", "category": "cloned", "settings": _SETTINGS}
_SUBSCRIPTION = {
    "tier": "quota",
    "character_count": 1_200,
    "character_limit": 100_000,
    "status": "active",
}

EXAMPLES = {
    ("post", _SPEECH): Example(_GIVEN, _BODY),
    ("post", f"{_SPEECH}/stream"): Example(_GIVEN, _BODY),
    ("post", f"{_SPEECH}/with-timestamps"): Example(_GIVEN, _BODY, answer=_TIMED),
    ("post", f"{_SPEECH}/stream/with-timestamps"): Example(_GIVEN, _BODY),
    ("get", f"{_ROOT}/voices"): Example(answer={"voices": [_VOICE]}),
    ("get", "/elevenlabs/v2/voices"): Example(
        {"page_size": 10, "search": "sample"},
        answer={"voices": [_VOICE], "has_more": False, "total_count": 1, "next_page_token": None},
    ),
    ("post", f"{_ROOT}/voices/add"): Example(
        body={"name": OWN_VOICE, "description": "Calm.", "labels": '{"accent": "British"}'}
    ),
    ("get", f"{_ROOT}/voices/settings/default"): Example(answer=_SETTINGS),
    ("get", f"{_ROOT}/voices/{{voice_id}}"): Example({"voice_id": VOICE}, answer=_VOICE),
    ("delete", f"{_ROOT}/voices/{{voice_id}}"): Example(
        {"voice_id": OWN_VOICE}, answer={"status": "ok", "deleted": True, "id": OWN_VOICE}
    ),
    ("get", f"{_ROOT}/voices/{{voice_id}}/settings"): Example(
        {"voice_id": VOICE}, answer=_SETTINGS
    ),
    ("get", f"{_ROOT}/models"): Example(
        answer=[{"model_id": "s2-pro", "name": "s2-pro", "can_do_text_to_speech": True}]
    ),
    ("get", f"{_ROOT}/user"): Example(answer={"user_id": "k1", "subscription": _SUBSCRIPTION}),
    ("get", f"{_ROOT}/user/subscription"): Example(answer=_SUBSCRIPTION),
}
