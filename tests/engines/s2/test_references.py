from pathlib import Path

import numpy as np
import pytest

from fishs2.engines.base import Reference
from fishs2.engines.s2.codec import Codec
from fishs2.engines.s2.references import ReferenceCache, hash_codec
from fishs2.errors import UserError
from tests.engines.s2.golden import arrays, load_codec


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load_codec()


def reference(num_samples: int = 41000, rate_hz: int = 44100) -> Reference:
    pcm = np.resize(arrays("codec_golden")["audio_in"], num_samples)
    return Reference(pcm, rate_hz, "what is said", key="k")


def test_codes_equal_the_golden(codec: Codec) -> None:
    encoded = ReferenceCache(codec, None).encode(reference())

    assert encoded.transcript == "what is said"
    assert encoded.codes.dtype == np.int32
    np.testing.assert_array_equal(encoded.codes, arrays("codec_golden")["codes"])


def test_other_rates_are_resampled_first(codec: Codec) -> None:
    encoded = ReferenceCache(codec, None).encode(reference(16000, rate_hz=16000))

    assert encoded.codes.shape == (10, 22)


def test_codes_are_kept_in_memory_and_on_disk(codec: Codec, tmp_path: Path) -> None:
    folder = tmp_path / "codes"
    cache = ReferenceCache(codec, folder)
    codes = cache.encode(reference()).codes

    assert cache.encode(reference()).codes is codes
    (file,) = folder.iterdir()
    assert file.name.startswith(hash_codec(codec))
    np.save(file, codes + 1)  # to see that it is read
    again = ReferenceCache(codec, folder).encode(reference()).codes
    np.testing.assert_array_equal(again, codes + 1)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_or_deleted_file_is_made_anew(
    codec: Codec, tmp_path: Path, content: bytes
) -> None:
    codes = ReferenceCache(codec, tmp_path).encode(reference()).codes
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)

    again = ReferenceCache(codec, tmp_path).encode(reference()).codes

    np.testing.assert_array_equal(again, codes)
    np.testing.assert_array_equal(np.load(file), codes)


def test_a_folder_that_cannot_be_written_changes_nothing(codec: Codec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    encoded = ReferenceCache(codec, tmp_path / "file").encode(reference())

    assert encoded.codes.shape == (10, 21)


def test_empty_and_overlong_references_are_refused(codec: Codec) -> None:
    cache = ReferenceCache(codec, None)

    with pytest.raises(UserError, match=r"0.0 seconds; the limit is 90"):
        cache.encode(reference(0))
    with pytest.raises(UserError, match=r"90.2 seconds; the limit is 90"):
        cache.encode(Reference(np.zeros(902, np.float32), 10, "", key=""))
