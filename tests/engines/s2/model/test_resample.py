import numpy as np
import pytest

from fishs2.engines.s2.model.resample import resample
from tests.engines.s2.golden import arrays


@pytest.mark.parametrize("rate_hz", [16000, 22050, 24000, 48000])
def test_resampled_audio_equals_the_golden(rate_hz: int) -> None:
    golden = arrays("resample_golden")

    pcm = resample(golden[f"in_{rate_hz}"], rate_hz, 44100)

    assert pcm.dtype == np.float32
    np.testing.assert_allclose(pcm, golden[f"out_{rate_hz}"], rtol=0, atol=2e-5)


def test_rates_without_a_common_divisor_cost_no_more() -> None:
    pcm = np.sin(np.arange(44099) * 2 * np.pi * 440 / 44099).astype(np.float32)

    resampled = resample(pcm, 44099, 44100)

    expected = np.sin(np.arange(44100) * 2 * np.pi * 440 / 44100)
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], atol=1e-3)


def test_audio_at_the_right_rate_or_without_samples_stays_as_it_is() -> None:
    pcm = np.ones(10, np.float32)

    assert resample(pcm, 44100, 44100) is pcm
    assert len(resample(pcm[:0], 16000, 44100)) == 0
