"""Bad input and failures on the s2 engine, seen by clients: who is at fault hears of it, others
hear what they would hear anyway.
"""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.soak_clients import Connection
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine import engine as engine_module
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2.engine.references import ReferenceCache
from fishs2.engines.s2.engine.runner import Runner
from tests.engines.s2.golden import MODEL_FILES
from tests.server.recorded import error_of, sine_wav
from tests.serving import PATIENCE_S, serving, until

SPEECH = "/v1/audio/speech"
FRAME = 2048
NUM_FRAMES = 9


@dataclass(frozen=True, slots=True)
class Speaking:
    """A server on the small golden model. engine: the one in it."""

    url: str
    client: httpx.AsyncClient
    engine: S2Engine

    async def speak(self, **fields: object) -> httpx.Response:
        return await self.client.post(SPEECH, json=body(**fields))

    async def value(self, name: str) -> float:
        """One number of /metrics."""
        text = (await self.client.get("/metrics")).text
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        return float(line.split()[-1])


@asynccontextmanager
async def speaking(*, num_slots: int = 2, **settings: Any) -> AsyncIterator[Speaking]:
    limits = Limits(num_slots, max_positions=1024, piece_tokens=64, step_tokens=64)
    engine = S2Engine(MODEL_FILES, Precision(), choose_limits=lambda _: limits)
    async with serving(engine, **settings) as served:
        await served.services.wait_for_engine()
        yield Speaking(served.url, served.client, engine)


def body(**fields: object) -> dict[str, object]:
    return {
        "model": "s2-pro",
        "input": "Hello there.",
        "response_format": "pcm",
        "sample_rate": 44_100,
        "seed": 3,
        "max_new_tokens": NUM_FRAMES,
        **fields,
    }


def with_reference(wav: bytes, transcript: str = "What is said.") -> dict[str, object]:
    url = "data:audio/wav;base64," + base64.b64encode(wav).decode()
    return {"reference_audio": url, "reference_text": transcript}


def wav_of(pcm: NDArray[Any], rate_hz: int = 44_100) -> bytes:
    head = sine_wav(seconds=1, rate_hz=rate_hz)[:44]
    samples: bytes = np.clip(pcm * 32_767, -32_768, 32_767).astype("<i2").tobytes()
    num_bytes = len(samples)
    sizes = (36 + num_bytes).to_bytes(4, "little"), num_bytes.to_bytes(4, "little")
    return head[:4] + sizes[0] + head[8:40] + sizes[1] + samples


def tone(seconds: float, rate_hz: int = 44_100) -> np.ndarray:
    return np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate_hz)) / rate_hz)


async def test_prompt_that_does_not_fit_is_refused_with_its_size_and_the_limit() -> None:
    async with speaking() as served:
        neighbour = asyncio.create_task(served.speak(max_new_tokens=40))
        answer = await served.speak(**with_reference(sine_wav(), "A long story. " * 80))
        after = await served.speak()
        undisturbed = (await neighbour).content
        alone = (await served.speak(max_new_tokens=40)).content

    assert error_of(answer)[:2] == (422, "prompt_too_long")
    assert "the limit is 512" in answer.json()["error"]["message"]
    assert after.status_code == 200
    assert undisturbed == alone


async def test_references_that_cannot_be_cloned_are_refused_and_harm_nobody() -> None:
    references = {
        "0 s": (wav_of(np.zeros(0)), "invalid_reference_audio"),
        "120 s": (wav_of(tone(120, 8_000), 8_000), "audio_too_long"),
        "no audio": (b"RIFF" + bytes(100), "invalid_reference_audio"),
    }
    async with speaking() as served:
        alone = (await served.speak(max_new_tokens=40)).content
        neighbour = asyncio.create_task(served.speak(max_new_tokens=40))
        answers = {
            name: await served.speak(**with_reference(wav)) for name, (wav, _) in references.items()
        }
        undisturbed = (await neighbour).content

    for name, (_, code) in references.items():
        assert error_of(answers[name])[:2] == (422, code), name
    assert undisturbed == alone


async def test_references_without_a_voice_are_refused_before_an_engine_sees_them() -> None:
    empty = {"0.2 s": tone(0.2), "2 ms": tone(0.002), "silence": np.zeros(44_100)}
    async with speaking(num_slots=1) as served:
        for name, pcm in empty.items():
            answer = await served.speak(**with_reference(wav_of(pcm)))
            assert error_of(answer)[:2] == (422, "invalid_reference_audio"), name


async def test_odd_references_are_cloned_and_harm_nobody() -> None:
    references = {
        "0.3 s": wav_of(tone(0.3)),
        "clipped": wav_of(3 * tone(1.0)),
        "8 kHz": wav_of(tone(1.0, 8_000), 8_000),
        "96 kHz": wav_of(tone(0.5, 96_000), 96_000),
    }
    async with speaking(num_slots=4) as served:
        alone = (await served.speak(max_new_tokens=40)).content
        plain = (await served.speak()).content
        neighbour = asyncio.create_task(served.speak(max_new_tokens=40))
        asked = [with_reference(wav) for wav in references.values()]
        answers = await asyncio.gather(*(served.speak(**fields) for fields in asked))
        again = [await served.speak(**fields) for fields in asked]
        undisturbed = (await neighbour).content

    for name, answer, later in zip(references, answers, again, strict=True):
        assert answer.status_code == 200, f"{name}: {answer.text}"
        pcm = np.frombuffer(answer.content, "<i2")
        assert len(pcm) == NUM_FRAMES * FRAME, name
        assert pcm.any(), name
        assert later.content == answer.content, name
    assert len({plain, *(answer.content for answer in answers)}) == 1 + len(references)
    assert undisturbed == alone


def failing(error: BaseException) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("no memory"), MemoryError(), RuntimeError("a CUDA error")],
    ids=lambda error: type(error).__name__,
)
async def test_step_that_fails_ends_those_in_work_and_nobody_else(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking(num_slots=4) as served:
        alone = (await served.speak()).content
        endless = body(max_new_tokens=900, stream=True)
        async with served.client.stream("POST", SPEECH, json=endless) as stream:
            pieces = stream.aiter_raw()
            await anext(pieces)
            whole = asyncio.create_task(served.speak(max_new_tokens=900))
            while await served.value("fishs2_engine_active_slots") < 2:
                pass
            monkeypatch.setattr(Runner, "decode", failing(error))
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in pieces:
                    pass
        refused = await whole
        monkeypatch.undo()
        health = (await served.client.get("/health")).json()
        later = await asyncio.gather(*(served.speak() for _ in range(4)))
        num_restarts = await served.value("fishs2_engine_restarts_total")
        num_slots = await served.value("fishs2_engine_slots")

    assert error_of(refused) == (500, "generation_failed", None)
    assert "memory" not in refused.text
    assert health["ready"] is True
    assert [answer.content for answer in later] == [alone] * 4
    assert num_restarts == 1
    assert num_slots == (4 if isinstance(error, RuntimeError) and "CUDA" in str(error) else 2)


async def test_card_that_is_lost_is_said_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with speaking() as served:
        monkeypatch.setattr(engine_module, "is_device_lost", lambda name: True)
        monkeypatch.setattr(Runner, "decode", failing(RuntimeError("CUDA error")))
        refused = await served.speak()
        monkeypatch.undo()
        later = await served.speak()
        health = (await served.client.get("/health")).json()

    assert error_of(refused)[:2] == (500, "generation_failed")
    assert error_of(later)[:2] == (503, "backend_not_available")
    assert health["ready"] is False
    assert health["engine_error"]


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_failing_prefill_is_an_error_answer(
    is_streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with speaking() as served:
        monkeypatch.setattr(Runner, "prefill", failing(torch.OutOfMemoryError()))
        refused = await served.speak(stream=is_streamed)
        monkeypatch.undo()
        later = await served.speak()

    assert error_of(refused)[:2] == (500, "generation_failed")
    assert later.status_code == 200


async def test_failure_where_an_utterance_comes_in_reaches_its_client_and_not_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with speaking() as served:
        monkeypatch.setattr(Core, "add", failing(MemoryError()))
        refused = await served.speak()
        monkeypatch.undo()
        later = await served.speak()

    assert error_of(refused)[:2] == (500, "generation_failed")
    assert later.status_code == 200


async def test_encoder_that_fails_is_the_error_of_its_request_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with speaking() as served:
        fields = with_reference(sine_wav())
        monkeypatch.setattr(ReferenceCache, "encode", failing(torch.OutOfMemoryError()))
        refused, neighbour = await asyncio.gather(served.speak(**fields), served.speak())
        monkeypatch.undo()
        later = await served.speak(**fields)

    assert error_of(refused)[:2] == (500, "generation_failed")
    assert neighbour.status_code == later.status_code == 200


async def test_full_queue_is_429_and_those_in_it_are_served() -> None:
    async with speaking(num_slots=1, max_queue=1) as served:
        gate, has_begun = threading.Event(), threading.Event()
        with pytest.MonkeyPatch.context() as patch:
            decode = Runner.decode

            def wait_and_decode(*args: Any) -> object:
                has_begun.set()
                gate.wait(PATIENCE_S)
                return decode(*args)

            patch.setattr(Runner, "decode", wait_and_decode)
            first = asyncio.create_task(served.speak())
            await until(has_begun.is_set)
            second = asyncio.create_task(served.speak(seed=4))
            while (await served.value("fishs2_queued")) < 1:
                pass
            refused = await served.speak()
            gate.set()
            answers = await asyncio.gather(first, second)

    assert error_of(refused)[:2] == (429, "server_busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_reader_of_one_byte_holds_up_nobody_and_loses_nothing() -> None:
    text = "One sentence after another is spoken here. " * 4
    long = body(input=text, chunk_length=100, stream=True)
    async with speaking() as served:
        alone = (await served.client.post(SPEECH, json=long)).content
        others = [(await served.speak(seed=n)).content for n in range(4)]
        slow = await Connection.open(served.url, is_slow=True)
        try:
            await slow.send(httpx.Request("POST", served.url, json=long).content)
            assert await slow.read_some(1) == 1
            at_once = await asyncio.gather(*(served.speak(seed=n) for n in range(4)))
            heard = await slow.read_all()
        finally:
            await slow.close()
        await until(lambda: served.engine.stats().num_running == 0)

    assert [answer.content for answer in at_once] == others
    assert (heard.status, heard.content) == (200, alone)
    assert len(alone) > 2 * FRAME * NUM_FRAMES


async def test_client_that_leaves_before_its_first_audio_frees_slot_and_queue() -> None:
    async with speaking(num_slots=1) as served:
        leaving = [asyncio.create_task(served.speak(max_new_tokens=900)) for _ in range(3)]
        await until(lambda: served.engine.stats().num_running == 1)
        for each in leaving:
            each.cancel()
        await asyncio.wait(leaving)
        answer = await served.speak()
        health = (await served.client.get("/health")).json()

    assert answer.status_code == 200
    assert health["queue"] == {"streams": 0, "waiting": 0}


async def test_limit_of_the_operator_leaves_the_guard_on() -> None:
    endless = {"fishs2": {"min_tokens_before_end": 600}}
    async with speaking(max_new_tokens=60) as served:
        refused = await served.speak(**endless, max_new_tokens=None, stream=False)
        asked = await served.speak(**endless, max_new_tokens=30)
        num_runaways = await served.value("fishs2_engine_runaways_total")

    assert error_of(refused)[:2] == (500, "generation_failed")
    assert len(asked.content) == 2 * FRAME * 30
    assert num_runaways == 3
