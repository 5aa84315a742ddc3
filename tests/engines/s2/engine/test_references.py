from pathlib import Path

import numpy as np
import pytest

from fishs2.engines.base import Reference
from fishs2.engines.s2.engine.references import ReferenceCache, hash_codec
from fishs2.engines.s2.model.codec import Codec
from fishs2.errors import UserError
from tests.engines.s2.golden import arrays, load_codec


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec()


def reference(
    num_samples: int = 41000, rate_hz: int = 44100, folder: Path | None = None
) -> Reference:
    pcm = np.resize(arrays("codec_golden")["audio_in"], num_samples)
    return Reference(pcm, rate_hz, "what is said", key="k", folder=folder)


def test_codes_equal_the_golden(codec: Codec) -> None:
    encoded = ReferenceCache(codec).encode(reference())

    assert encoded.transcript == "what is said"
    assert encoded.codes.dtype == np.int32
    np.testing.assert_array_equal(encoded.codes, arrays("codec_golden")["codes"])


def test_other_rates_are_resampled_first(codec: Codec) -> None:
    encoded = ReferenceCache(codec).encode(reference(16000, rate_hz=16000))

    assert encoded.codes.shape == (10, 22)


def test_codes_are_kept_in_memory_and_with_the_voice(codec: Codec, tmp_path: Path) -> None:
    cache = ReferenceCache(codec)
    codes = cache.encode(reference(folder=tmp_path)).codes

    assert cache.encode(reference(folder=tmp_path)).codes is codes
    (file,) = tmp_path.iterdir()
    assert file.name.startswith(f".s2-{hash_codec(codec)}-")
    np.save(file, codes + 1)  # to see that it is read
    again = ReferenceCache(codec).encode(reference(folder=tmp_path)).codes
    np.testing.assert_array_equal(again, codes + 1)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all", bytes(2_000_000)])
def test_a_damaged_or_deleted_file_is_made_anew(
    codec: Codec, tmp_path: Path, content: bytes
) -> None:
    codes = ReferenceCache(codec).encode(reference(folder=tmp_path)).codes
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    again = ReferenceCache(codec).encode(reference(folder=tmp_path)).codes

    np.testing.assert_array_equal(again, codes)
    np.testing.assert_array_equal(np.load(file), codes)


def test_voice_that_was_deleted_meanwhile_does_not_come_back(codec: Codec, tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    encoded = ReferenceCache(codec).encode(reference(folder=gone))

    assert encoded.codes.shape == (10, 21)
    assert not gone.exists()


def test_empty_and_overlong_references_are_refused(codec: Codec) -> None:
    cache = ReferenceCache(codec)

    with pytest.raises(UserError, match=r"0.0 seconds; the limit is 90"):
        cache.encode(reference(0))
    with pytest.raises(UserError, match=r"90.2 seconds; the limit is 90"):
        cache.encode(Reference(np.zeros(902, np.float32), 10, "", key=""))
