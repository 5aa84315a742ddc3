"""Many utterances at once: each sounds as it does alone, and leaves nothing behind."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.make_model import make_model, sizes
from fishs2.engines.base import Latency, Part
from fishs2.engines.s2.device.model import Model, ModelFiles, Precision, load_model
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.utterance_state import UtteranceState, ramp_for
from fishs2.engines.s2.model.codec import decode_frames
from fishs2.engines.s2.model.generate import generate_frames
from fishs2.engines.s2.model.params import GenerateParams
from fishs2.engines.s2.model.prompt import EncodedReference, build_system, build_turns
from tests.engines.s2.golden import arrays, load_golden_model
from tests.engines.s2.steps import KINDS, Kind, open_step

LIMITS = Limits(num_slots=4, max_positions=512, piece_tokens=16, step_tokens=16)
TEXTS = ["Hello there.", "A", "This one is a little longer, and it takes its time.", "Two words"]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_golden_model()


def make(
    model: Model, text: str, *, seed: int = 1, frames: int = 20, voice: int = 0
) -> UtteranceState:
    shown = []
    if voice:
        codes = arrays("codec_golden")["codes"].astype(np.int32)
        shown = [EncodedReference("A voice." * voice, codes)]
    system = build_system(model.tokenizer, references=shown)
    prompt = np.concatenate((system, build_turns(model.tokenizer, text)), axis=1)
    params = GenerateParams(0.9, 0.95, 40, seed, frames)
    return UtteranceState(prompt, system.shape[1], params, frames)


def speak(core: Core, utterances: Sequence[UtteranceState]) -> list[np.ndarray]:
    """Run until all are spoken; their samples."""
    heard: dict[UtteranceState, list[np.ndarray]] = {each: [] for each in utterances}
    left = list(utterances)
    for each in utterances:
        core.add(each)
    while left:
        for utterance, pcm in core.step():
            heard[utterance].append(pcm)
        for each in [each for each in left if each.is_spoken]:
            left.remove(each)
            core.release(each)
    return [np.concatenate(heard[each]) for each in utterances]


def test_frames_are_those_of_the_plain_loop(model: Model) -> None:
    utterance = make(model, TEXTS[0], voice=1)

    speak(Core(model, LIMITS), [utterance])

    plain = list(generate_frames(model.ar, utterance.prompt, utterance.params))
    np.testing.assert_array_equal(utterance.frames, plain)


def test_each_of_many_sounds_as_it_does_alone(model: Model) -> None:
    alone = [
        speak(Core(model, LIMITS), [make(model, text, seed=seed, frames=5 + 3 * seed)])[0]
        for seed, text in enumerate(TEXTS * 2)
    ]

    # Twice as many as there are slots, of other lengths, so that slots change hands in between.
    core = Core(model, LIMITS)
    together = speak(
        core,
        [make(model, text, seed=seed, frames=5 + 3 * seed) for seed, text in enumerate(TEXTS * 2)],
    )

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)
    assert core.is_idle
    core.check_integrity()


def test_packed_on_a_cpu_each_of_many_sounds_the_same_to_the_last_bit(tmp_path: Path) -> None:
    make_model(tmp_path, sizes()["tiny"], "Q6_K")
    files = ModelFiles(tmp_path / "model.gguf", codec_config=tmp_path / "codec.json")
    packed = load_model(files, Precision(dtype=torch.bfloat16, mode="packed"))
    alone = [
        speak(Core(packed, LIMITS), [make(packed, text, seed=seed, frames=7)])[0]
        for seed, text in enumerate(TEXTS)
    ]

    together = speak(
        Core(packed, LIMITS),
        [make(packed, text, seed=seed, frames=7) for seed, text in enumerate(TEXTS)],
    )

    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)


def test_voice_that_was_read_before_sounds_the_same_and_is_not_read_again(model: Model) -> None:
    core = Core(model, LIMITS)
    [first] = speak(core, [make(model, TEXTS[0], voice=1)])
    again = make(model, TEXTS[0], voice=1)
    core.add(again)
    core.step()

    # Only what follows the voice was left to read.
    assert core.prefixes.num_hits == 1
    core.release(again)
    [second] = speak(core, [make(model, TEXTS[0], voice=1)])
    assert np.array_equal(first, second)


def test_prefixes_are_bounded_and_the_oldest_goes(model: Model) -> None:
    core = Core(model, LIMITS)
    speak(core, [make(model, "A", voice=1, frames=1)])
    num_bytes = core.prefixes.num_bytes
    bounded = Core(model, Limits(num_slots=4, max_positions=512, prefix_bytes=int(2.5 * num_bytes)))

    for voice in (1, 2, 1, 3, 1, 2):
        speak(bounded, [make(model, "A", voice=voice, frames=1)])

    # The second voice had to go for the third, and was read again.
    assert (bounded.prefixes.num_hits, bounded.prefixes.num_misses) == (2, 4)
    assert bounded.prefixes.num_bytes <= 2.5 * num_bytes


@pytest.mark.parametrize("kind", KINDS)
def test_unset_memory_never_reaches_a_sample(model: Model, kind: Kind) -> None:
    step = open_step(kind, model.ar, num_slots=LIMITS.num_slots, max_positions=LIMITS.max_positions)
    core = Core(model, LIMITS, step=step)

    together = speak(core, [make(model, text, seed=seed) for seed, text in enumerate(TEXTS)])

    assert all(np.isfinite(pcm).all() for pcm in together)


def test_aborts_at_any_moment_leave_everybody_else_alone(model: Model) -> None:
    chance = random.Random(4)
    core = Core(model, LIMITS)
    expected = {
        seed: speak(Core(model, LIMITS), [make(model, TEXTS[seed % 4], seed=seed, frames=12)])[0]
        for seed in range(6)
    }
    for _ in range(5):
        utterances = {make(model, TEXTS[s % 4], seed=s, frames=12): s for s in range(6)}
        doomed = chance.sample(list(utterances), 3)
        heard: dict[UtteranceState, list[np.ndarray]] = {each: [] for each in utterances}
        for each in utterances:
            core.add(each)
        left = list(utterances)
        while left:
            for utterance, pcm in core.step():
                heard[utterance].append(pcm)
            for each in list(left):
                if each.is_spoken or (each in doomed and chance.random() < 0.2):
                    left.remove(each)
                    core.release(each)
        for each, seed in utterances.items():
            if each not in doomed:
                pcm = np.concatenate(heard[each])
                np.testing.assert_allclose(pcm, expected[seed], rtol=0, atol=1e-4)
        assert core.is_idle
        core.check_integrity()


@pytest.mark.parametrize("text", ["Hi.", "A long text. " * 12])
def test_first_sound_needs_two_frames_however_long_the_text(model: Model, text: str) -> None:
    core, utterance = Core(model, LIMITS), make(model, text, frames=40)
    core.add(utterance)

    while not core.step():
        pass

    assert len(utterance.frames) == 2


def parts(model: Model, texts: Sequence[str], *, frames: int = 9) -> list[UtteranceState]:
    made = [make(model, text, seed=seed, frames=frames) for seed, text in enumerate(texts)]
    for index, each in enumerate(made):
        each.part = Part("a speech", index, is_last=index == len(made) - 1)
    return made


def decoded_in_one_go(model: Model, utterances: Sequence[UtteranceState]) -> np.ndarray:
    codes = np.stack([frame for each in utterances for frame in each.frames], axis=1)[1:]
    return decode_frames(model.codec, torch.from_numpy(codes).long()).numpy()


def test_parts_of_a_speech_sound_as_if_they_were_one(model: Model) -> None:
    spoken = parts(model, TEXTS)
    core = Core(model, LIMITS)

    heard = np.concatenate(speak(core, spoken))

    np.testing.assert_allclose(heard, decoded_in_one_go(model, spoken), rtol=0, atol=1e-5)


def test_part_that_is_drawn_early_sounds_after_the_one_before_it(model: Model) -> None:
    first, second = parts(model, TEXTS[:2], frames=12)
    second.max_frames = 3
    core = Core(model, LIMITS)
    for each in (first, second):
        core.add(each)
    order: list[UtteranceState] = []
    while not second.is_spoken:
        order += [utterance for utterance, _ in core.step()]
        if first.is_spoken and first.slot >= 0 and first in core.running:
            assert second.num_voiced == 0
            core.release(first)

    assert order == sorted(order, key=[first, second].index)


def test_part_that_failed_is_waited_for(model: Model) -> None:
    first, second = parts(model, TEXTS[:2])
    core = Core(model, LIMITS)
    for each in (first, second):
        core.add(each)
    core.step()
    first.fail("it ran away")
    core.release(first)
    for _ in range(30):
        assert core.step() == []
    assert core.is_stuck
    assert len(second.frames) == 9

    again, _ = parts(model, TEXTS[:2])
    heard = np.concatenate([*speak(core, [again]), *finish(core, second)])

    np.testing.assert_allclose(heard, decoded_in_one_go(model, [again, second]), rtol=0, atol=1e-5)


def test_last_part_that_was_given_up_goes_on_where_the_one_before_it_ended(model: Model) -> None:
    first, second = parts(model, TEXTS[:2])
    core = Core(model, LIMITS)
    heard = speak(core, [first])
    core.add(second)
    core.step()
    core.release(second)

    _, again = parts(model, TEXTS[:2])
    heard += speak(core, [again])

    whole = decoded_in_one_go(model, [first, again])
    np.testing.assert_allclose(np.concatenate(heard), whole, rtol=0, atol=1e-5)


def test_part_that_comes_before_the_one_it_follows_keeps_nobody_waiting(model: Model) -> None:
    first, second, third = parts(model, TEXTS[:3], frames=4)
    core = Core(model, LIMITS)
    for each in (second, first, third):
        core.add(each)

    for _ in range(100):
        core.step()
        for each in [each for each in core.running if each.is_spoken]:
            core.release(each)

    assert core.is_idle


def test_part_that_comes_again_finds_a_slot_where_a_later_one_waits_in_it(model: Model) -> None:
    first, second = parts(model, TEXTS[:2], frames=4)
    core = Core(model, LIMITS.with_slots(1))
    core.add(first)
    core.add(second)
    core.step()
    first.fail("it ran away")
    core.release(first)
    for _ in range(6):
        core.step()
    again, _ = parts(model, TEXTS[:2], frames=4)

    core.add(again)
    heard: list[np.ndarray] = []
    for _ in range(30):
        heard += [pcm for _, pcm in core.step()]
        for each in [each for each in core.running if each.is_spoken]:
            core.release(each)

    assert core.is_idle
    core.check_integrity()
    whole = decoded_in_one_go(model, [again, second])
    np.testing.assert_allclose(np.concatenate(heard), whole, rtol=0, atol=1e-5)


def finish(core: Core, utterance: UtteranceState) -> list[np.ndarray]:
    heard = []
    while not utterance.is_spoken:
        heard += [pcm for _, pcm in core.step()]
    core.release(utterance)
    return heard


def test_speech_is_forgotten_when_its_end_is_said_and_its_parts_are_done(model: Model) -> None:
    core = Core(model, LIMITS)
    first, second = parts(model, TEXTS[:2], frames=1)
    speak(core, [first])
    core.add(second)

    core.end_speech("a speech")
    assert core.num_speeches == 1
    finish(core, second)
    assert core.num_speeches == 0

    core.end_speech("a speech")
    core.end_speech("never heard of")


def test_runaway_is_ended_and_its_slot_is_free(model: Model) -> None:
    core, utterance = Core(model, LIMITS), make(model, "Hi.", frames=100)
    utterance.params = GenerateParams(seed=1, min_tokens_before_end=100)
    utterance.runaway_frames = 30
    core.add(utterance)
    while not utterance.is_spoken:
        core.step()
    core.release(utterance)

    assert utterance.fault == "it spoke 30 frames and found no end"
    core.check_integrity()


@pytest.mark.parametrize(
    ("latency", "chunks"),
    [("low", [1, 2, 4, 8]), ("balanced", [2, 4, 8, 1]), ("normal", [4, 8, 3])],
)
def test_latency_says_how_soon_the_first_sound_comes(
    model: Model, latency: Latency, chunks: list[int]
) -> None:
    utterance = make(model, "Hi.", frames=15)
    utterance.params = GenerateParams(seed=1, min_tokens_before_end=15)
    utterance.ramp = ramp_for(latency)
    core = Core(model, LIMITS)
    core.add(utterance)

    assert [len(pcm) // 2048 for pcm in finish(core, utterance)] == chunks
