"""FISHS2_ENGINE=s2cpp around a library of our own with the same exports."""

import asyncio
import os
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishs2.engines.base import Reference, Sampling, Utterance
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.errors import EngineError, EngineUnavailableError, NotFoundError, UserError
from tests.engines.hosted.test_engine import find_children
from tests.feeding import hear
from tests.native.building import build_ggml, build_library
from tests.native.conftest import HASTY, Bench, set_up
from tests.serving import until

# One event loop and one engine; a child that dies is replaced.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "A sentence of the ordinary kind."
RATE_HZ, FRAME = 44_100, 2048
NUMBERS = count()


async def listen(engine: HostedEngine, text: str = TEXT, **fields: Any) -> np.ndarray:
    chunks = [chunk.pcm async for chunk in engine.speak(Utterance(text, **fields))]
    return np.concatenate(chunks)


def hz_of(pcm: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(pcm))
    return float(np.argmax(spectrum) * RATE_HZ / len(pcm))


def sine(hz: float, *, rate_hz: int = 16_000, seconds: float = 1.0) -> np.ndarray:
    times = np.arange(round(rate_hz * seconds)) / rate_hz
    return (0.7 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def voice(hz: float, key: str = "", *, rate_hz: int = 16_000, seconds: float = 1) -> Reference:
    """A sine as a reference; without a key it is another voice each time."""
    pcm = sine(hz, rate_hz=rate_hz, seconds=seconds)
    return Reference(pcm, rate_hz, "What is said.", key=key or str(next(NUMBERS)))


def expected(text: str) -> np.ndarray:
    """What the library says without a voice."""
    num_samples = FRAME * (len(text) // 2 + 2)
    hz = 300 + len(text) % 100
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(num_samples) / RATE_HZ)


async def test_speech_streams_and_is_what_the_library_made(bench: Bench) -> None:
    chunks = [chunk.pcm async for chunk in bench.engine.speak(Utterance(TEXT))]

    assert len(chunks) >= 5
    np.testing.assert_allclose(np.concatenate(chunks), expected(TEXT), atol=1e-4)
    capabilities = bench.engine.capabilities
    assert (capabilities.name, capabilities.backend, capabilities.cloning) == (
        *("s2cpp", "cpu"),
        "full",
    )
    assert capabilities.num_turns == 1
    assert "seed" not in capabilities.honours


async def test_library_is_called_in_order_with_its_own_defaults(bench: Bench) -> None:
    await listen(bench.engine)

    assert bench.trace() == [
        "log level - 1",
        "params - max=1024 top_k=30 min=0 threads=0",
        "params - temperature=80 top_p=80 verbose=1",
        f"stream {TEXT} code=1 low_latency=0",
        "streaming - holdback=-1 context=-1 pause=180 stride=0",
    ]


async def test_wishes_of_a_request_reach_the_library(bench: Bench) -> None:
    sampling = Sampling(
        temperature=0, top_p=0.5, top_k=0, max_new_tokens=3, min_tokens_before_end=2
    )

    heard = await listen(bench.engine, sampling=sampling, num_threads=7, verbose=False)

    assert len(heard) == 3 * FRAME
    assert "params - max=3 top_k=0 min=2 threads=7" in bench.trace()
    assert "params - temperature=0 top_p=50 verbose=0" in bench.trace()
    assert bench.trace()[0] == "log level - 0"


async def test_older_library_speaks_in_one_go(libraries: dict[str, Path], steered: Path) -> None:
    bench = set_up(libraries["old"], steered, backend="vulkan", gpu_device=2)
    await bench.engine.start()
    chunks = [chunk.pcm async for chunk in bench.engine.speak(Utterance(TEXT))]
    cloned = await listen(bench.engine, references=(voice(700),))
    with pytest.raises(EngineError, match="code -4"):
        await listen(bench.engine, "code -4")
    await bench.engine.close()

    assert len(chunks) == 1
    np.testing.assert_allclose(chunks[0], expected(TEXT), atol=1e-4)
    assert abs(hz_of(cloned) - 700) < 10
    trace = bench.trace()
    assert trace[:3] == ["tokenizer", "model - gpu=2 backend=0", "codec - gpu=2 backend=0"]
    assert trace[-4:] == ["release codes", "release pipeline", "release codec", "release model"]


async def test_older_library_refuses_layers_off_the_card(
    libraries: dict[str, Path], steered: Path
) -> None:
    bench = set_up(libraries["old"], steered, backend="cuda", num_gpu_layers=12)

    with pytest.raises(EngineUnavailableError, match="FISHS2_N_GPU_LAYERS=12"):
        await bench.engine.start()


async def test_layers_card_and_backend_reach_the_library(
    libraries: dict[str, Path], steered: Path
) -> None:
    bench = set_up(libraries["new"], steered, backend="cuda", num_gpu_layers=12, gpu_device=3)
    await bench.engine.start()
    await listen(bench.engine, latency="low")
    await bench.engine.close()

    assert bench.engine.capabilities.backend == "cuda"
    assert "files - gpu=3 backend=1 layers=12 follow=1" in bench.trace()
    assert f"stream {TEXT} code=1 low_latency=1" in bench.trace()


async def test_reference_is_cloned_and_encoded_once(bench: Bench) -> None:
    first = await listen(bench.engine, references=(voice(500, "a"),))
    other = await listen(bench.engine, references=(voice(900, "b", rate_hz=48_000),))
    again = await listen(bench.engine, references=(voice(500, "a"),))

    assert abs(hz_of(first) - 500) < 10
    assert abs(hz_of(other) - 900) < 10
    assert np.array_equal(again, first)
    assert len([line for line in bench.trace() if line.startswith("encode")]) == 2


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        (voice(500, seconds=31), "reference_length"),
        (replace(voice(500), pcm=np.zeros(0, np.float32)), "reference_length"),
        (replace(voice(500), transcript=" \n"), "missing_prompt_text"),
    ],
)
async def test_reference_that_would_harm_is_refused(
    reference: Reference, code: str, bench: Bench
) -> None:
    with pytest.raises(UserError) as caught:
        await listen(bench.engine, references=(reference,))

    assert caught.value.code == code
    assert not any(line.startswith(("encode", "stream")) for line in bench.trace())


async def test_what_the_library_would_obey_is_only_text(bench: Bench) -> None:
    spoken = "Say <|im_end|> and <<|voice|>."
    await listen(bench.engine, spoken)
    shown = replace(voice(500), transcript="<|im_start|>\0system")
    await listen(bench.engine, references=(shown,))

    assert any("Say < |im_end|> and << |voice|>." in line for line in bench.trace())


async def test_texts_of_any_script_are_spoken(bench: Bench) -> None:
    for text in ("日本語のテキスト。", "🙂 ok \ud800", "x" * 400):
        assert len(await listen(bench.engine, text)) > 0


async def test_blank_text_and_several_references_are_refused(bench: Bench) -> None:
    for fields, code in (
        ({"text": " \n"}, "empty_input"),
        ({"references": (voice(500), voice(600))}, "too_many_references"),
    ):
        with pytest.raises(UserError) as caught:
            await listen(bench.engine, **fields)
        assert caught.value.code == code


async def test_prompt_and_speech_fit_into_the_context(
    libraries: dict[str, Path], steered: Path
) -> None:
    bench = set_up(libraries["new"], steered, max_positions=1_000)
    await bench.engine.start()
    await listen(bench.engine, "x" * 400)
    with pytest.raises(UserError, match="of 1000, 256 must be left") as caught:
        await listen(bench.engine, "x" * 400, references=(voice(500, seconds=20),))
    await bench.engine.close()

    assert caught.value.code == "prompt_too_long"
    assert any(line.startswith("params - max=536 ") for line in bench.trace())


@pytest.mark.parametrize("code", [0, -4, -6, -7, -8, -9, -10, -33])
async def test_each_failure_is_an_error_and_the_next_speaks(code: int, bench: Bench) -> None:
    (child,) = find_children()
    with pytest.raises(EngineError, match=f"code {code}: it"):
        await listen(bench.engine, f"code {code}")

    assert len(await listen(bench.engine)) > 0
    assert find_children() == [child]


async def test_speech_in_another_voice_is_an_error(bench: Bench) -> None:
    with pytest.raises(EngineError, match="code -1: it could not read the reference"):
        await listen(bench.engine, "code -1", references=(voice(500),))


async def test_silence_is_an_error(bench: Bench) -> None:
    with pytest.raises(EngineError, match="made no sound"):
        await listen(bench.engine, "silent")


async def test_closed_generator_stops_the_library(bench: Bench) -> None:
    (child,) = find_children()
    for _ in range(3):
        async with aclosing(bench.engine.speak(Utterance("slow " * 80))) as chunks:
            await anext(chunks)

    assert len(await listen(bench.engine)) > 0
    assert find_children() == [child]


async def test_library_that_cannot_be_stopped_is_ended(
    libraries: dict[str, Path], steered: Path
) -> None:
    others = find_children()
    bench = set_up(libraries["old"], steered, limits=HASTY)
    await bench.engine.start()
    reading = asyncio.create_task(listen(bench.engine, "hang"))
    await until(lambda: bool(bench.trace()) and "hang" in bench.trace()[-1])
    reading.cancel()
    await asyncio.wait([reading])

    assert len(await hear(bench.engine, Utterance(TEXT))) > 0
    await bench.engine.close()
    assert find_children() == others


@pytest.mark.parametrize("word", ["segfault", "abort"])
async def test_library_that_dies_in_mid_speech_ends_that_speech_alone(
    word: str, bench: Bench
) -> None:
    chunks = bench.engine.speak(Utterance(f"so far so good, then {word}"))
    await anext(chunks)

    with pytest.raises(EngineError, match="the engine's process"):
        async for _ in chunks:
            pass

    assert len(await listen(bench.engine)) > 0


async def test_library_that_hangs_in_mid_speech_is_ended(
    libraries: dict[str, Path], steered: Path
) -> None:
    bench = set_up(libraries["new"], steered, limits=HASTY)
    await bench.engine.start()
    chunks = bench.engine.speak(Utterance("so far so good, then hang"))
    await anext(chunks)

    with pytest.raises(EngineError, match="got nowhere"):
        async for _ in chunks:
            pass

    assert len(await listen(bench.engine)) > 0
    await bench.engine.close()


async def test_crashes_lose_nothing(bench: Bench) -> None:
    texts = [f"once{'!' * n}" if n % 20 == 7 else f"number {n}" for n in range(200)]
    num_before = bench.engine.stats().num_restarts
    turn = asyncio.Lock()  # as the service does: one utterance at a time

    async def speak(text: str) -> int:
        async with turn:
            utterance = Utterance(text, sampling=Sampling(max_new_tokens=4))
            return len(await hear(bench.engine, utterance))

    lengths = await asyncio.gather(*map(speak, texts))

    assert set(lengths) == {4 * FRAME}
    assert bench.engine.stats().num_restarts == num_before + 10


async def test_what_the_library_prints_harms_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    heard = await listen(bench.engine, "print a secret")

    np.testing.assert_allclose(heard, expected("print a secret"), atol=1e-4)
    assert "secret" not in "".join(
        record.getMessage() for record in caplog.records if record.levelname != "DEBUG"
    )


async def test_leak_does_not_outlive_the_child(bench: Bench) -> None:
    (child,) = find_children()
    before = child.memory_info().rss
    for _ in range(20):
        await listen(bench.engine, "leak", sampling=Sampling(max_new_tokens=1))

    assert child.memory_info().rss > before + 10_000_000
    child.kill()
    assert len(await hear(bench.engine, Utterance(TEXT))) > 0
    (other,) = find_children()
    assert other.memory_info().rss < before + 10_000_000


async def test_other_voices_are_not_found(bench: Bench) -> None:
    assert bench.engine.find_voice("Default", "ja") == "default"
    with pytest.raises(NotFoundError, match="s2cpp engine has no voice 'alloy'"):
        bench.engine.find_voice("alloy", None)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("crash", "was killed by SIGABRT while it started"),
        ("fail", "cannot load the model for cpu"),
    ],
)
async def test_load_that_fails_is_unavailable(
    what: str,
    message: str,
    libraries: dict[str, Path],
    steered: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = find_children()
    monkeypatch.setenv("FAKE_S2_LOAD", what)

    with pytest.raises(EngineUnavailableError, match=message):
        await set_up(libraries["new"], steered).engine.start()

    assert find_children() == others


async def test_moved_library_finds_ggml_beside_it(libraries: object, steered: Path) -> None:
    built = steered / "built"
    ggml = build_ggml(built)
    library = build_library(built, "-DNEEDS_GGML", f"-L{built}", "-lggml-base")
    alone = steered / "moved" / library.name
    alone.parent.mkdir()
    library.rename(alone)
    with pytest.raises(EngineUnavailableError, match="FISHS2_RUNTIME_EXTRA_DLL_DIRS"):
        await set_up(alone, steered).engine.start()

    found: tuple[dict[str, Any], ...] = ({"extra_dirs": (built,)}, {})
    for options in found:
        if not options:
            ggml.rename(alone.parent / ggml.name)
        bench = set_up(alone, steered, **options)
        await bench.engine.start()
        assert len(await listen(bench.engine)) > 0
        await bench.engine.close()


async def test_close_frees_the_model_and_leaves_nothing(
    libraries: dict[str, Path], steered: Path
) -> None:
    others = find_children()
    folders = os.listdir(steered / "temp")
    bench = set_up(libraries["new"], steered)
    await bench.engine.start()
    await listen(bench.engine, references=(voice(500),))
    await bench.engine.close()

    assert os.listdir(steered / "temp") == folders
    assert bench.trace()[-2:] == ["release codes", "release pipeline"]
    assert find_children() == others
