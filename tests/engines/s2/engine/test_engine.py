import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fishs2.engines.base import Part, Reference, Sampling, SpeechEngine, Utterance
from fishs2.engines.s2.device.model import Model, Precision
from fishs2.engines.s2.engine import engine as engine_module
from fishs2.engines.s2.engine import references as references_module
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.engine import MIN_ROOM, S2Engine
from fishs2.engines.s2.engine.references import ReferenceCache
from fishs2.engines.s2.engine.runner import Runner
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.codec import Codec, decode_frames, encode_pieces
from fishs2.engines.s2.model.generate import generate_frames
from fishs2.engines.s2.model.params import GenerateParams, count_frames, params_of
from fishs2.engines.s2.model.prompt import EncodedReference, build_prompt
from fishs2.errors import (
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    RunawaySpeechError,
    UserError,
)
from tests.engines.s2.golden import MODEL_FILES, arrays, load_golden_model
from tests.serving import PATIENCE_S, until

GREEDY = Sampling(temperature=0, max_new_tokens=13)


@pytest.fixture
async def engine() -> AsyncIterator[S2Engine]:
    engine = S2Engine(MODEL_FILES, Precision())
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def listen(engine: SpeechEngine, utterance: Utterance) -> np.ndarray:
    return np.concatenate([chunk.pcm async for chunk in engine.speak(utterance)])


async def test_speech_is_what_model_and_codec_make_of_it(engine: S2Engine) -> None:
    pcm = arrays("codec_golden")["audio_in"]
    reference = Reference(pcm, 44100, "A voice.", key="a")

    heard = await listen(
        engine, Utterance("Hello there.", references=(reference,), sampling=GREEDY)
    )

    model = load_golden_model()
    shown = EncodedReference("A voice.", arrays("codec_golden")["codes"].astype(np.int32))
    prompt = build_prompt(model.tokenizer, "Hello there.", references=[shown])
    params = GenerateParams(temperature=0, max_new_tokens=13)
    frames = np.stack(list(generate_frames(model.ar, prompt, params)), axis=1)
    whole = decode_frames(model.codec, torch.from_numpy(frames[1:]).long())
    assert engine.capabilities.sample_rate_hz == 44100
    np.testing.assert_allclose(heard, whole, rtol=0, atol=1e-5)


async def test_chunks_begin_small_and_grow(engine: S2Engine) -> None:
    utterance = Utterance("Hello.", sampling=replace(GREEDY, max_new_tokens=31))

    sizes = [len(chunk.pcm) // 2048 async for chunk in engine.speak(utterance)]

    assert sizes == [2, 4, 8, 16, 1]


async def test_the_same_seed_gives_the_same_samples(engine: S2Engine) -> None:
    one = Utterance("Hello.", sampling=Sampling(seed=1, max_new_tokens=6, top_k=200, top_p=1))
    other = replace(one, sampling=replace(one.sampling, seed=2))

    first, again, different = [await listen(engine, each) for each in (one, one, other)]

    assert np.array_equal(first, again)
    assert first.shape != different.shape or not np.array_equal(first, different)


async def test_a_closed_generator_aborts_and_the_next_speaks(engine: S2Engine) -> None:
    endless = Utterance("Hello.", sampling=Sampling(max_new_tokens=0, min_tokens_before_end=4000))
    async with aclosing(engine.speak(endless)) as chunks:
        await anext(chunks)

    assert len(await listen(engine, Utterance("Hi.", sampling=GREEDY))) > 0


async def test_two_at_once_are_both_spoken(engine: S2Engine) -> None:
    utterance = Utterance("Hello.", sampling=GREEDY)

    first, second = await asyncio.gather(listen(engine, utterance), listen(engine, utterance))

    assert np.array_equal(first, second)


async def test_failing_step_ends_those_in_work_and_the_next_speaks(
    engine: S2Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = Utterance("Hello.", sampling=Sampling(max_new_tokens=0, min_tokens_before_end=4000))
    first, second = engine.speak(endless), engine.speak(endless)
    await anext(first)
    await anext(second)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(Runner, "decode", fail)
    for chunks in (first, second):
        with pytest.raises(EngineError, match="failed: OutOfMemoryError"):
            async for _ in chunks:
                pass
    monkeypatch.undo()

    assert len(await listen(engine, Utterance("Hi.", sampling=GREEDY))) > 0
    stats = engine.stats()
    assert (stats.num_restarts, stats.num_slots) == (1, 2)


async def test_what_was_done_is_counted(engine: S2Engine) -> None:
    pcm = arrays("codec_golden")["audio_in"]
    reference = Reference(pcm, 44100, "A voice.", key="counted")
    for _ in range(2):
        await listen(engine, Utterance("Hi.", references=(reference,), sampling=GREEDY))

    stats = engine.stats()
    assert (stats.num_voice_hits, stats.num_voice_misses) == (1, 1)
    assert stats.num_frames >= 2
    assert stats.num_prefilled > 21
    assert (stats.num_running, stats.num_restarts) == (0, 0)
    assert 0 < stats.step_s / stats.num_steps < 10


async def test_model_is_unloaded_when_nobody_speaks_and_comes_back_by_itself() -> None:
    codecs: list[weakref.ref[Codec]] = []

    def note_codec(model: Model) -> Limits:
        codecs.append(weakref.ref(model.codec))
        return Limits(num_slots=4)

    engine = S2Engine(MODEL_FILES, Precision(), choose_limits=note_codec, idle_unload_s=0.01)
    await engine.start()
    try:
        pcm = arrays("codec_golden")["audio_in"]
        voice = Reference(pcm, 44100, "A voice.", key="idle")
        before = await listen(engine, Utterance("Hi.", sampling=GREEDY))
        await listen(engine, Utterance("Hi.", references=(voice,), sampling=GREEDY))
        await until(lambda: not engine.stats().is_loaded)
        gc.collect()
        assert [codec() for codec in codecs] == [None] * len(codecs)
        after = await listen(engine, Utterance("Hi.", sampling=GREEDY))
    finally:
        await engine.close()

    assert np.array_equal(before, after)


async def test_reference_of_90_seconds_leaves_room_to_speak() -> None:
    codes, transcript = 1938, 500  # frames of 90 s; tokens of what is said in them
    params = params_of(Sampling(max_new_tokens=1024))

    room = count_frames(codes + transcript + 150, params, max_positions=4096, min_room=MIN_ROOM)

    assert room == 1024


async def test_new_voice_is_encoded_once_for_all_who_ask(
    engine: S2Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_pieces = 0
    encode = encode_pieces

    def count(codec: Codec, pcm: torch.Tensor) -> Iterator[torch.Tensor]:
        nonlocal num_pieces
        for piece in encode(codec, pcm):
            num_pieces += 1
            yield piece

    monkeypatch.setattr(references_module, "encode_pieces", count)
    reference = Reference(arrays("codec_golden")["audio_in"], 44100, "A voice.", key="once")
    utterance = Utterance("Hello.", references=(reference,), sampling=GREEDY)

    await asyncio.gather(*(listen(engine, utterance) for _ in range(5)))

    assert num_pieces == 1


async def test_wrong_values_are_refused_before_any_sound(engine: S2Engine) -> None:
    with pytest.raises(UserError, match="temperature is 5"):
        await listen(engine, Utterance("Hello.", sampling=Sampling(temperature=5)))
    too_long = Reference(np.zeros(1000, np.float32), 10, "", key="")
    with pytest.raises(UserError, match="the limit is 90"):
        await listen(engine, Utterance("Hello.", references=(too_long,)))


async def test_only_the_default_voice_exists(engine: S2Engine) -> None:
    assert engine.find_voice(None, "de") == engine.find_voice("Default", None) == "default"
    with pytest.raises(NotFoundError, match="no voice 'anna'"):
        engine.find_voice("anna", None)


async def test_closing_ends_utterances_in_work_and_the_thread() -> None:
    engine = S2Engine(MODEL_FILES, Precision())
    await engine.start()
    endless = Utterance("Hello.", sampling=Sampling(max_new_tokens=0, min_tokens_before_end=4000))
    chunks = engine.speak(endless)
    await anext(chunks)

    await engine.close()

    with pytest.raises(EngineError, match="was closed"):
        async for _ in chunks:
            pass
    with pytest.raises(EngineError, match="not running"):
        await listen(engine, endless)
    assert "fishs2-s2" not in [thread.name for thread in threading.enumerate()]


async def test_closing_while_a_voice_is_encoded_ends_the_utterance(
    engine: S2Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go = threading.Event(), threading.Event()

    def encode_slowly(cache: ReferenceCache, reference: Reference, **_: object) -> EncodedReference:
        begun.set()
        may_go.wait(PATIENCE_S)
        return EncodedReference("A voice.", arrays("codec_golden")["codes"].astype(np.int32))

    monkeypatch.setattr(ReferenceCache, "encode", encode_slowly)
    pcm = arrays("codec_golden")["audio_in"]
    utterance = Utterance("Hi.", references=(Reference(pcm, 44100, "A voice.", key="slow"),))
    speaking = asyncio.create_task(listen(engine, utterance))
    await asyncio.to_thread(begun.wait)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    may_go.set()
    await closing

    with pytest.raises(EngineError, match="was closed"):
        await speaking


async def test_a_model_that_cannot_be_loaded_is_reported(tmp_path: Path) -> None:
    engine = S2Engine(replace(MODEL_FILES, model=tmp_path / "none.gguf"), Precision())
    try:
        with pytest.raises(EngineUnavailableError, match=r"none.gguf cannot be read"):
            await engine.start()
    finally:
        await engine.close()


async def test_a_device_that_is_not_there_is_reported() -> None:
    engine = S2Engine(MODEL_FILES, Precision(device="nonsense"))
    try:
        with pytest.raises(EngineUnavailableError, match="cannot use the device 'nonsense'"):
            await engine.start()
    finally:
        await engine.close()


async def test_random_model_that_finds_no_end_runs_away_unless_told_how_long(
    engine: S2Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "longest_speech", lambda _: 20)
    endless = Sampling(seed=1, min_tokens_before_end=30)
    with pytest.raises(RunawaySpeechError, match="50 frames and found no end"):
        await listen(engine, Utterance("Hm.", sampling=endless))
    assert engine.stats().num_runaways == 1

    told = replace(endless, max_new_tokens=60, min_tokens_before_end=60)
    assert len(await listen(engine, Utterance("Hm.", sampling=told))) == 60 * 2048


async def test_guard_can_be_switched_off() -> None:
    for is_guarded in (True, False):
        engine = S2Engine(MODEL_FILES, Precision(), is_guarded=is_guarded)
        await engine.start()
        try:
            sequence = await engine.prepare(Utterance("Hm."), threading.Event())
        finally:
            await engine.close()
        assert (sequence.runaway_frames is not None) is is_guarded


async def test_long_silence_is_a_runaway() -> None:
    def mute(model: Model) -> Limits:
        # The last convolution makes the samples: without it they are all zero.
        last = model.codec.decoder.decoder.last
        last.weight.zero_()
        last.bias.zero_()
        return Limits(num_slots=4)

    engine = S2Engine(MODEL_FILES, Precision(), choose_limits=mute)
    await engine.start()
    try:
        with pytest.raises(RunawaySpeechError, match=r"silent for 1[78]. frames"):
            await listen(
                engine, Utterance("A text of some length. " * 5, sampling=Sampling(seed=1))
            )
    finally:
        await engine.close()


async def test_parts_of_a_speech_are_one_stream_through_the_engine(engine: S2Engine) -> None:
    texts = ["Hello there.", "How are you?", "Well."]
    spoken = [
        Utterance(text, sampling=GREEDY, part=Part("s", index, is_last=index == 2))
        for index, text in enumerate(texts)
    ]

    together = np.concatenate(await asyncio.gather(*(listen(engine, each) for each in spoken)))

    model = load_golden_model()
    params = GenerateParams(temperature=0, max_new_tokens=13)
    frames = [
        frame
        for text in texts
        for frame in generate_frames(model.ar, build_prompt(model.tokenizer, text), params)
    ]
    whole = decode_frames(model.codec, torch.from_numpy(np.stack(frames, axis=1)[1:]).long())
    np.testing.assert_allclose(together, whole, rtol=0, atol=1e-5)


async def test_parts_enter_in_order_whichever_is_prepared_first(
    engine: S2Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["Hello there.", "How are you?", "Well."]
    spoken = [
        Utterance(text, sampling=GREEDY, part=Part("s", index, is_last=index == 2))
        for index, text in enumerate(texts)
    ]
    expected = np.concatenate(await asyncio.gather(*(listen(engine, each) for each in spoken)))
    prepare, second_is_in = engine.prepare, asyncio.Event()

    async def prepare_first_last(
        utterance: Utterance, is_aborted: threading.Event
    ) -> UtteranceState:
        part = utterance.part
        if part is not None and part.index == 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(second_is_in.wait(), 0.2)
        sequence = await prepare(utterance, is_aborted)
        if part is not None and part.index == 1:
            asyncio.get_running_loop().call_soon(second_is_in.set)
        return sequence

    monkeypatch.setattr(engine, "prepare", prepare_first_last)
    heard = await asyncio.gather(
        *(listen(engine, replace(each, part=replace_speech(each))) for each in spoken)
    )

    assert np.array_equal(np.concatenate(heard), expected)


def replace_speech(utterance: Utterance) -> Part:
    assert utterance.part is not None
    return replace(utterance.part, speech="another")


async def test_frames_that_were_asked_for_are_no_runaway(engine: S2Engine) -> None:
    wished = Utterance("Hm.", sampling=Sampling(min_tokens_before_end=500))

    sequence = await engine.prepare(wished, threading.Event())

    assert sequence.runaway_frames == 500 + 184


async def test_with_too_little_memory_for_its_caches_it_speaks_fewer_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warm_up = Core.warm_up

    def fail_if_many(core: Core, model: Model) -> None:
        if core.limits.num_slots > 1:
            raise torch.OutOfMemoryError("no memory left")
        warm_up(core, model)

    monkeypatch.setattr(Core, "warm_up", fail_if_many)
    engine = S2Engine(MODEL_FILES, Precision())
    try:
        await engine.start()
        assert engine.capabilities.num_turns == 1
        assert len(await listen(engine, Utterance("Hi.", sampling=GREEDY))) > 0
    finally:
        await engine.close()
