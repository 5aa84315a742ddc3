"""Lexicons over HTTP, and what they change in what is spoken."""

import httpx
import pytest

from tests.serving import PATIENCE_S


def call(server: str, method: str, name: str, body: object = None) -> httpx.Response:
    path = f"{server}/v1/lexicons{name}"
    return httpx.request(method, path, json=body, timeout=PATIENCE_S)


def said(server: str, text: str, **fields: object) -> str:
    body = {"model": "tts-1", "input": text, "voice": "en-us", **fields}
    answer = httpx.post(f"{server}/v1/text/preview", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return " ".join(each["text"] for each in answer.json()["utterances"])


def test_a_lexicon_is_stored_used_and_deleted(builtin_server: str) -> None:
    words = {"words": [{"word": "GIF", "say": "jif"}]}

    put = call(builtin_server, "PUT", "/My%20Words", words)
    assert put.status_code == 200, put.text
    full = {"regex": None, "ipa": None, "language": None, "case": "any"}
    assert put.json() == {"name": "my-words", "words": [{**words["words"][0], **full}]}
    assert call(builtin_server, "GET", "/my-words").json() == put.json()
    listed = call(builtin_server, "GET", "").json()["data"]
    assert {"name": "my-words", "num_words": 1} in listed
    assert said(builtin_server, "A GIF", lexicons=["my-words"]) == "A jif"
    assert said(builtin_server, "A GIF") == "A GIF"
    gone = call(builtin_server, "DELETE", "/my-words")
    assert gone.json() == {"deleted": True, "name": "my-words"}
    assert call(builtin_server, "GET", "/my-words").status_code == 404


def test_the_default_and_the_voice_s_lexicon_act_unasked(builtin_server: str) -> None:
    for name, say in (("default", "one"), ("voice-en-us", "two")):
        call(builtin_server, "PUT", f"/{name}", {"words": [{"word": "Zyx", "say": say}]})
    try:
        assert said(builtin_server, "Zyx") == "two"
        assert said(builtin_server, "Zyx", voice="de") == "one"
    finally:
        for name in ("default", "voice-en-us"):
            call(builtin_server, "DELETE", f"/{name}")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"lexicons": ["nothing"]}, 404, "lexicon_not_found"),
        ({"lexicons": ["x"] * 17}, 422, "too_many_lexicons"),
        ({"lexicons": [" "]}, 422, "invalid_lexicon_name"),
        ({"pronunciations": [{"word": "a"}]}, 422, "invalid_pronunciation"),
        ({"pronunciations": [{"regex": "(", "say": "a"}]}, 422, "invalid_pronunciation"),
        ({"pronunciations": [{"word": 1}]}, 422, "validation_error"),
    ],
)
def test_what_cannot_be_is_refused(
    builtin_server: str, fields: dict[str, object], status: int, code: str
) -> None:
    body = {"model": "tts-1", "input": "Hi.", "voice": "en-us", **fields}
    answer = httpx.post(f"{builtin_server}/v1/audio/speech", json=body, timeout=PATIENCE_S)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("/x", {"words": [{"say": "a"}]}, 422, "invalid_pronunciation"),
        ("/x", {}, 422, "validation_error"),
        ("/%20", {"words": []}, 422, "invalid_lexicon_name"),
        (f"/{'a' * 201}", {"words": []}, 422, "invalid_lexicon_name"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    builtin_server: str, name: str, body: object, status: int, code: str
) -> None:
    answer = call(builtin_server, "PUT", name, body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_name_is_no_path(builtin_server: str) -> None:
    put = call(builtin_server, "PUT", "/..%2F..%2Fx", {"words": []})

    assert put.json()["name"] == "x"
    call(builtin_server, "DELETE", "/x")


def test_replaced_words_are_shown_with_their_places(builtin_server: str) -> None:
    body = {
        "model": "tts-1",
        "input": "One **GIF** of v2.",
        "voice": "en-us",
        "text_cleaning": "markdown",
        "pronunciations": [
            {"word": "GIF", "say": "jif"},
            {"regex": "v([0-9]+)", "say": "version \\1"},
        ],
    }
    shown = httpx.post(f"{builtin_server}/v1/text/preview", json=body, timeout=PATIENCE_S).json()

    assert shown["utterances"][0]["text"] == "One jif of version 2."
    assert {"start": 15, "end": 17, "say": "version 2"} in shown["replaced"]


def test_ipa_is_shown_and_said(builtin_server: str) -> None:
    ipa = [{"word": "Worcester", "ipa": "ˈwʊstə"}]
    assert said(builtin_server, "In Worcester.", pronunciations=ipa) == "In /ˈwʊstə/."

    body = {"model": "tts-1", "input": "In Worcester.", "voice": "en-us", "pronunciations": ipa}
    answer = httpx.post(f"{builtin_server}/v1/audio/speech", json=body, timeout=PATIENCE_S)
    assert answer.status_code == 200
    assert "X-Fishs2-Ignored" not in answer.headers
