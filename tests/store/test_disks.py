"""Disks that are full or read-only, and folders without locks: nothing half-written, nothing lost.

The disks are file systems in memory of 8 MB, where this machine lets us mount them.
"""

import errno
import hashlib
import io
import logging
import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fishs2.bootstrap.download import Source, download
from fishs2.bootstrap.progress import Progress
from fishs2.errors import DownloadError, StoreFullError, StoreUnavailableError
from fishs2.server.logs import LogFiles, log_to_files
from fishs2.store.accounts.keys import Key, NewKey, create_key, find_key
from fishs2.store.accounts.usage import Outcome, read_usage, reserve, settle, today
from fishs2.store.clips import ClipStore
from fishs2.store.database import Database
from fishs2.store.failures import store_errors
from fishs2.store.spool import Spool
from fishs2.store.voices.changes import NewSample, NewVoice
from fishs2.store.voices.store import VoiceStore
from tests.bootstrap.file_server import file_server

DISK_BYTES = 8_000_000


def mount(folder: Path, *options: str) -> bool:
    program = shutil.which("mount")
    if program is None:
        return False
    command = [program, "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, f"size={DISK_BYTES}"):
        pytest.skip("this machine lets nobody mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(disk: Path) -> None:
    assert mount(disk, "remount", "ro")


def fill(disk: Path) -> Path:
    """Leave not a byte; returns what takes up the room."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4_096))
    assert os.statvfs(disk).f_bavail == 0
    return file


def new_voice(name: str, content: bytes, said: str = "said") -> NewVoice:
    return NewVoice((NewSample("a.wav", content),), voice_id=name, transcript=said)


def in_store(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_full_disk_leaves_every_voice_as_it_was(disk: Path) -> None:
    store = VoiceStore(disk / "voices")
    store.add(new_voice("a", b"old" * 10_000))
    before = in_store(disk / "voices")

    for name in ("a", "b"):
        with pytest.raises(StoreFullError), store_errors("voices"):
            store.add(new_voice(name, bytes(2 * DISK_BYTES)))

    assert in_store(disk / "voices") == before
    found = VoiceStore(disk / "voices").find("a")
    assert found is not None
    assert store.read_sample(found, DISK_BYTES) == b"old" * 10_000
    store.add(new_voice("b", b"small"))
    assert [voice.voice_id for voice in store.list()] == ["a", "b"]


def test_voices_on_a_full_disk_can_be_deleted(disk: Path) -> None:
    store = VoiceStore(disk / "voices")
    store.add(new_voice("a", bytes(100_000)))
    fill(disk)

    assert store.remove("a") is not None

    assert store.list() == []
    store.add(new_voice("b", bytes(50_000)))


def test_full_disk_keeps_the_clips_that_are_there_and_no_drafts(disk: Path) -> None:
    store = ClipStore(disk, life_s=1e6, max_bytes=10**9)
    kept = store.add("kept", "mp3", bytes(500_000))

    with pytest.raises(StoreFullError), store_errors("clips"):
        store.add("large", "mp3", bytes(DISK_BYTES))

    assert store.find("kept", "mp3") == kept
    assert store.find("large", "mp3") is None
    assert len(kept.path.read_bytes()) == 500_000
    assert not list(disk.glob(".draft-*"))
    store.add("small", "mp3", bytes(100_000))


def state(database: Database, key: Key) -> tuple[int, int, int]:
    found = find_key(database, key.id)
    assert found is not None
    return found.spent, found.reserved, found.active


def test_quotas_are_exact_when_a_disk_was_full(disk: Path) -> None:
    database = Database(f"sqlite:///{disk / 'fishs2.db'}")
    database.migrate()
    key, _ = create_key(database, NewKey("me", granted=10**9))
    ids: list[str] = []

    def reserve_one() -> None:
        reservation_id = uuid.uuid4().hex
        reserve(database, key.id, 10, owner_id="o", reservation_id=reservation_id)
        ids.append(reservation_id)

    def reserve_until_full() -> None:
        for _ in range(2_000):
            reserve_one()

    for _ in range(20):
        reserve_one()
    filler = fill(disk)
    for _ in range(3):
        with pytest.raises(StoreFullError, match="the database cannot be used"):
            reserve_until_full()
    with pytest.raises(StoreFullError):
        settle(database, key.id, ids[0], Outcome(7, 1.0))
    num_kept = len(ids)
    filler.unlink()

    assert state(database, key) == (0, 10 * num_kept, num_kept)
    for each in ids:
        settle(database, key.id, each, Outcome(7, 1.0))
    [day] = read_usage(database, key.id, today())
    database.close()

    assert state(database, key) == (7 * num_kept, 0, 0)
    assert (day.num_requests, day.num_chars) == (num_kept, 7 * num_kept)
    connection = sqlite3.connect(disk / "fishs2.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    database.close()


def test_large_answer_on_a_full_disk_is_a_clear_error_and_frees_what_it_took(disk: Path) -> None:
    spool = Spool(disk, max_memory_bytes=100_000)

    def write_much() -> None:
        for _ in range(300):
            spool.write(bytes(50_000))

    with pytest.raises(StoreFullError, match="FISHS2_TEMP_DIR"):
        write_much()
    spool.close()

    assert os.statvfs(disk).f_bavail > 0.9 * os.statvfs(disk).f_blocks


def test_download_on_a_disk_that_fills_meanwhile_keeps_the_old_file_and_goes_on_later(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(DISK_BYTES // 4)
    source_of = {"/f.bin": content}
    path = disk / "f.bin"
    path.write_bytes(b"old")
    filler = fill(disk)
    # What looked free when the download began is taken by the time that it comes.
    plenty = shutil.disk_usage(disk)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: plenty)
    with file_server(source_of) as server:
        source = Source(f"{server.url}/f.bin", hashlib.sha256(content).hexdigest())
        with pytest.raises(DownloadError, match=r"f\.bin cannot be written: No space left"):
            download(source, path, Progress(io.StringIO()), force=True)
        assert path.read_bytes() == b"old"
        filler.unlink()
        download(source, path, Progress(io.StringIO()), force=True)

    assert path.read_bytes() == content
    assert [found.name for found in disk.iterdir() if "part" in found.name] == []


def test_logs_on_a_full_disk_are_missed_once_and_written_again(
    disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = LogFiles(
        disk, "app.log", "access.log", "errors.log", level="INFO", max_bytes=10**6, num_backups=2
    )
    logger = logging.getLogger("fishs2.test")
    for name in ("app.log", "errors.log"):
        (disk / name).write_bytes(b"x" * 4_096)
    filler = fill(disk)

    with log_to_files(files):
        for number in range(50):
            logger.info("lost %d", number)
    said = capsys.readouterr().err
    filler.unlink()
    with log_to_files(files):
        logger.info("written again")

    assert said.count("app.log cannot be written: No space left on device") == 1
    assert "Traceback" not in said
    assert "written again" in (disk / "app.log").read_text(encoding="utf-8")


def test_read_only_disk_gives_what_it_has_and_takes_nothing(disk: Path) -> None:
    voices, clips = VoiceStore(disk / "voices"), ClipStore(disk / "clips", life_s=1e6, max_bytes=9)
    voices.add(new_voice("a", b"sound"))
    clip = clips.add("key", "mp3", b"sound")
    make_read_only(disk)

    for store in (voices, VoiceStore(disk / "voices")):
        assert [voice.voice_id for voice in store.list()] == ["a"]
        assert store.find("A") is not None
        assert store.find("nobody") is None
        with pytest.raises(StoreUnavailableError, match="Read-only"), store_errors("voices"):
            store.add(new_voice("b", b"x"))
        with pytest.raises(StoreUnavailableError, match="Read-only"), store_errors("voices"):
            store.remove("a")
    for kept in (clips, ClipStore(disk / "clips", life_s=1e6, max_bytes=9)):
        assert kept.find("key", "mp3") == clip
        kept.sweep()
        assert kept.find("key", "mp3") == clip
        with pytest.raises(StoreUnavailableError, match="Read-only"), store_errors("clips"):
            kept.add("other", "mp3", b"sound")


def test_keys_on_a_read_only_disk_let_nobody_in_unasked(disk: Path) -> None:
    database = Database(f"sqlite:///{disk / 'fishs2.db'}")
    database.migrate()
    key, _ = create_key(database, NewKey("me", granted=100))
    database.close()
    make_read_only(disk)

    for opened in (database, Database(f"sqlite:///{disk / 'fishs2.db'}")):
        assert opened.exists
        with pytest.raises(StoreUnavailableError):
            reserve(opened, key.id, 10, owner_id="o", reservation_id="r")
        with pytest.raises(StoreUnavailableError):
            opened.check_writable()
        opened.close()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EIO, errno.EOPNOTSUPP])
def test_voices_where_files_cannot_be_locked_are_read_and_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fcntl = pytest.importorskip("fcntl")
    VoiceStore(tmp_path).add(new_voice("a", b"sound"))
    store = VoiceStore(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", fail)

    assert [voice.voice_id for voice in store.list()] == ["a"]
    assert store.find("a") is not None
    assert store.find("nobody") is None
    with pytest.raises(StoreUnavailableError, match=os.strerror(code)), store_errors("voices"):
        store.add(new_voice("a", b"other"))
    assert (tmp_path / "a" / "a.wav").read_bytes() == b"sound"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a"]
