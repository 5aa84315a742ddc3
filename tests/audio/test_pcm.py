import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.audio.pcm import Resampler, from_int16, silence, to_int16
from fishs2.errors import EngineError


def test_int16_survives_the_way_to_float_and_back() -> None:
    every_value = np.arange(-32768, 32768).astype(np.int16)

    np.testing.assert_array_equal(to_int16(from_int16(every_value)), every_value)


def test_samples_outside_the_range_saturate() -> None:
    pcm = np.array([-9.0, -1.0, 1.0, 9.0], np.float32)

    assert to_int16(pcm).tolist() == [-32768, -32768, 32767, 32767]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_a_sample_that_is_no_number_is_refused(values: list[float]) -> None:
    with pytest.raises(EngineError, match="NaN or infinite"):
        to_int16(np.array([0.0, *values, 0.5], np.float32))


def test_silence_has_the_duration_asked_for() -> None:
    assert silence(0.25, 44_100).tolist() == [0.0] * 11_025


def test_equal_rates_hand_the_input_back() -> None:
    pcm = np.ones(5, np.float32)

    resampler = Resampler(24_000, 24_000)

    assert resampler.resample(pcm) is pcm
    assert len(resampler.flush()) == 0


@given(
    pieces=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    rates=st.sampled_from([(44_100, 24_000), (24_000, 44_100), (22_050, 48_000)]),
)
@settings(max_examples=30, deadline=None)
def test_resampled_duration_is_exact_in_any_pieces(
    pieces: list[int], rates: tuple[int, int]
) -> None:
    resampler = Resampler(*rates)

    num_out = sum(len(resampler.resample(np.zeros(num, np.float32))) for num in pieces)
    num_out += len(resampler.flush())

    assert abs(num_out - sum(pieces) * rates[1] / rates[0]) <= 1
