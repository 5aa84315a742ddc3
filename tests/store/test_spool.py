"""Temporary files: in memory while they are small, and under no name on the disk."""

import errno
import os
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from fishs2.audio.encode import FileEncoder
from fishs2.audio.formats import FORMATS, choose_format
from fishs2.errors import StoreFullError, StoreUnavailableError
from fishs2.store import spool as spool_module
from fishs2.store.spool import Spool
from tests.encoding import MemoryEncoder

RATE_HZ = 24_000


def test_small_file_touches_no_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "temp", max_memory_bytes=100)
    spool.write(b"x" * 100)
    spool.seek(0)

    assert spool.read() == b"x" * 100
    assert not (tmp_path / "temp").exists()
    spool.close()


def test_large_file_is_on_the_disk_without_a_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "temp", max_memory_bytes=100)
    was_light = spool.is_light
    for number in range(30):
        spool.write(bytes([number]) * 10)
    spool.seek(5)
    spool.write(b"there")
    spool.seek(0)

    content = spool.read()
    assert content[:10] == bytes(5) + b"there"
    assert content[10:] == b"".join(bytes([number]) * 10 for number in range(1, 30))
    assert spool.num_bytes == 300
    assert (was_light, spool.is_light) == (True, False)
    assert os.listdir(tmp_path / "temp") == []
    spool.close()
    spool.close()


@pytest.mark.parametrize("name", FORMATS)
def test_whole_file_is_the_same_in_memory_and_on_the_disk(tmp_path: Path, name: str) -> None:
    audio_format = choose_format(name, engine_rate_hz=RATE_HZ)
    pcm = np.sin(np.arange(RATE_HZ) / 10).astype(np.float32)
    rate_hz = audio_format.sample_rate_hz
    spool = Spool(tmp_path, max_memory_bytes=1_000)
    expected = MemoryEncoder(audio_format)
    encoder = FileEncoder(audio_format, spool)

    for start in range(0, rate_hz, 1_000):
        piece = pcm[start : start + 1_000]
        assert expected.encode(piece) == encoder.encode(piece) == b""
    whole, rest = expected.flush(), encoder.flush()
    spool.seek(0)

    assert rest == b""
    assert spool.num_bytes == len(whole)
    # The number of an Ogg stream is drawn anew for each.
    assert spool.read() == whole or name == "opus"
    spool.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full disk here")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("max_memory_bytes", [500, 2_000, 20_000])
def test_full_disk_is_said_so_whatever_the_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, max_memory_bytes: int
) -> None:
    def open_full(**_: object) -> IO[bytes]:
        return Path("/dev/full").open("r+b")

    monkeypatch.setattr(spool_module, "TemporaryFile", open_full)
    spool = Spool(tmp_path, max_memory_bytes=max_memory_bytes)
    encoder = FileEncoder(choose_format(name, engine_rate_hz=RATE_HZ), spool)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 1_000).astype(np.float32)

    def write_all() -> None:
        for _ in range(300):
            encoder.encode(noise)
        encoder.flush()

    with pytest.raises(StoreFullError, match=r"FISHS2_TEMP_DIR.*No space left"):
        write_all()
    encoder.close()
    spool.close()


def test_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("a file")
    spool = Spool(tmp_path / "temp", max_memory_bytes=10)

    with pytest.raises(StoreUnavailableError, match="a file is where a folder should be"):
        spool.write(b"x" * 11)
    spool.close()


def test_disk_that_fails_is_no_full_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(spool_module, "TemporaryFile", fail)
    spool = Spool(tmp_path, max_memory_bytes=10)

    with pytest.raises(StoreUnavailableError, match="Read-only") as caught:
        spool.write(b"x" * 11)
    assert not isinstance(caught.value, StoreFullError)
    spool.close()
