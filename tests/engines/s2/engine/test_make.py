"""How many utterances at once: what fits, and no more than was asked for."""

from typing import Literal

import pytest
import torch

from fishs2.engines.s2.device.model import Model, Precision, load_model
from fishs2.engines.s2.engine import make
from fishs2.engines.s2.engine.make import (
    STREAM_BYTES,
    S2Place,
    S2Wishes,
    choose_limits,
    choose_precision,
)
from fishs2.engines.s2.engine.runner import slot_bytes
from fishs2.errors import EngineUnavailableError
from tests.engines.s2.golden import MODEL_FILES, load_golden_model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_golden_model()


@pytest.mark.parametrize(
    ("free_slots", "max_batch", "expected"),
    [(100, None, 8), (6, None, 3), (6, 2, 2), (6, 50, 3), (0, None, 1), (100, 50, 8)],
)
def test_half_of_the_free_memory_goes_to_slots(
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    free_slots: int,
    max_batch: int | None,
    expected: int,
) -> None:
    slot = slot_bytes(model.ar, 1024) + STREAM_BYTES
    monkeypatch.setattr(make, "free_bytes", lambda _: free_slots * slot)

    limits = choose_limits(model, S2Wishes(max_seq=1024, max_batch=max_batch))

    assert limits.num_slots == expected
    assert limits.max_positions == 1024


@pytest.mark.parametrize("kernels", ["auto", "triton", "torch"])
def test_kernels_that_were_asked_for_come_with_the_precision(
    kernels: Literal["auto", "triton", "torch"],
) -> None:
    place = S2Place("cuda", 1, kernels)

    precision = choose_precision(MODEL_FILES, place)

    assert (precision.device, precision.kernels) == ("cuda:1", kernels)


def test_kernels_of_a_card_are_refused_on_a_cpu() -> None:
    with pytest.raises(EngineUnavailableError, match="needs an NVIDIA card"):
        load_model(MODEL_FILES, Precision(kernels="triton"))


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((12, 0), torch.bfloat16)],
)
def test_cards_without_bfloat16_compute_in_float16(
    capability: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: capability)

    assert choose_precision(MODEL_FILES, S2Place("cuda")).dtype == dtype
    assert choose_precision(MODEL_FILES, S2Place("cpu")).dtype == torch.float32


def test_memory_that_loading_has_left_behind_counts_as_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free_bytes = {"now": 1_000}
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: free_bytes.update(now=5_000))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_bytes["now"], 9_000))

    assert make.free_bytes(torch.device("cuda:0")) == 5_000
