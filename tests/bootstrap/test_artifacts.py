"""The archive of the s2.cpp library: which one is taken, and what must be in it."""

import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fishs2.bootstrap.artifacts import LocalFile, fetch_artifacts, needed_artifacts
from fishs2.bootstrap.download import Source
from fishs2.bootstrap.progress import Progress
from fishs2.engines.s2cpp.bundle import library_name
from fishs2.errors import DownloadError
from fishs2.settings import Settings
from tests.serving import make_settings


def settings(folder: Path, **values: Any) -> Settings:
    return make_settings(runtime_dir=folder / "runtime", temp_dir=folder, **values)


def bundle_of(chosen: Settings) -> list[Any]:
    """The artifacts beside model and tokenizer."""
    return needed_artifacts(chosen, "q8_0", engine="s2cpp")[2:]


def pack(path: Path, name: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"content")
    return path


def test_archive_that_is_there_is_unpacked_and_kept(tmp_path: Path) -> None:
    archive = pack(tmp_path / "bundle.zip", f"folder/{library_name()}")
    wanted = bundle_of(settings(tmp_path, runtime_zip_path=archive))

    fetch_artifacts(wanted, Progress())

    assert (tmp_path / "runtime" / "folder" / library_name()).read_bytes() == b"content"
    assert archive.exists()
    archive.unlink()
    fetch_artifacts(wanted, Progress())  # the library is there: nothing is needed


@pytest.mark.parametrize(
    ("name", "sha256", "message"),
    [("readme.txt", None, "it is not for this system"), (library_name(), "0" * 64, "SHA-256 0000")],
)
def test_archive_of_something_else_is_an_error(
    name: str, sha256: str | None, message: str, tmp_path: Path
) -> None:
    archive = pack(tmp_path / "bundle.zip", name)
    chosen = settings(tmp_path, runtime_zip_path=archive, runtime_zip_sha256=sha256)

    with pytest.raises(DownloadError, match=message):
        fetch_artifacts(bundle_of(chosen), Progress())


def test_address_wins_over_file_and_library_over_none(tmp_path: Path) -> None:
    archive = pack(tmp_path / "bundle.zip", library_name())
    url = "https://a.invalid/b.zip"

    (by_url,) = bundle_of(settings(tmp_path, runtime_zip_url=url, runtime_zip_path=archive))
    (by_file,) = bundle_of(settings(tmp_path, runtime_zip_path=archive))
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / library_name()).touch()

    assert by_url.source == Source(url)
    assert by_file.source == LocalFile()
    assert bundle_of(settings(tmp_path)) == []
    assert bundle_of(settings(tmp_path, s2_dll_path=tmp_path / "libs2.so")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is a published bundle for Windows")
def test_system_that_nobody_publishes_for_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"FISHS2_RUNTIME_DIR .* FISHS2_RUNTIME_ZIP_PATH"):
        bundle_of(settings(tmp_path))
