"""What the API page shows for OpenAI's operations."""

from fishs2.server.examples import TEXT, Example

_MODEL = {"id": "fishs2", "object": "model", "created": 0, "owned_by": "fishs2"}
_SPEECH = {"model": "fishs2", "input": TEXT, "voice": "default", "response_format": "mp3"}
_TRANSCRIPTION = {"model": "whisper-1", "language": "en", "response_format": "verbose_json"}
_CONSENT = {
    "id": "cons_18a7d2f0c3b1e400a1b2c3d4",
    "object": "audio.voice_consent",
    "name": "Ada's consent",
    "language": "en-US",
    "created_at": 1767225600,
}
_CONSENTS = "/v1/audio/voice_consents"
_THIS_CONSENT = {"consent_id": _CONSENT["id"]}

EXAMPLES = {
    ("post", "/v1/audio/speech"): Example(body=_SPEECH),
    ("get", "/v1/audio/speech"): Example(given=_SPEECH),
    ("post", "/dev/captioned_speech"): Example(body=_SPEECH),
    ("post", "/v1/text/preview"): Example(body=_SPEECH),
    ("post", "/v1/audio/transcriptions"): Example(body=_TRANSCRIPTION),
    ("post", "/v1/audio/translations"): Example(body={"model": "whisper-1"}),
    ("get", _CONSENTS): Example(
        answer={
            "object": "list",
            "data": [_CONSENT],
            "first_id": _CONSENT["id"],
            "last_id": _CONSENT["id"],
            "has_more": False,
        }
    ),
    ("post", _CONSENTS): Example(
        body={"name": _CONSENT["name"], "language": _CONSENT["language"]}, answer=_CONSENT
    ),
    ("get", f"{_CONSENTS}/{{consent_id}}"): Example(given=_THIS_CONSENT, answer=_CONSENT),
    ("post", f"{_CONSENTS}/{{consent_id}}"): Example(
        given=_THIS_CONSENT, body={"name": _CONSENT["name"]}, answer=_CONSENT
    ),
    ("delete", f"{_CONSENTS}/{{consent_id}}"): Example(given=_THIS_CONSENT),
    ("get", "/v1/models"): Example(answer={"object": "list", "data": [_MODEL]}),
    ("get", "/v1/audio/models"): Example(
        answer={"object": "list", "data": [_MODEL], "models": [_MODEL]}
    ),
    ("get", "/v1/models/{model_id}"): Example(given={"model_id": "fishs2"}),
}
