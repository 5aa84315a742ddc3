"""What the API page shows for OpenAI's operations."""

from fishs2.server.examples import TEXT, Example

_MODEL = {"id": "fishs2", "object": "model", "created": 0, "owned_by": "fishs2"}
_SPEECH = {"model": "fishs2", "input": TEXT, "voice": "default", "response_format": "mp3"}
_TRANSCRIPTION = {"model": "whisper-1", "language": "en", "response_format": "verbose_json"}

EXAMPLES = {
    ("post", "/v1/audio/speech"): Example(body=_SPEECH),
    ("get", "/v1/audio/speech"): Example(given=_SPEECH),
    ("post", "/v1/text/preview"): Example(body=_SPEECH),
    ("post", "/v1/audio/transcriptions"): Example(body=_TRANSCRIPTION),
    ("post", "/v1/audio/translations"): Example(body={"model": "whisper-1"}),
    ("get", "/v1/models"): Example(answer={"object": "list", "data": [_MODEL]}),
    ("get", "/v1/audio/models"): Example(
        answer={"object": "list", "data": [_MODEL], "models": [_MODEL]}
    ),
    ("get", "/v1/models/{model_id}"): Example(given={"model_id": "fishs2"}),
}
