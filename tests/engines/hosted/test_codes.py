"""The codec of an engine in a child process: recordings, codes, refusals and deaths."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from fishs2.engines.base import CodecLayout, CodesEngine, Utterance
from fishs2.engines.hosted.engine import HostedCodes, HostedEngine
from fishs2.errors import BusyError, EngineError, EngineUnavailableError, Fishs2Error, UserError
from tests.engines.hosted.recipes import recipe
from tests.engines.hosted.test_engine import QUICK
from tests.serving import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE_HZ = 24_000
NUM_LONG = 90 * 44_100
PCM = np.tile(np.array([0.1, 0.2, 0.3, 0.4], np.float32), 4)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HostedEngine]:
    """An engine that outlives its children."""
    folder = tmp_path_factory.mktemp("host-codes")
    made = HostedEngine(
        recipe("make_with_codes", marks=str(folder)), limits=QUICK, temp_dir=folder / "temp"
    )
    await made.start()
    yield made
    await made.close()


@pytest.fixture
def codes(engine: HostedEngine) -> HostedCodes:
    assert engine.codes is not None
    return engine.codes


async def test_codes_and_layout_are_those_of_the_child(codes: HostedCodes) -> None:
    made = await codes.encode(PCM, RATE_HZ)
    heard = await codes.decode(made)

    assert isinstance(codes, CodesEngine)
    assert codes.codec_layout == CodecLayout((1_001, 1_001), 12_000.0)
    assert made.dtype == np.int32
    np.testing.assert_array_equal(made, [[100, 300] * 4, [200, 400] * 4])
    np.testing.assert_array_equal(heard, PCM)
    assert made.flags.writeable
    assert heard.flags.writeable


async def test_long_recordings_go_over_in_pieces(codes: HostedCodes) -> None:
    rng = np.random.default_rng(1)
    long = (rng.integers(0, 1_001, NUM_LONG) / 1_000).astype(np.float32)

    made = await asyncio.gather(*(codes.encode(long, RATE_HZ) for _ in range(4)))

    assert all(np.array_equal(each, made[0]) for each in made)
    np.testing.assert_array_equal(await codes.decode(made[0]), long)


async def test_transposed_codes_are_decoded_as_they_look(codes: HostedCodes) -> None:
    made = np.arange(10, dtype=np.int32).reshape(5, 2).T

    np.testing.assert_array_equal(1_000 * await codes.decode(made), np.arange(10, dtype=np.float32))


@pytest.mark.parametrize(("rate_hz", "kind"), [(4, BusyError), (5, UserError)])
async def test_refusals_keep_class_and_fields(
    rate_hz: int, kind: type[Fishs2Error], codes: HostedCodes
) -> None:
    with pytest.raises(kind) as caught:
        await codes.encode(PCM, rate_hz)

    fields = vars(caught.value)
    expected = {"retry_after_s": 5} if kind is BusyError else {"code": "audio_too_long"}
    assert expected.items() <= fields.items()


async def test_child_lost_at_work_is_replaced_and_asked_again(
    codes: HostedCodes, engine: HostedEngine
) -> None:
    num_before = engine.stats().num_restarts

    np.testing.assert_array_equal((await codes.encode(PCM, 1))[0], [100, 300] * 4)

    assert engine.stats().num_restarts == num_before + 1


async def test_recording_that_kills_every_child_is_an_error(codes: HostedCodes) -> None:
    with pytest.raises(EngineError, match="was killed by SIGABRT while it worked"):
        await codes.encode(PCM, 2)

    assert (await codes.encode(PCM, RATE_HZ)).shape == (2, 8)


async def test_whoever_leaves_ends_the_work_in_the_child(
    codes: HostedCodes, engine: HostedEngine
) -> None:
    working = asyncio.create_task(codes.encode(PCM, 3))
    await until(lambda: engine.stats().num_voice_misses == 1)
    working.cancel()
    await asyncio.wait([working])

    await until(lambda: engine.stats().num_voice_misses == 0)


async def test_whoever_leaves_while_a_recording_is_sent_leaves_nothing(
    codes: HostedCodes, engine: HostedEngine
) -> None:
    num_restarts = engine.stats().num_restarts
    for num_steps in (1, 2, 5, 20):
        sending = asyncio.create_task(codes.encode(np.ones(NUM_LONG, np.float32), 2))
        for _ in range(num_steps):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])

    assert (await codes.encode(PCM, RATE_HZ)).shape == (2, 8)
    # What had come whole would have ended the child.
    assert engine.stats().num_restarts == num_restarts


async def test_those_who_speak_go_on_meanwhile(codes: HostedCodes, engine: HostedEngine) -> None:
    working = asyncio.create_task(codes.encode(PCM, 3))

    assert [chunk async for chunk in engine.speak(Utterance("Hello."))]

    assert not working.done()
    working.cancel()
    await asyncio.wait([working])


async def test_engine_without_codes_has_none(tmp_path: Path) -> None:
    engine = HostedEngine(recipe(), limits=QUICK, temp_dir=tmp_path)
    with pytest.raises(EngineUnavailableError):
        _ = engine.codes
    await engine.start()
    found = engine.codes
    await engine.close()

    assert found is None
    assert not isinstance(engine, CodesEngine)
