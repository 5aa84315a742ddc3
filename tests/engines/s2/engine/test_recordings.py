"""Codes of recordings and back, beside those who speak."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import numpy as np
import pytest
import torch
from torch import Tensor

from fishs2.engines.base import CodesEngine, Reference, Sampling, Utterance
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine import recordings as codes_module
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2.model.codec import Codec, decode_frames, encode_pieces
from fishs2.errors import BusyError, EngineError, UserError
from tests.engines.s2.golden import MODEL_FILES, arrays, load_golden_model
from tests.serving import until

RATE_HZ = 44_100


@pytest.fixture
async def engine() -> AsyncIterator[S2Engine]:
    engine = S2Engine(MODEL_FILES, Precision())
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


class Pieces:
    """Stands in for `encode_pieces`: waits before every piece until it may make it."""

    def __init__(self) -> None:
        self.num_made = 0
        self.may_go_on = threading.Semaphore(0)

    def __call__(self, codec: Codec, pcm: Tensor) -> Iterator[Tensor]:
        for piece in encode_pieces(codec, pcm):
            self.may_go_on.acquire()
            self.num_made += 1
            yield piece


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Pieces:
    pieces = Pieces()
    monkeypatch.setattr(codes_module, "encode_pieces", pieces)
    return pieces


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)


async def test_codes_are_those_of_the_codec(engine: S2Engine) -> None:
    golden = arrays("codec_golden")

    codes = await engine.encode(golden["audio_in"], RATE_HZ)
    pcm = await engine.decode(codes)

    assert isinstance(engine, CodesEngine)
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, golden["codes"])
    whole = decode_frames(load_golden_model().codec, torch.from_numpy(codes).long())
    np.testing.assert_allclose(pcm, whole.numpy(), atol=1e-5)


async def test_layout_is_that_of_the_codes(engine: S2Engine) -> None:
    codes = await engine.encode(noise(1.0), RATE_HZ)
    layout = engine.codec_layout

    assert codes.shape == (len(layout.codebook_sizes), int(np.ceil(layout.frame_rate_hz)))
    assert all(row.max() < size for row, size in zip(codes, layout.codebook_sizes, strict=True))


async def test_long_recording_lets_a_new_voice_speak_in_between(
    engine: S2Engine, pieces: Pieces
) -> None:
    working = asyncio.create_task(engine.encode(noise(8.0), RATE_HZ))
    reference = Reference(noise(1.0), RATE_HZ, "A voice.", key="new")
    utterance = Utterance(
        "Hi.", references=(reference,), sampling=Sampling(temperature=0, max_new_tokens=3)
    )
    # The first piece may have been begun before the voice came; the second never is.
    pieces.may_go_on.release()
    async with aclosing(engine.speak(utterance)) as chunks:
        await anext(chunks)

    assert not working.done()
    assert pieces.num_made <= 1
    pieces.may_go_on.release(20)
    assert (await working).shape[1] == np.ceil(8 * engine.codec_layout.frame_rate_hz)


async def test_whoever_gives_up_is_rid_of_the_work(engine: S2Engine, pieces: Pieces) -> None:
    working = asyncio.create_task(engine.encode(noise(10.0), RATE_HZ))
    pieces.may_go_on.release()
    await until(lambda: pieces.num_made == 1)
    working.cancel()
    await asyncio.wait([working])
    pieces.may_go_on.release(20)
    again = await engine.encode(noise(0.5), RATE_HZ)

    assert working.cancelled()
    assert again.shape[1] == 11
    assert pieces.num_made <= 3  # one, perhaps one that was begun, and the one of `again`


async def test_no_more_wait_than_may(engine: S2Engine, pieces: Pieces) -> None:
    works = [
        asyncio.create_task(engine.encode(noise(0.5), RATE_HZ))
        for _ in range(codes_module.MAX_WAITING + 1)
    ]
    await asyncio.sleep(0)
    with pytest.raises(BusyError) as refused:
        await engine.encode(noise(0.5), RATE_HZ)
    works[3].cancel()
    pieces.may_go_on.release(20)
    done = await asyncio.gather(*works, return_exceptions=True)

    assert refused.value.retry_after_s
    assert [index for index, codes in enumerate(done) if not isinstance(codes, np.ndarray)] == [3]


@pytest.mark.parametrize("seconds", [0.0, 91.0])
async def test_recording_that_is_empty_or_too_long_is_refused(
    engine: S2Engine, seconds: float
) -> None:
    with pytest.raises(UserError) as refused:
        await engine.encode(noise(seconds), RATE_HZ)

    assert refused.value.code == "audio_too_long"


async def test_failure_of_the_codec_is_an_engine_error_and_the_next_works(
    engine: S2Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(codec: Codec, pcm: Tensor) -> Iterator[Tensor]:
        yield pcm[:0]
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(codes_module, "encode_pieces", fail)
    with pytest.raises(EngineError):
        await engine.encode(noise(0.5), RATE_HZ)
    monkeypatch.undo()

    assert (await engine.encode(noise(0.5), RATE_HZ)).shape[1] == 11


async def test_closed_engine_refuses() -> None:
    engine = S2Engine(MODEL_FILES, Precision())
    await engine.start()
    await engine.close()
    for work in (engine.encode(noise(0.5), RATE_HZ), engine.decode(np.zeros((10, 2), np.int32))):
        with pytest.raises(EngineError):
            await work


async def test_closing_ends_the_work(engine: S2Engine, pieces: Pieces) -> None:
    working = asyncio.create_task(engine.encode(noise(10.0), RATE_HZ))
    pieces.may_go_on.release()
    await until(lambda: pieces.num_made == 1)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    pieces.may_go_on.release(20)
    await closing

    with pytest.raises(EngineError):
        await working
