"""SSML as clients hear it, on every engine."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from fishs2.engines.espeak.engine import BuiltinEngine
from tests.fakes import FakeEngine
from tests.serving import Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["fake", "builtin"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    engine: Any = FakeEngine() if request.param == "fake" else BuiltinEngine(num_workers=1)
    async with serving(engine) as server:
        yield server


async def speak(served: Served, body: str, **fields: object) -> httpx.Response:
    given = {
        "model": "fishs2",
        "input": f"<speak>{body}</speak>",
        "text_type": "ssml",
        "response_format": "pcm",
        "sample_rate": served.engine.capabilities.sample_rate_hz,
        **fields,
    }
    return await served.client.post("/v1/audio/speech", json=given)


async def hear(served: Served, body: str, **fields: object) -> np.ndarray:
    answer = await speak(served, body, **fields)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2")


async def shown(served: Served, body: str, **fields: object) -> list[tuple[str, str]]:
    given = {"model": "fishs2", "input": f"<speak>{body}</speak>", "text_type": "ssml", **fields}
    answer = await served.client.post("/v1/text/preview", json=given)
    assert answer.status_code == 200, answer.text
    return [(each["text"], each["voice"]) for each in answer.json()["utterances"]]


def level(pcm: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(pcm.astype(float)))))


def has_languages(served: Served) -> bool:
    return "language" in served.engine.capabilities.honours


@pytest.mark.parametrize("stream", [True, False])
async def test_speech_without_markup_is_that_of_its_text(served: Served, stream: bool) -> None:
    marked = await hear(served, "\n <p>Hello\n  there.</p>\n", stream=stream)
    plain = await hear(served, "", input="Hello there.", text_type="text", stream=stream)

    assert np.array_equal(marked, plain)


@pytest.mark.parametrize("speed", [1.0, 1.7])
async def test_a_break_is_the_pause_to_the_sample(served: Served, speed: float) -> None:
    body = 'Hello <break time="1.003s"/> there.<break time="250ms"/>'
    text = "Hello [pause:1.003s] there.[pause:250ms]"

    broken = await hear(served, body, speed=speed)
    paused = await hear(served, "", input=text, text_type="text", speed=speed)

    assert np.array_equal(broken, paused)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_rate_is_the_speed_of_its_part(served: Served, stream: bool) -> None:
    async def at(rate: str) -> np.ndarray:
        body = f'<prosody rate="{rate}">Hello.</prosody><break time="1s"/>Hello there.'
        return await hear(served, body, stream=stream)

    plain, slow = await at("100%"), await at("50%")
    num_part = len(slow) - len(plain)

    assert num_part > 1_000
    for rate, speed in {"x-fast": 2.0, "+25%": 1.25, "0.8": 0.8}.items():
        changed = await at(rate)
        assert len(changed) - len(plain) == pytest.approx(num_part * (1 / speed - 1), abs=2)
        # What follows is as it is everywhere.
        assert np.array_equal(changed[-1000:], plain[-1000:])


@pytest.mark.parametrize("stream", [True, False])
async def test_a_volume_is_the_level_of_its_part(served: Served, stream: bool) -> None:
    def body(volume: str) -> str:
        return f'<prosody volume="{volume}">Hello.</prosody><break time="1s"/>Hello.'

    plain = await hear(served, body("medium"), stream=stream)
    soft = await hear(served, body("-6dB"), stream=stream)
    silent = await hear(served, body("silent"), stream=stream)

    half = (len(plain) - served.engine.capabilities.sample_rate_hz) // 2
    assert len(soft) == len(plain) == len(silent)
    assert 20 * np.log10(level(soft[:half]) / level(plain[:half])) == pytest.approx(-6, abs=0.1)
    assert np.array_equal(soft[-half + 100 :], plain[-half + 100 :])
    assert not np.any(silent[:half])


async def test_a_louder_part_is_as_the_volume_of_a_request(served: Served) -> None:
    part = await hear(served, '<prosody volume="+9dB">Hello there.</prosody>')
    whole = await hear(served, "Hello there.", prosody={"volume": 9})

    assert np.array_equal(part, whole)


async def test_a_voice_speaks_its_part(served: Served) -> None:
    voice = served.engine.capabilities.voices[-1]

    utterances = await shown(served, f'Hello. <voice name="{voice}">It is me.</voice> Bye.')

    usual = utterances[0][1]
    assert utterances == [("Hello.", usual), ("It is me.", voice), ("Bye.", usual)]


async def test_a_voice_may_be_one_of_the_cast(served: Served) -> None:
    voice = served.engine.capabilities.voices[-1]

    utterances = await shown(served, '<voice name="tom">Hi.</voice>', cast={"Tom": voice})

    assert utterances == [("Hi.", voice)]


async def test_a_language_has_its_voice_or_is_named(served: Served) -> None:
    body = 'Hello. <lang xml:lang="de">Guten Tag.</lang>'

    utterances = await shown(served, body)
    ignored = (await speak(served, body)).headers.get("x-fishs2-ignored")

    if has_languages(served):
        assert (utterances[-1], ignored) == (("Guten Tag.", "de"), None)
    else:
        assert (len({voice for _, voice in utterances}), ignored) == (1, "ssml:lang")


async def test_the_language_of_a_document_is_that_of_the_request(served: Served) -> None:
    document = '<speak xml:lang="de">Nummer <say-as interpret-as="ordinal">3</say-as></speak>'

    utterances = await shown(served, "", input=document)

    assert utterances[0][0] == "Nummer dritte"
    assert not has_languages(served) or utterances[0][1] == "de"


async def test_what_does_nothing_is_named_and_spoken(served: Served) -> None:
    body = '<audio src="a">Ding</audio> <prosody pitch="high">dong</prosody><mark name="a"/>'

    answer = await speak(served, body, text_cleaning="markdown")

    assert answer.headers["x-fishs2-ignored"] == (
        "text_cleaning, ssml:audio, ssml:prosody.pitch, ssml:mark"
    )
    assert " ".join(text for text, _ in await shown(served, body)) == "Ding dong"


async def test_without_the_field_markup_is_text(served: Served) -> None:
    given = {"model": "fishs2", "input": "Say <break/> now. <b"}

    answer = await served.client.post("/v1/text/preview", json=given)

    assert "break" in answer.json()["utterances"][0]["text"]


@pytest.mark.parametrize(
    ("given", "status", "code", "words"),
    [
        ({"input": "Hello."}, 422, "invalid_ssml", "line 1, column 1"),
        ({"input": "<speak>\n<p>Hi.</speak>"}, 422, "invalid_ssml", "line 2, column 9"),
        ({"input": "<speak><break time='11s'/>Hi</speak>"}, 422, "pause_too_long", "10 s"),
        ({"input": "<speak>" + "<break/>" * 1001 + "Hi</speak>"}, 422, "too_many_pauses", "1,000"),
        ({"input": "<speak><break/></speak>"}, 422, "empty_input", "spoken"),
        ({"input": "<speak>" + "<p>" * 10_000}, 422, "input_too_long", "12,000"),
        ({"input": "<speak><voice name='nobody'>Hi</voice></speak>"}, 404, "voice_not_found", ""),
        ({"input": "<speak>Hi</speak>", "text_type": "html"}, 422, "validation_error", "text_type"),
    ],
)
async def test_what_cannot_be_spoken_is_refused(
    served: Served, given: dict[str, object], status: int, code: str, words: str
) -> None:
    answer = await speak(served, "", **given)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert words in json.dumps(error, ensure_ascii=False)


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/v1/tts", {"format": "pcm", "sample_rate": 24_000}),
        ("/api/open/tts", {"reference_id": "default", "format": "wav"}),
    ],
)
async def test_the_other_dialects_take_it(
    served: Served, path: str, given: dict[str, object]
) -> None:
    def body(seconds: int) -> dict[str, object]:
        text = f'<speak>Hi <break time="{seconds}s"/> there.<mark name="a"/></speak>'
        return {"text": text, "text_type": "ssml", **given}

    short = await served.client.post(path, json=body(1))
    long = await served.client.post(path, json=body(3))
    broken = await served.client.post(path, json={**body(1), "text": "Hi."})

    rate_hz = given.get("sample_rate", served.engine.capabilities.sample_rate_hz)
    assert isinstance(rate_hz, int)
    assert len(long.content) - len(short.content) == 2 * 2 * rate_hz
    assert "ssml:mark" in long.headers["x-fishs2-ignored"]
    assert broken.status_code in (400, 422)
    assert "line 1, column 1" in broken.text


async def test_several_voices_by_number_are_refused(served: Served) -> None:
    body = {"text": "<speak>Hi</speak>", "text_type": "ssml", "reference_id": ["a", "b"]}

    answer = await served.client.post("/v1/tts", json=body)

    assert answer.status_code == 400
    assert "takes one voice" in answer.text
