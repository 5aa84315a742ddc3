"""Pauses in a text as clients hear them: exact to the sample, on every engine."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from fishs2.engines.espeak.engine import BuiltinEngine
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine.engine import S2Engine
from tests.engines.s2.golden import MODEL_FILES
from tests.fakes import FakeEngine
from tests.serving import Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

EFFECTS: dict[str, Any] = {
    "plain": {},
    "fast": {"speed": 1.7},
    "loud": {"prosody": {"volume": 9, "normalize_loudness": True}},
    "another rate": {"sample_rate": 16_000},
    "all": {
        "speed": 0.8,
        "prosody": {"volume": -3, "normalize_loudness": True},
        "sample_rate": 32_000,
    },
}
RATES_HZ = {"fake": 24_000, "builtin": 22_050, "s2": 44_100}


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=list(RATES_HZ))
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    match request.param:
        case "fake":
            engine: Any = FakeEngine()
        case "builtin":
            engine = BuiltinEngine(num_workers=1)
        case _:
            engine = S2Engine(MODEL_FILES, Precision())
    async with serving(engine) as server:
        yield server


async def speak(served: Served, text: str, **fields: object) -> httpx.Response:
    body = {
        "model": "fishs2",
        "input": text,
        "response_format": "pcm",
        "fishs2": {"temperature": 0, "max_new_tokens": 13},
        "seed": 1,
        "sample_rate": rate_of(served, {}),
        **fields,
    }
    return await served.client.post("/v1/audio/speech", json=body)


async def hear(served: Served, text: str, **fields: object) -> np.ndarray:
    answer = await speak(served, text, **fields)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2")


def rate_of(served: Served, fields: dict[str, Any]) -> int:
    rate_hz: int = fields.get("sample_rate", served.engine.capabilities.sample_rate_hz)
    return rate_hz


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_pauses_are_exact_to_the_sample(served: Served, effects: str, stream: bool) -> None:
    fields = {**EFFECTS[effects], "stream": stream}
    rate_hz = rate_of(served, fields)

    plain = await hear(served, "Hello there.", **fields)
    before = await hear(served, "[pause:1.003s]Hello there.", **fields)
    after = await hear(served, "Hello there. [pause:777ms] [pause]", **fields)
    short = await hear(served, "Hello [pause:0.1s] there.", **fields)
    long = await hear(served, "Hello [pause:2s][pause:123ms] there.", **fields)

    num_before, num_after = round(1.003 * rate_hz), round(1.377 * rate_hz)
    assert len(before) - len(plain) == num_before
    assert not np.any(before[:num_before])
    assert len(after) - len(plain) == num_after
    assert not np.any(after[len(after) - num_after :])
    assert len(long) - len(short) == round(2.123 * rate_hz) - round(0.1 * rate_hz)


async def test_speech_around_a_pause_is_as_without(served: Served) -> None:
    rate_hz = rate_of(served, {})

    short = await hear(served, "Hello [pause:0.1s] there.")
    long = await hear(served, "Hello [pause:2s] there.")

    num_more = round(2 * rate_hz) - round(0.1 * rate_hz)
    begins = int(np.flatnonzero(long[: len(short)] != short)[0])
    assert np.array_equal(np.delete(long, slice(begins, begins + num_more)), short)


async def test_wishes_for_pauses_are_exact_at_any_speed(served: Served) -> None:
    rate_hz = rate_of(served, {})
    text = "One two three.\n\nFour five six."

    short = await hear(served, text, speed=1.5, pause_paragraph=0.5)
    long = await hear(served, text, speed=1.5, pause_paragraph=3)

    assert len(long) - len(short) == round(3 * rate_hz) - round(0.5 * rate_hz)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Hi [pause:10.5s] there.", "pause_too_long"),
        ("Hi [pause:abc] there.", "invalid_pause"),
        ("Hi [pause:-1s] there.", "invalid_pause"),
        ("[pause:1s]", "empty_input"),
        ("Hi" + "[pause:10s]" * 61, "pause_too_long"),
    ],
)
async def test_what_cannot_be_is_refused(served: Served, text: str, code: str) -> None:
    answer = await speak(served, text)

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == code


async def test_the_preview_shows_pauses(served: Served) -> None:
    text = "[pause:1s]One two. [pause:2s] Three four.\n\nFive six."
    body = {"model": "fishs2", "input": text, "pause_paragraph": 4}

    answer = await served.client.post("/v1/text/preview", json=body)

    shown = [
        (each.get("pause_before"), each["pause_after"]) for each in answer.json()["utterances"]
    ]
    assert shown == [(1.0, 2.0), (None, 4.0), (None, 0.0)]


async def test_a_cast_takes_turns(served: Served) -> None:
    voices = served.engine.capabilities.voices or ("default",)
    text = "It was late.\n[Tom] Hello. [pause:1s] Who is there?\nAnn: It is me."
    body = {
        "model": "fishs2",
        "input": text,
        "voice": voices[0],
        "cast": {"Tom": voices[-1], "Ann": {"id": voices[0]}},
    }

    answer = await served.client.post("/v1/text/preview", json=body)

    assert answer.status_code == 200, answer.text
    shown = [(each["text"], each["voice"]) for each in answer.json()["utterances"]]
    assert [text for text, _ in shown] == [
        "It was late.",
        "Hello.",
        "Who is there?",
        "It is me.",
    ]
    assert len({voice for _, voice in shown}) == len({voices[0], voices[-1]})


@pytest.mark.parametrize(
    ("text", "cast", "status", "code"),
    [
        ("[Bob] Hi.", {"Tom": "default"}, 422, "unknown_speaker"),
        ("Tom: Hi.", {"Tom": "no-such-voice"}, 404, "voice_not_found"),
        ("Tom: Hi.", {"Tom": {}}, 422, "invalid_cast"),
        ("Tom: Hi.", {"Tom": "default", "tom": "default"}, 422, "invalid_cast"),
    ],
)
async def test_a_cast_that_cannot_be_is_refused(
    served: Served, text: str, cast: dict[str, object], status: int, code: str
) -> None:
    answer = await speak(served, text, cast=cast)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
