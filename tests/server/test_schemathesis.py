"""Requests made from our own /openapi.json: the page and the server must agree."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fakes import FakeEngine
from tests.serving import make_app, make_services, make_settings

files = tempfile.TemporaryDirectory(prefix="fishs2-")
folder = Path(files.name)
made = make_settings(voices_dir=folder / "voices", data_dir=folder / "data")
app = make_app(make_services(FakeEngine(), made), made)
schema = schemathesis.openapi.from_asgi("/openapi.json", app)
speech = schemathesis.openapi.from_asgi("/openapi.json", app).include(path="/v1/audio/speech")

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
# They are the same each time, and come after those that the page's own limits give.
SETTINGS = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
answered: Counter[int] = Counter()


@speech.hook
def map_body(context: object, body: object) -> object:
    """Name a model, voice and format that exist: otherwise few requests get past them."""
    if isinstance(body, dict):
        body.update(model="fishs2", voice="fake")
        body.pop("language", None)
        if "response_format" in body:
            body["response_format"] = "wav"
        body.setdefault("input", "Hello.")
    return body


@schema.parametrize()
@SETTINGS
def test_every_answer_is_one_that_the_page_documents(case: schemathesis.Case[Any]) -> None:
    answer = case.call()

    # 501: what the fake engine has not, and the page says so.
    assert answer.status_code < 500 or answer.status_code == 501
    case.validate_response(answer, checks=CHECKS)


@speech.parametrize()
@settings(SETTINGS, max_examples=60)
def test_speech_of_generated_requests_is_as_documented(case: schemathesis.Case[Any]) -> None:
    answer = case.call()

    # 501: nothing here can hear what is to be verified.
    assert answer.status_code < 500 or answer.status_code == 501
    case.validate_response(answer, checks=CHECKS)
    answered[answer.status_code] += 1


def test_generated_requests_were_really_spoken() -> None:
    assert answered[200] > 10
