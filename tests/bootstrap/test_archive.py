"""Archives that somebody else made."""

import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.bootstrap.archive import extract_zip
from fishs2.errors import DownloadError


def pack(path: Path, entries: dict[str, bytes], *, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def test_files_and_folders_are_unpacked_over_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "s2.dll").write_bytes(b"old")
    (folder / "mine.txt").write_bytes(b"kept")

    extract_zip(pack(tmp_path / "a.zip", {"s2.dll": b"new", "sub/x.dll": b"x"}), folder)

    assert (folder / "s2.dll").read_bytes() == b"new"
    assert (folder / "sub" / "x.dll").read_bytes() == b"x"
    assert (folder / "mine.txt").read_bytes() == b"kept"
    assert not list(tmp_path.glob(".runtime*"))


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "C:/evil", "C:evil", "a\\..\\evil", "..\\evil"]
)
def test_entry_that_leads_out_is_refused_and_nothing_is_unpacked(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "runtime"

    with pytest.raises(DownloadError, match="leads out"):
        extract_zip(pack(tmp_path / "a.zip", {"fine": b"x", name: b"x"}), folder)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    packed = pack(tmp_path / "a.zip", {"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)

    with pytest.raises(DownloadError, match="link"):
        extract_zip(packed, tmp_path / "runtime")


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="one name"):
        extract_zip(pack(tmp_path / "a.zip", {"A": b"1", "a": b"2"}), tmp_path / "runtime")


def test_more_than_any_bundle_holds_is_refused(tmp_path: Path) -> None:
    packed = pack(tmp_path / "a.zip", {"a": bytes(2_000)})

    with pytest.raises(DownloadError, match="more than"):
        extract_zip(packed, tmp_path / "runtime", max_bytes=1_000)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)

    with pytest.raises(DownloadError, match="no archive"):
        extract_zip(tmp_path / "a.zip", tmp_path / "runtime")


def test_damaged_archive_leaves_the_old_files(tmp_path: Path) -> None:
    packed = pack(tmp_path / "a.zip", {"a": b"new" * 100, "b": bytes(range(256)) * 40})
    damaged = bytearray(packed.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    packed.write_bytes(damaged)
    folder = tmp_path / "runtime"
    folder.mkdir()
    (folder / "a").write_bytes(b"old")

    with pytest.raises(DownloadError):
        extract_zip(packed, folder)

    assert (folder / "a").read_bytes() == b"old"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="./\\:ab~ \0é", min_size=1, max_size=12))
def test_no_name_writes_outside_the_folder(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    root = tmp_path_factory.mktemp("archive")
    packed = pack(root / "a.zip", {name: b"x"})

    with suppress(DownloadError):
        extract_zip(packed, root / "in" / "runtime")

    outside = {path for path in root.rglob("*") if path.is_file()} - {packed}
    assert all(path.is_relative_to(root / "in" / "runtime") for path in outside)
