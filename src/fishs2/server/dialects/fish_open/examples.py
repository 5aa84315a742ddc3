"""What the API page shows for the open API's operations."""

from fishs2.server.examples import OWN_VOICE, SPOKEN, TEXT, Example

_PROFILE = {
    "user_id": "anonymous",
    "api_quota_remaining": 999999999,
    "tier": "enterprise",
    "credits": 999999999,
    "usage_today": {"requests": 3, "characters": 84, "audio_seconds": 6.2, "errors": 0},
}

EXAMPLES = {
    ("post", "/api/open/tts"): Example(
        body={"reference_id": "default", "text": TEXT, "format": "mp3"}
    ),
    ("post", "/api/open/list-models"): Example(body={"modelType": "all", "page": 1}),
    ("post", "/api/open/create-model"): Example(body={"name": "My voice", "prompt_text": SPOKEN}),
    ("post", "/api/open/delete-model"): Example(body={"modelId": OWN_VOICE}),
    ("get", "/api/open/profile"): Example(answer=_PROFILE),
    ("post", "/api/open/profile"): Example(answer=_PROFILE),
}
