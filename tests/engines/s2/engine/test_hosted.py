"""The s2 engine in a child process: the same sound, and no PyTorch in the server."""

import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fishs2.bootstrap.engine import make_engine
from fishs2.engines.base import CodesEngine, Pcm, Reference, Sampling, SpeechEngine, Utterance
from fishs2.engines.hosted.engine import HostedEngine
from fishs2.engines.hosted.messages import Recipe
from fishs2.engines.hosted.watch import HostLimits
from fishs2.engines.s2.device.model import Precision
from fishs2.engines.s2.engine import engine as engine_module
from fishs2.engines.s2.engine.engine import S2Engine
from fishs2.engines.s2.engine.runner import Runner
from fishs2.errors import EngineLostError, NotFoundError, UserError
from fishs2.settings import Settings
from tests.engines.s2.golden import MODEL_FILES, arrays
from tests.serving import make_settings


def settings(folder: Path, **values: object) -> Settings:
    return make_settings(
        engine="s2",
        backend="cpu",
        model_path=MODEL_FILES.model,
        tokenizer_path=MODEL_FILES.tokenizer,
        temp_dir=folder,
        **values,
    )


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, S2Engine),
        ({"engine_process": True}, HostedEngine),
        ({"backend": "cuda"}, HostedEngine),
        ({"backend": "metal"}, HostedEngine),
        ({"backend": "cuda", "engine_process": False}, S2Engine),
    ],
)
def test_engine_on_a_card_has_a_process_of_its_own_unless_a_setting_says(
    values: dict[str, object], kind: type, tmp_path: Path
) -> None:
    chosen = settings(tmp_path).model_copy(update=values)

    assert type(make_engine(chosen)) is kind


def make_dying_engine(folder: str) -> S2Engine:
    """An engine whose card fails for good, once: with the first step after `armed` is there."""
    armed, decode = Path(folder) / "armed", Runner.decode
    is_dead = False

    def decode_until_it_fails(self: Runner, *rows: Any) -> Any:
        nonlocal is_dead
        if armed.exists():
            armed.unlink()
            is_dead = True
        if is_dead:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return decode(self, *rows)

    Runner.decode = decode_until_it_fails  # type: ignore[assignment,method-assign]
    engine_module.is_device_lost = lambda name: is_dead  # type: ignore[attr-defined]
    return S2Engine(MODEL_FILES, Precision())


async def pcm_of(engine: SpeechEngine, utterance: Utterance) -> Pcm:
    async with aclosing(engine.speak(utterance)) as chunks:
        return np.concatenate([chunk.pcm async for chunk in chunks])


async def test_card_that_fails_ends_the_child_and_costs_nobody_anything(tmp_path: Path) -> None:
    utterance = Utterance("Hello there.", sampling=Sampling(seed=5, max_new_tokens=9))
    recipe = Recipe(__name__, "make_dying_engine", {"folder": str(tmp_path)})
    limits = HostLimits(pause_s=0.01, silence_s=200, stall_s=200, close_s=200)
    engines = (
        HostedEngine(recipe, limits=limits, temp_dir=tmp_path / "temp"),
        S2Engine(MODEL_FILES, Precision()),
    )
    heard = []
    for engine in engines:
        await engine.start()
        (tmp_path / "armed").touch()
        try:
            if engine is engines[0]:
                # Whoever asked speaks again: `service.feed` knows what has been heard.
                with pytest.raises(EngineLostError, match="its card had failed"):
                    await pcm_of(engine, utterance)
            heard.append(await pcm_of(engine, utterance))
            stats = engine.stats()
            assert stats is not None
            assert stats.num_restarts == (engine is engines[0])
            assert not stats.trouble
        finally:
            await engine.close()

    assert np.array_equal(heard[0], heard[1])


async def test_speech_refusals_and_codes_are_the_same_in_a_child(tmp_path: Path) -> None:
    reference = Reference(arrays("codec_golden")["audio_in"], 44_100, "A voice.", key="a")
    sampling = Sampling(seed=5, max_new_tokens=9)
    utterance = Utterance("Hello there.", references=(reference,), sampling=sampling)
    heard, codes = [], []
    for is_hosted in (False, True):
        engine = make_engine(settings(tmp_path, engine_process=is_hosted))
        await engine.start()
        try:
            async with aclosing(engine.speak(utterance)) as chunks:
                heard.append([chunk.pcm async for chunk in chunks])
            with pytest.raises(NotFoundError, match="s2 engine has no voice 'alloy'"):
                engine.find_voice("alloy", None)
            with pytest.raises(UserError, match="tokens; the limit is"):
                await anext(engine.speak(Utterance("x" * 50_000)))
            assert engine.capabilities.name == "s2"
            codec = engine.codes if isinstance(engine, HostedEngine) else engine
            assert isinstance(codec, CodesEngine)
            made = await codec.encode(reference.pcm, 44_100)
            codes.append((codec.codec_layout, made.tolist(), (await codec.decode(made)).tolist()))
        finally:
            await engine.close()

    assert codes[0] == codes[1]
    here, there = heard
    assert [len(pcm) for pcm in here] == [len(pcm) for pcm in there]
    assert np.array_equal(np.concatenate(here), np.concatenate(there))
    assert os.listdir(tmp_path) == []
