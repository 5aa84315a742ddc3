"""The codec beside the ARs: a fake lane is ready when the test says, a fake recorder replays."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from fishs2.engines.s2.device.codec_stream import (
    CODEC_TYPES,
    CodecStream,
    CodecType,
    choose_codec_type,
    computing_in,
    measure_snr_db,
)
from fishs2.engines.s2.device.ops import PLAIN
from fishs2.engines.s2.device.recorder import wait_beside
from fishs2.engines.s2.engine.utterance_state import RAMP_FRAMES, UtteranceState
from fishs2.engines.s2.engine.vocoder import Vocoder
from fishs2.engines.s2.model.codec import Codec, decode_frames
from fishs2.engines.s2.model.params import GenerateParams
from tests.engines.s2.golden import load_codec
from tests.engines.s2.steps import FakeRecorder


class FakeMark:
    """Reached when it was asked for often enough, or waited for."""

    def __init__(self, delay: int) -> None:
        self.delay = delay

    def query(self) -> bool:
        self.delay -= 1
        return self.delay < 0

    def synchronize(self) -> None:
        self.delay = 0


class FakeLane:
    """Work is done at once; its marks come later. num_waits: how often somebody had to wait."""

    def __init__(self, delay: int = 0) -> None:
        self.delay = delay
        self.is_active = False

    @contextmanager
    def active(self) -> Iterator[None]:
        self.is_active = True
        yield
        self.is_active = False

    def mark(self) -> FakeMark:
        assert self.is_active
        return FakeMark(self.delay)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec()


def open_stream(
    codec: Codec, *, delay: int = 0, num_slots: int = 4, recorder: FakeRecorder | None = None
) -> CodecStream:
    recorder = recorder or FakeRecorder()
    lane = FakeLane(delay)
    return CodecStream(codec, num_slots=num_slots, lane=lane, recorder=recorder, kind="f32")


def open_vocoder(codec: Codec, *, delay: int) -> Vocoder:
    rows = open_stream(codec, delay=delay)
    return Vocoder(codec, num_slots=4, max_positions=512, rows=rows)


def random_codes(codec: Codec, num_frames: int, seed: int) -> np.ndarray:
    sizes = [getattr(each, "num_codes", 0) for each in codec.codebooks]
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, num_frames) for size in sizes])


def speaking(codes: np.ndarray, slot: int) -> UtteranceState:
    """A utterance whose frames are still to come; `grow` appends them."""
    num_frames = codes.shape[1]
    prompt = np.zeros((len(codes) + 1, 1), np.int32)
    utterance = UtteranceState(prompt, 0, GenerateParams(), num_frames, state="decoding")
    utterance.slot = slot
    return utterance


def grow(utterance: UtteranceState, codes: np.ndarray) -> None:
    index = len(utterance.frames)
    if index == codes.shape[1]:
        return
    utterance.frames.append(np.concatenate(([0], codes[:, index])).astype(np.int32))
    if len(utterance.frames) == codes.shape[1]:
        utterance.state = "finished"


def expected(codec: Codec, codes: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return decode_frames(codec, torch.from_numpy(codes)).numpy()


@pytest.mark.parametrize("delay", [0, 2, 50])
def test_streams_of_any_length_give_the_samples_of_the_whole(codec: Codec, delay: int) -> None:
    vocoder = open_vocoder(codec, delay=delay)
    codes = {slot: random_codes(codec, 3 + 9 * slot, slot) for slot in range(4)}
    utterances = {speaking(codes[slot], slot): slot for slot in codes}
    heard: dict[UtteranceState, list[np.ndarray]] = {each: [] for each in utterances}

    with torch.inference_mode():
        while not all(each.is_spoken for each in utterances):
            for each, slot in utterances.items():
                grow(each, codes[slot])
            for utterance, pcm in vocoder.collect(list(utterances)):
                heard[utterance].append(pcm)

    for each, slot in utterances.items():
        ours = np.concatenate(heard[each])
        np.testing.assert_allclose(ours, expected(codec, codes[slot]), rtol=0, atol=1e-5)


def test_a_slot_begins_anew_and_padding_leaves_others_alone(codec: Codec) -> None:
    stream = open_stream(codec)
    first, second = random_codes(codec, 4, 1), random_codes(codec, 4, 2)

    # Three rows in a graph of four; slot 3 speaks on where it was.
    parts = [stream.launch([3], first[None, :, :2]).take()[0]]
    stream.launch([0, 1, 2], np.stack([second[:, :1]] * 3)).take()
    stream.begin(0)
    [anew] = stream.launch([0], second[None]).take()
    parts += stream.launch([3], first[None, :, 2:]).take()

    np.testing.assert_allclose(np.concatenate(parts), expected(codec, first), rtol=0, atol=1e-5)
    np.testing.assert_allclose(anew, expected(codec, second), rtol=0, atol=1e-5)


def test_chunks_are_replayed_and_not_computed_anew(codec: Codec) -> None:
    recorder = FakeRecorder()
    stream = open_stream(codec, recorder=recorder)

    stream.launch([0, 2], np.stack([random_codes(codec, 13, 1)] * 2))

    assert recorder.num_replayed == 3  # 8 + 4 + 1 frames


def test_samples_of_somebody_who_left_are_dropped(codec: Codec) -> None:
    vocoder = open_vocoder(codec, delay=2)
    codes = random_codes(codec, 8, 1)
    stays, leaves = speaking(codes, 0), speaking(codes, 1)
    for each in (stays, leaves):
        grow(each, codes)
        grow(each, codes)

    assert not list(vocoder.collect([stays, leaves]))
    vocoder.leave(leaves)
    heard = list(vocoder.collect([stays]))

    assert [utterance for utterance, _ in heard] == [stays]
    assert stays.num_pending == leaves.num_pending == 0


def test_rows_times_frames_of_one_call_are_bounded(codec: Codec) -> None:
    stream = CodecStream(codec, num_slots=64, lane=FakeLane(), recorder=None, kind="f32")

    assert stream.max_rows(1) == 32
    assert stream.max_rows(16) == 8
    assert stream.max_rows(40) == 8


@pytest.mark.parametrize(
    ("snr_db", "chosen"),
    [((70, 90), "bf16"), ((45, 63), "tf32"), ((45, 59), "f32"), ((float("nan"), 63), "tf32")],
)
def test_codec_takes_the_fastest_type_that_is_near_enough(
    codec: Codec, snr_db: tuple[float, float], chosen: CodecType
) -> None:
    measured = dict(zip(CODEC_TYPES, snr_db, strict=False))

    assert choose_codec_type(codec, lambda _, kind: measured[kind]) == chosen


def test_type_that_fails_is_passed_over(codec: Codec, caplog: pytest.LogCaptureFixture) -> None:
    def measure(_: Codec, kind: CodecType) -> float:
        if kind == "bf16":
            raise RuntimeError("no such kernel")
        return 80.0

    assert choose_codec_type(codec, measure) == "tf32"
    assert "the codec cannot compute in bf16: no such kernel" in caplog.text


def test_signal_to_noise_of_float32_to_itself_is_infinite(codec: Codec) -> None:
    assert measure_snr_db(codec, "f32") == float("inf")


def test_types_are_put_back() -> None:
    def allowed() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = allowed()
    with computing_in("tf32"):
        assert allowed() == (True, True)
    with computing_in("f32"):
        assert not allowed()[0]
    assert allowed() == before


def test_a_core_speaks_with_the_codec_beside_it(codec: Codec) -> None:
    from fishs2.engines.s2.engine.core import Core
    from tests.engines.s2.engine.test_core import LIMITS, TEXTS, make, speak
    from tests.engines.s2.golden import load_golden_model

    model = load_golden_model()
    alone = [speak(Core(model, LIMITS), [make(model, text, seed=3)])[0] for text in TEXTS[:3]]
    core = Core(replace(model), LIMITS, vocoder=open_vocoder(model.codec, delay=1))
    heard: dict[UtteranceState, list[np.ndarray]] = {}
    for text in TEXTS[:3]:
        utterance = make(model, text, seed=3)
        heard[utterance] = []
        core.add(utterance)

    while not core.is_idle:
        for utterance, pcm in core.step():
            heard[utterance].append(pcm)
        for utterance in heard:
            if utterance.is_spoken and utterance.slot >= 0:
                core.release(utterance)
                utterance.slot = -1

    for one, pieces in zip(alone, heard.values(), strict=True):
        np.testing.assert_allclose(np.concatenate(pieces), one, rtol=0, atol=1e-4)


def test_first_samples_are_given_while_the_next_frame_is_waited_for(codec: Codec) -> None:
    from fishs2.engines.s2.engine.core import Core
    from tests.engines.s2.engine.test_core import LIMITS, TEXTS, make
    from tests.engines.s2.golden import load_golden_model

    model = replace(load_golden_model(), ops=PLAIN)
    core = Core(model, LIMITS, vocoder=open_vocoder(model.codec, delay=2))
    utterance = make(model, TEXTS[0])
    core.add(utterance)
    given: list[int] = []

    def give(whose: UtteranceState, pcm: np.ndarray) -> None:
        assert whose is utterance
        given.append(len(utterance.frames))

    in_the_list = [core.step(give) for _ in range(RAMP_FRAMES[0] + 1)]

    # The step that drew the next frame gave them before it had it.
    assert given == [RAMP_FRAMES[0]]
    assert len(utterance.frames) == RAMP_FRAMES[0] + 1
    assert not any(in_the_list)


def test_nobody_is_asked_again_who_has_nothing_to_do() -> None:
    asked: list[bool] = []

    def ask(*, is_busy: bool) -> bool:
        asked.append(is_busy)
        return is_busy

    wait_beside(FakeMark(50), lambda: ask(is_busy=False))
    assert asked == [False]

    wait_beside(FakeMark(3), lambda: ask(is_busy=True))
    assert asked == [False, *[True] * 4]


def test_rows_that_pad_a_batch_never_come_to_the_end_of_the_tables(codec: Codec) -> None:
    stream = open_stream(codec)
    [window, *_] = stream.state.windows.values()
    window.position[-1] = codec.config.frame_transformer.max_positions - 3
    codes = np.stack([random_codes(codec, 2, slot) for slot in range(3)])

    with torch.inference_mode():
        for _ in range(3):
            stream.launch([0, 1, 2], codes).take()

    assert window.position.tolist() == [6, 6, 6, 0, 0]
