"""How many utterances at once: what fits, and no more than was asked for."""

import pytest

from fishs2.engines.s2 import opening
from fishs2.engines.s2.model import Model
from fishs2.engines.s2.opening import S2Wishes, choose_limits
from fishs2.engines.s2.runner import slot_bytes
from tests.engines.s2.golden import load_golden_model


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
    slot = slot_bytes(model.ar, 1024) + opening._STREAM_BYTES
    monkeypatch.setattr(opening, "_free_bytes", lambda _: free_slots * slot)

    limits = choose_limits(model, S2Wishes(max_seq=1024, max_batch=max_batch))

    assert limits.num_slots == expected
    assert limits.max_positions == 1024
