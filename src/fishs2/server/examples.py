"""What the API page shows for each operation: values that work as they are.

Voices that ship and names of the model make requests; `my-voice` stands for one that was uploaded.
"""

from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

_TEXT = "Hello from your own machine."
_VOICE = "sample_male"
_OWN = "my-voice"
_SPOKEN = "The window was open, granted, but the room is on the second floor."
_MODEL = {"id": "fishs2", "object": "model", "created": 0, "owned_by": "fishs2"}
_STORED = {
    "object": "list",
    "data": [
        {
            "voice_id": _OWN,
            "id": _OWN,
            "name": "My voice",
            "object": "voice",
            "files": [{"filename": "sample.wav", "size": 264644}],
            "created": 1767225600,
            "model": None,
            "language": "en",
            "prompt_text": _SPOKEN,
        }
    ],
    "voices": [{"id": _OWN, "name": "My voice"}],
    "uploaded_voices": [
        {"name": _OWN, "created_at": 1767225600, "file_size": 264644, "ref_text": _SPOKEN}
    ],
}
_PROFILE = {
    "user_id": "anonymous",
    "api_quota_remaining": 999999999,
    "tier": "enterprise",
    "credits": 999999999,
    "usage_today": {"requests": 3, "characters": 84, "audio_seconds": 6.2, "errors": 0},
}
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


@dataclass(frozen=True, slots=True)
class Example:
    """Of one operation. given: values of its parameters by name; answer: where nothing is sent."""

    given: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    answer: Any = None


_SPEECH = {"model": "fishs2", "input": _TEXT, "voice": "default", "response_format": "mp3"}
_UPLOAD = Example(body={"voice_id": _OWN, "name": "My voice", "prompt_text": _SPOKEN})
_FISH_SPEECH = Example(body={"text": _TEXT, "reference_id": "default", "format": "mp3"})

EXAMPLES: dict[tuple[str, str], Example] = {
    ("post", "/v1/audio/speech"): Example(body=_SPEECH),
    ("get", "/v1/audio/speech"): Example(given=_SPEECH),
    ("get", "/v1/models"): Example(answer={"object": "list", "data": [_MODEL]}),
    ("get", "/v1/audio/models"): Example(
        answer={"object": "list", "data": [_MODEL], "models": [_MODEL]}
    ),
    ("get", "/v1/models/{model_id}"): Example(given={"model_id": "fishs2"}),
    **{
        ("get", path): Example(answer=_STORED)
        for path in ("/v1/audio/voices", "/v1/voices", "/v1/files")
    },
    ("post", "/v1/audio/voices"): _UPLOAD,
    ("post", "/v1/files"): _UPLOAD,
    ("delete", "/v1/voices/{voice_id}"): Example(given={"voice_id": _OWN}),
    ("delete", "/v1/audio/voices/{voice_id}"): Example(given={"voice_id": _OWN}),
    ("post", "/api/open/tts"): Example(
        body={"reference_id": "default", "text": _TEXT, "format": "mp3"}
    ),
    ("post", "/api/open/list-models"): Example(body={"modelType": "all", "page": 1}),
    ("post", "/api/open/create-model"): Example(body={"name": "My voice", "prompt_text": _SPOKEN}),
    ("post", "/api/open/delete-model"): Example(body={"modelId": _OWN}),
    ("get", "/api/open/profile"): Example(answer=_PROFILE),
    ("post", "/api/open/profile"): Example(answer=_PROFILE),
    ("post", "/v1/tts"): _FISH_SPEECH,
    ("post", "/v1/tts/stream/with-timestamp"): _FISH_SPEECH,
    ("get", "/model"): Example(given={"page_size": 10, "page_number": 1}),
    ("post", "/model"): Example(body={"title": "My voice", "texts": [_SPOKEN]}),
    ("get", "/model/{model_id}"): Example(given={"model_id": _VOICE}),
    ("patch", "/model/{model_id}"): Example(
        given={"model_id": _OWN}, body={"title": "My voice", "tags": ["calm"]}
    ),
    ("delete", "/model/{model_id}"): Example(given={"model_id": _OWN}),
    ("get", "/model/{model_id}/cover"): Example(given={"model_id": _OWN}),
    ("get", "/wallet/self/api-credit"): Example(answer=_CREDIT),
    ("get", "/wallet/self/package"): Example(answer=_PACKAGE),
    ("post", "/v1/asr"): Example(),
    ("post", "/v1/references/add"): Example(body={"id": _OWN, "text": _SPOKEN}),
    ("get", "/v1/references/list"): Example(
        answer={"success": True, "reference_ids": [_OWN], "message": "1 found"}
    ),
    ("delete", "/v1/references/delete"): Example(body={"reference_id": _OWN}),
    ("post", "/v1/references/update"): Example(
        body={"old_reference_id": _OWN, "new_reference_id": "my-other-voice"}
    ),
    ("post", "/v1/vqgan/encode"): Example(body={}),
    ("post", "/v1/vqgan/decode"): Example(body={"tokens": [[[0, 1, 2]] * 10]}),
    ("get", "/clips/{name}"): Example(given={"name": "0123456789abcdef.mp3"}),
    ("get", "/health"): Example(answer={"status": "ok", "ready": True, "engine": "builtin"}),
    ("get", "/metrics"): Example(answer="fishs2_requests_total 3.0"),
    ("get", "/v1/health"): Example(answer={"status": "ok"}),
    ("post", "/v1/health"): Example(answer={"status": "ok"}),
}


def show_examples(app: FastAPI) -> None:
    """Put the examples on the page that describes `app`."""
    build = app.openapi

    def build_with_examples() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        page = build()
        if is_new:
            for (method, path), example in EXAMPLES.items():
                _show(page["paths"][path][method], example)
        return page

    app.openapi = build_with_examples  # type: ignore[method-assign]


def _show(operation: dict[str, Any], example: Example) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in example.given:
            parameter["example"] = example.given[parameter["name"]]
    content = operation.get("requestBody", {}).get("content", {})
    if example.body is not None:
        # MessagePack has no text form that a page could show and send.
        operation["requestBody"]["content"] = {
            kind: described if "msgpack" in kind else {**described, "example": example.body}
            for kind, described in content.items()
        }
    if example.answer is not None:
        answer = operation["responses"]["200"]["content"]
        for described in answer.values():
            described["example"] = example.answer
