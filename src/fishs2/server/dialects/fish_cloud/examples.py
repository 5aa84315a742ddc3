"""What the API page shows for the operations of Fish Audio's cloud."""

from fishs2.server.examples import OWN_VOICE, SPOKEN, TEXT, VOICE, Example

_DATES = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
_CREDIT = {
    "_id": "anonymous-credit",
    "user_id": "anonymous",
    "credit": "999999999",
    "cumulative_top_up": "999999999",
    "has_phone_sha256": False,
    "has_free_credit": False,
    **_DATES,
}
_PACKAGE = {
    "_id": "anonymous-package",
    "user_id": "anonymous",
    "type": "unlimited",
    "total": 999999999,
    "balance": 999999999,
    "finished_at": "",
    **_DATES,
}
_FISH_SPEECH = Example(body={"text": TEXT, "reference_id": "default", "format": "mp3"})

SPEECH_EXAMPLES = {
    ("post", "/v1/tts"): _FISH_SPEECH,
    ("post", "/v1/tts/stream/with-timestamp"): _FISH_SPEECH,
}

EXAMPLES = {
    ("get", "/model"): Example(given={"page_size": 10, "page_number": 1}),
    ("post", "/model"): Example(body={"title": "My voice", "texts": [SPOKEN]}),
    ("get", "/model/{model_id}"): Example(given={"model_id": VOICE}),
    ("patch", "/model/{model_id}"): Example(
        given={"model_id": OWN_VOICE}, body={"title": "My voice", "tags": ["calm"]}
    ),
    ("delete", "/model/{model_id}"): Example(given={"model_id": OWN_VOICE}),
    ("get", "/model/{model_id}/cover"): Example(given={"model_id": OWN_VOICE}),
    ("get", "/wallet/self/api-credit"): Example(answer=_CREDIT),
    ("get", "/wallet/self/package"): Example(answer=_PACKAGE),
    ("post", "/v1/asr"): Example(body={"language": "en", "ignore_timestamps": False}),
}
