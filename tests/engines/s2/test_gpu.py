"""On an NVIDIA card: graphs, kernels and codec give what a CPU gives. `pytest -m gpu`."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.make_model import sizes
from benchmarks.random_model import Width, make_random_model
from benchmarks.s2_batch import make
from fishs2.engines.s2.device.choose_ops import triton_ops, use_kernels
from fishs2.engines.s2.device.codec_stream import (
    MIN_SNR_DB,
    CodecStream,
    CudaLane,
    choose_codec_type,
    measure_snr_db,
)
from fishs2.engines.s2.device.model import Model, Precision, load_model
from fishs2.engines.s2.device.ops import PLAIN
from fishs2.engines.s2.device.recorded_step import RecordedStep
from fishs2.engines.s2.device.recorder import CudaRecorder
from fishs2.engines.s2.engine.core import Core, Limits
from fishs2.engines.s2.engine.utterance_state import UtteranceState
from fishs2.engines.s2.model.codec import decode_frames
from fishs2.engines.s2.model.generate import generate_frames
from fishs2.engines.s2.model.step import allocate_tables
from tests.engines.s2.golden import MODEL_FILES, load_golden_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card is here"),
    pytest.mark.timeout(600),
]
CARD = torch.device("cuda")
LIMITS = Limits(num_slots=6, max_positions=512, piece_tokens=64, step_tokens=64)
FRAMES = 24


def on_card(kernels: str) -> Model:
    """The golden model in float32, exact."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return load_model(MODEL_FILES, Precision("cuda", torch.float32, "packed", kernels))  # type: ignore[arg-type]


def spoken(model: Model, count: int, *, temperature: float = 0.8) -> list[UtteranceState]:
    """Several utterances at once; ten steps apart, so that rows join and leave."""
    core = Core(model, LIMITS)
    utterances = [make(model, number, frames=FRAMES - 3 * number) for number in range(count)]
    for each in utterances:
        each.params = replace(each.params, temperature=temperature)
        core.add(each)
        for _ in range(3):
            core.step()
    left = set(utterances)
    while left:
        core.step()
        for each in list(left):
            if each.is_spoken:
                left.remove(each)
                core.release(each)
    core.check_integrity()
    return utterances


@pytest.mark.parametrize("kernels", ["triton", "torch"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_graphs_draw_the_frames_of_a_cpu(kernels: str, temperature: float) -> None:
    golden = load_golden_model("packed")

    for utterance in spoken(on_card(kernels), 5, temperature=temperature):
        expected = list(generate_frames(golden.ar, utterance.prompt, utterance.params))
        np.testing.assert_array_equal(utterance.frames, expected)


def test_all_kernels_pass_on_the_golden_model(caplog: pytest.LogCaptureFixture) -> None:
    ar = on_card("torch").ar

    with caplog.at_level(logging.WARNING):
        ops = use_kernels(ar.slow.layers, ar.fast.layers, triton_ops())

    assert not caplog.records
    assert ops == triton_ops()


@pytest.mark.parametrize("width", ["bf16", "q8_0", "q4_0"])
def test_all_kernels_pass_in_bfloat16_at_another_size(
    width: Width, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = make_random_model(sizes()["small"], width, CARD)

    assert not caplog.records
    assert model.ops == triton_ops()


@pytest.mark.parametrize("kernels", ["triton", "torch"])
def test_graph_draws_what_the_same_kernels_draw_one_by_one(kernels: str) -> None:
    model = on_card(kernels)
    assert model.ops is not None
    tables = allocate_tables(model.ar, LIMITS.num_slots, LIMITS.max_positions)
    core = Core(model, LIMITS, step=RecordedStep(model.ar, model.ops, tables, None))

    for utterance in spoken(model, 4):
        again = UtteranceState(
            utterance.prompt, utterance.num_prefix, utterance.params, utterance.max_frames
        )
        core.add(again)
        while not again.is_spoken:
            core.step()
        core.release(again)
        np.testing.assert_array_equal(again.frames, utterance.frames)


def test_padding_and_neighbours_change_nothing() -> None:
    model = on_card("auto")

    alone = spoken(model, 1)[0]

    np.testing.assert_array_equal(spoken(model, 5)[0].frames, alone.frames)


def test_codec_type_is_near_float32_and_the_stream_equals_the_whole() -> None:
    model = make_random_model(sizes()["small"], "bf16", CARD)
    codec = model.codec
    kind = choose_codec_type(codec)
    stream = CodecStream(
        codec,
        num_slots=4,
        lane=CudaLane(CARD),
        recorder=CudaRecorder(CARD),
        kind=kind,
    )
    codes = np.random.default_rng(1).integers(0, 1000, (2, codec.config.num_codebooks, 30))
    heard: list[list[np.ndarray]] = [[], []]
    for start, stop in ((0, 2), (2, 6), (6, 14), (14, 29), (29, 30)):
        for row, pcm in enumerate(stream.launch([3, 1], codes[:, :, start:stop]).take()):
            heard[row].append(pcm)

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with torch.inference_mode():
        for row, pieces in enumerate(heard):
            whole = decode_frames(codec, torch.from_numpy(codes[row]).to(CARD)).cpu().numpy()
            error = np.square(np.concatenate(pieces) - whole).sum()
            assert 10 * np.log10(np.square(whole).sum() / error) > MIN_SNR_DB - 3
    assert kind == "f32" or measure_snr_db(codec, kind) > MIN_SNR_DB


def test_plain_ops_on_a_card_are_those_of_the_plain_loop() -> None:
    model = on_card("torch")
    assert model.ops is PLAIN
    utterance = spoken(model, 1)[0]

    frames = list(generate_frames(model.ar, utterance.prompt, utterance.params))

    np.testing.assert_array_equal(frames, utterance.frames)
