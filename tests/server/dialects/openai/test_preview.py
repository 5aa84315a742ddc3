"""What would be spoken of a text, without speaking it."""

import itertools
from typing import Any

import httpx
import pytest

from tests.serving import PATIENCE_S

TEXT = """## Prices

* **Tea**: $5 &amp; milk
* [Cake](https://a.example/cake)

```sh
rm -rf cake
```

| Who | Age |
|-----|-----|
| Ann | 30  |

<think>Do they like tea?</think>Good *night*, 世界 😀!
"""


def preview(server: str, text: str = "Hello.", **fields: object) -> httpx.Response:
    body = {"model": "tts-1", "input": text, "voice": "en-us", **fields}
    return httpx.post(f"{server}/v1/text/preview", json=body, timeout=PATIENCE_S)


def said(server: str, text: str, **fields: object) -> dict[str, Any]:
    answer = preview(server, text, **fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_markdown_is_read_without_its_marks(builtin_server: str) -> None:
    shown = said(builtin_server, TEXT, text_cleaning="markdown")

    assert [each["text"] for each in shown["utterances"]] == [
        "Prices",
        "Tea: 5 dollars & milk.\nCake.",
        "Who: Ann, Age: 30.",
        "Good night, 世界 grinning face!",
    ]
    assert {each["voice"] for each in shown["utterances"]} == {"en-us"}
    assert [each["pause_after"] for each in shown["utterances"]] == [0.6, 0.6, 0.6, 0.0]


def test_figures_are_said_in_the_language_of_the_voice(builtin_server: str) -> None:
    text = "**3,5 %** von 12,50 €"

    shown = said(builtin_server, text, voice="de", text_cleaning="full")

    assert [each["text"] for each in shown["utterances"]] == [
        "drei Komma fünf Prozent von zwölf Euro fünfzig Cent"
    ]
    assert {"start": 0, "end": 9, "say": "drei Komma fünf Prozent"} in shown["replaced"]


@pytest.mark.parametrize("mode", ["off", "minimal", "markdown", "full"])
def test_places_are_those_of_the_text_that_was_sent(builtin_server: str, mode: str) -> None:
    shown = said(builtin_server, TEXT, text_cleaning=mode)

    starts = [each["start"] for each in shown["utterances"]]
    ends = [each["end"] for each in shown["utterances"]]
    assert (starts[0], ends[-1]) == (0, len(TEXT))
    assert starts[1:] == ends[:-1]
    spoken = {TEXT[each["start"] : each["end"]]: each["say"] for each in shown["replaced"]}
    assert spoken.get("😀", "").strip() == "grinning face"
    assert ("&amp;" in spoken) == (mode != "off")
    for before, after in itertools.pairwise(shown["replaced"]):
        assert before["end"] <= after["start"]


def test_a_text_that_is_spoken_as_it_stands_has_nothing_replaced(builtin_server: str) -> None:
    shown = said(builtin_server, "Nothing  to change. At all.")

    assert shown == {
        "utterances": [
            {"text": "Nothing to change. At all.", "voice": "en-us", "start": 0, "end": 27}
            | {"pause_after": 0.0}
        ],
        "replaced": [],
    }


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"text_cleaning": "all"}, 422, "validation_error"),
        ({"voice": "nobody"}, 404, "voice_not_found"),
        ({"input": "```\ncode\n```", "text_cleaning": "markdown"}, 422, "empty_input"),
        ({"response_format": "mp4"}, 422, "unsupported_format"),
    ],
)
def test_what_speech_refuses_is_refused(
    builtin_server: str, fields: dict[str, object], status: int, code: str
) -> None:
    answer = preview(builtin_server, **fields)  # type: ignore[arg-type]

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_speech_is_that_of_the_preview(builtin_server: str) -> None:
    plain = "Prices.\n\nTea: 5 dollars."
    bodies = [
        {"input": "# Prices.\n\n* **Tea**: $5", "text_cleaning": "markdown"},
        {"input": plain, "text_cleaning": "off"},
    ]
    sounds = [
        httpx.post(
            f"{builtin_server}/v1/audio/speech",
            json={"model": "tts-1", "voice": "en-us", "response_format": "wav", **body},
            timeout=PATIENCE_S,
        ).content
        for body in bodies
    ]
    assert sounds[0] == sounds[1]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/audio/speech", {"model": "tts-1", "voice": "en-us", "response_format": "wav"}),
        ("/v1/tts", {"format": "wav"}),
        ("/api/open/tts", {"reference_id": "default", "format": "wav"}),
        (
            "/compat/v1/audio/speech",
            {"model": "s2-pro", "voice": "default", "response_format": "wav"},
        ),
    ],
)
def test_every_dialect_cleans(builtin_server: str, path: str, fields: dict[str, object]) -> None:
    name = "input" if "speech" in path else "text"

    def speak(text: str, **more: object) -> bytes:
        body = {name: text, **fields, **more}
        answer = httpx.post(f"{builtin_server}{path}", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        return answer.content

    assert speak("**Fish** <b>&amp;</b> chips", text_cleaning="markdown") == speak("Fish & chips")


def test_speakers_are_shown_by_the_names_of_their_voices(builtin_server: str) -> None:
    shown = httpx.post(
        f"{builtin_server}/v1/text/preview",
        json={
            "model": "fishs2",
            "input": "Tom: Hello.\nAnn: Hello to you.",
            "voice": "sample_male",
            "cast": {"Tom": "sample_female", "Ann": "de"},
            "lexicons": ["default"],
        },
        timeout=PATIENCE_S,
    )

    assert shown.status_code == 200, shown.text
    voices = [each["voice"] for each in shown.json()["utterances"]]
    assert voices == ["sample_female", "de"]
