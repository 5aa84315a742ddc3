"""Errors below Fish Audio's paths are `{status, message}`: its clients crash on anything else."""

import json
from http import HTTPStatus

import httpx
import pytest

from fishs2.errors import (
    BusyError,
    EngineError,
    EngineUnavailableError,
    Fishs2Error,
    ForbiddenError,
    NotFoundError,
    QuotaError,
    StoreUnavailableError,
    UnauthorizedError,
    UserError,
)
from fishs2.server.app import DIALECTS
from fishs2.server.dialects.fish_cloud.errors import FishErrorBody
from fishs2.server.edge.errors import describe_error
from tests.serving import serving

UNKNOWN = NotFoundError("no voice", code="voice_not_found", param="voice")


def check_fish_error(answer: httpx.Response, status: int) -> str:
    """Assert the one shape; returns the message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert set(body) == {"status", "message"}
    assert body["status"] == status
    assert isinstance(body["message"], str)
    assert body["message"]
    return str(body["message"])


@pytest.mark.parametrize(
    ("path", "error", "status"),
    [
        ("/v1/tts", UserError("wrong", code="invalid_parameter", param="text"), 400),
        ("/v1/tts", UserError("wrong", code="missing_prompt_text"), 400),
        ("/v1/tts", UserError("wrong", code="invalid_audio"), 400),
        ("/v1/tts", UNKNOWN, 400),
        ("/v1/tts/stream/with-timestamp", UNKNOWN, 400),
        ("/model/x", UNKNOWN, 404),
        ("/v1/references/delete", UNKNOWN, 404),
        ("/model", UnauthorizedError("no key", code="invalid_token"), 401),
        ("/model", ForbiddenError("no", code="missing_scope"), 403),
        ("/v1/tts", BusyError("full", retry_after_s=3), 429),
        ("/v1/tts", QuotaError("spent", retry_after_s=None, code="insufficient_quota"), 402),
        ("/v1/tts", EngineError("broke"), 500),
        ("/v1/tts", EngineUnavailableError("broke"), 503),
        ("/wallet/self/package", StoreUnavailableError("broke"), 503),
    ],
)
def test_error_is_status_and_message(path: str, error: Fishs2Error, status: int) -> None:
    answer = DIALECTS.error_answer(path, describe_error(error))

    body = json.loads(bytes(answer.body))
    assert answer.status_code == status
    assert body == {"status": status, "message": body["message"]}
    assert body["message"]
    if status == HTTPStatus.UNAUTHORIZED:
        assert answer.headers["www-authenticate"] == "Bearer"
    if isinstance(error, BusyError) and error.retry_after_s:
        assert answer.headers["retry-after"] == "3"


def is_fish_path(path: str) -> bool:
    return DIALECTS.of(path).error_body is FishErrorBody


@pytest.mark.parametrize(
    "root",
    [
        "/v1/tts",
        "/v1/health",
        "/model",
        "/wallet",
        "/v1/asr",
        "/v1/references",
        "/v1/vqgan",
        "/v1/voice-design",
        "/v1/agent",
        "/v1/agents",
    ],
)
def test_path_belongs_with_everything_below_it_and_nothing_beside_it(root: str) -> None:
    assert is_fish_path(root)
    assert is_fish_path(f"{root}/x/y")
    assert not is_fish_path(f"{root}x")


def test_list_of_openai_models_is_not_a_fish_path() -> None:
    assert not any(is_fish_path(path) for path in ("/models", "/v1/models", "/models/x", "/"))


async def test_unknown_path_has_the_shape() -> None:
    async with serving() as served:
        missing = await served.client.get("/wallet/nobody")

    assert "/docs" in check_fish_error(missing, 404)
