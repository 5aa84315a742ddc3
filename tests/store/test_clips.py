"""The folder of cached audio."""

import errno
import hmac
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fishs2.store.clip_index import SLICE
from fishs2.store.clips import ClipStore


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def open_store(folder: Path, clock: Clock | None = None, **limits: float) -> ClipStore:
    given_limits = {"life_s": 100.0, "max_bytes": 1_000, **limits}
    return ClipStore(folder, clock=clock or Clock(), **given_limits)  # type: ignore[arg-type]


def test_clip_is_found_by_content_and_by_name(tmp_path: Path) -> None:
    store = open_store(tmp_path / "clips")
    assert store.find("key", "mp3") is None

    clip = store.add("key", "mp3", b"sound")

    assert store.find("key", "mp3") == clip
    assert store.find_by_name(clip.name) == clip
    assert store.find("key", "wav") is None
    assert clip.path.read_bytes() == b"sound"


def test_name_cannot_be_computed_without_the_secret(tmp_path: Path) -> None:
    one = open_store(tmp_path / "one").add("key", "mp3", b"sound").name
    two = open_store(tmp_path / "two").add("key", "mp3", b"sound").name

    assert one != two
    assert open_store(tmp_path / "one").find("key", "mp3") is not None
    assert (tmp_path / "one" / "secret").stat().st_mode & 0o077 == 0


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=80) | st.sampled_from(["secret", "../x", "a" * 64, "0" * 64 + ".mp3"]))
def test_no_other_name_opens_anything(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    store = open_store(tmp_path_factory.mktemp("clips"))
    store.add("key", "mp3", b"sound")

    assert store.find_by_name(name) is None


def test_clip_dies_when_its_life_is_over(tmp_path: Path) -> None:
    clock = Clock()
    store = open_store(tmp_path, clock)
    clip = store.add("key", "mp3", b"sound")
    clock.now_s += 99
    assert store.find("key", "mp3") is not None

    clock.now_s += 1

    assert store.find("key", "mp3") is None
    assert store.open(clip.name) is None
    store.sweep()
    assert not clip.path.exists()


def test_least_recently_used_goes_first_and_the_newest_stays(tmp_path: Path) -> None:
    clock = Clock()
    store = open_store(tmp_path, clock, life_s=1e6)
    for number in range(3):
        store.add(f"k{number}", "mp3", bytes(400))
        clock.now_s += 100
    # k0 was let go when k2 came. k1 is used again, so k2 goes next.
    assert store.find("k1", "mp3") is not None
    clock.now_s += 100
    store.add("k3", "mp3", bytes(400))
    store.add("large", "mp3", bytes(5_000))

    there = [key for key in ("k0", "k1", "k2", "k3", "large") if store.find(key, "mp3")]
    assert there == ["k1", "k3", "large"]


def test_left_overs_of_crashed_writers_are_removed_and_never_served(tmp_path: Path) -> None:
    clock = Clock()
    store = open_store(tmp_path, clock)
    clip = store.add("key", "mp3", b"sound")
    draft = tmp_path / ".draft-0123"
    draft.write_bytes(b"half")
    os.utime(draft, (clock.now_s, clock.now_s))

    assert store.find_by_name(draft.name) is None
    clock.now_s += 50
    store.sweep()
    assert draft.exists()
    assert clip.path.exists()
    clock.now_s += 3_600
    store.sweep()
    assert not draft.exists()


def test_writer_that_is_killed_leaves_no_half_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fishs2.store.clips import ClipStore\n"
        "store = ClipStore(Path(sys.argv[1]), life_s=1e9, max_bytes=10**9)\n"
        "while True:\n"
        "    print(flush=True)\n"
        "    store.add('key', 'mp3', b'sound' * 100_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.communicate()

    store = ClipStore(tmp_path, life_s=1e9, max_bytes=10**9)
    clip = store.find("key", "mp3")
    assert clip is not None
    assert clip.path.read_bytes() == b"sound" * 100_000


def test_file_that_vanishes_is_a_miss(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add("key", "mp3", b"sound").path.unlink()

    assert store.find("key", "mp3") is None
    store.sweep()


def test_audio_made_again_has_another_etag_and_use_changes_none(tmp_path: Path) -> None:
    clock = Clock()
    clock.now_s += 0.123456789
    store = open_store(tmp_path, clock)
    first = store.add("key", "mp3", b"sound")
    clock.now_s += 70
    used = store.find("key", "mp3")
    clock.now_s += 1
    assert used is not None
    assert store.find("key", "mp3") == used == first

    assert store.add("key", "mp3", b"noise").etag != first.etag


def test_secret_that_a_crash_cut_short_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    clip = open_store(tmp_path).add("key", "mp3", b"sound")

    assert not clip.name.startswith(hmac.new(b"", b"key", "sha256").hexdigest())
    assert open_store(tmp_path).find("key", "mp3") == clip


def test_stores_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    stores = [open_store(tmp_path / "new", max_bytes=10_000) for _ in range(8)]
    with ThreadPoolExecutor(len(stores)) as pool:
        clips = list(pool.map(lambda store: store.add("key", "mp3", b"sound"), stores))

    assert len({clip.name for clip in clips}) == 1


def test_clip_of_another_process_is_found_and_counts_from_the_next_sweep(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fishs2.store.clips import ClipStore\n"
        "store = ClipStore(Path(sys.argv[1]), life_s=1e9, max_bytes=10**9)\n"
        "store.add('theirs', 'mp3', bytes(900))\n"
    )
    store = ClipStore(tmp_path, life_s=1e9, max_bytes=1_000)
    store.add("ours", "mp3", bytes(300))
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert store.find("theirs", "mp3") is not None

    store.sweep()

    there = [key for key in ("ours", "theirs") if store.find(key, "mp3")]
    assert there == ["theirs"]


def test_full_store_takes_clips_without_reading_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise AssertionError("the folder was read")

    monkeypatch.setattr(os, "scandir", fail)
    clock = Clock()
    store = ClipStore(tmp_path, life_s=1e9, max_bytes=10_000, clock=clock)
    for number in range(300):
        clock.now_s += 1
        store.add(f"k{number}", "mp3", bytes(100))
    monkeypatch.undo()

    kept = [number for number in range(300) if store.find(f"k{number}", "mp3")]
    assert kept == list(range(199, 300))


def test_sweep_looks_at_a_part_of_the_folder_only(tmp_path: Path) -> None:
    num = 3 * SLICE
    clock = Clock()
    maker = open_store(tmp_path, clock, max_bytes=10**9)
    names = [maker.add(f"k{number}", "mp3", b"x").name for number in range(num)]
    store = open_store(tmp_path, clock, max_bytes=num)
    store.sweep()

    # By hand, and by another server.
    for name in names[: num // 2]:
        (tmp_path / name).unlink()
    for number in range(num, 2 * num):
        maker.add(f"k{number}", "mp3", b"x")
    num_sweeps = 0
    while (num_kept := len(list(tmp_path.glob("*.mp3")))) > num:
        store.sweep()
        num_sweeps += 1
    store.close()

    assert 2 < num_sweeps < 12
    # As long as those that have gone are not missed, they count.
    assert num // 2 <= num_kept <= num


def test_files_removed_by_hand_make_room(tmp_path: Path) -> None:
    clock = Clock()
    store = open_store(tmp_path, clock, life_s=1e6)
    for number in range(2):
        clock.now_s += 1
        store.add(f"k{number}", "mp3", bytes(500)).path.unlink()
    store.sweep()

    for number in range(2, 4):
        clock.now_s += 1
        store.add(f"k{number}", "mp3", bytes(500))

    assert [store.find(f"k{number}", "mp3") is not None for number in range(4)] == [0, 0, 1, 1]


def test_clip_that_another_server_uses_stays(tmp_path: Path) -> None:
    clock = Clock()
    ours, theirs = (open_store(tmp_path, clock, life_s=1e6) for _ in range(2))
    for number in range(2):
        ours.add(f"k{number}", "mp3", bytes(400))
        clock.now_s += 100
    assert theirs.find("k0", "mp3") is not None

    clock.now_s += 100
    ours.add("k2", "mp3", bytes(400))
    clock.now_s += 1
    ours.add("k3", "mp3", bytes(400))

    there = [number for number in range(4) if ours.find(f"k{number}", "mp3")]
    assert there == [0, 2, 3]


def test_clip_that_another_server_made_anew_lives_on(tmp_path: Path) -> None:
    clock = Clock()
    ours, theirs = (open_store(tmp_path, clock) for _ in range(2))
    ours.add("key", "mp3", b"old")
    clock.now_s += 60
    theirs.add("key", "mp3", b"new")

    clock.now_s += 60
    ours.sweep()
    assert ours.find("key", "mp3") is not None
    clock.now_s += 40
    ours.sweep()

    assert not list(tmp_path.glob("*.mp3"))


def test_folder_that_cannot_be_read_for_a_moment_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    store = open_store(tmp_path, clock, life_s=1e6)
    store.add("k0", "mp3", bytes(600))
    store.sweep()

    def fail(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(PermissionError):
        store.sweep()
    monkeypatch.undo()
    clock.now_s += 1
    store.add("k1", "mp3", bytes(600))
    clock.now_s += 1
    store.add("k2", "mp3", bytes(600))

    assert [store.find(f"k{number}", "mp3") is not None for number in range(3)] == [0, 1, 1]


def test_clock_that_is_set_forth_and_back_by_an_hour_costs_no_young_clip_its_turn(
    tmp_path: Path,
) -> None:
    clock = Clock()
    store = open_store(tmp_path, clock, life_s=7_200)
    store.add("k0", "mp3", bytes(400))
    clock.now_s += 3_600
    store.add("k1", "mp3", bytes(400))
    store.sweep()
    clock.now_s -= 3_600 - 100
    store.sweep()
    # Last used in the future, k1 is used less than k0 is.
    for key in ("k1", "k0"):
        assert store.find(key, "mp3") is not None
        clock.now_s += 100
    store.add("k2", "mp3", bytes(400))
    clock.now_s += 100
    store.add("k3", "mp3", bytes(400))

    assert [store.find(f"k{number}", "mp3") is not None for number in range(4)] == [1, 0, 1, 1]
    clock.now_s += 2 * 7_200
    store.sweep()
    assert not list(tmp_path.glob("*.mp3"))
