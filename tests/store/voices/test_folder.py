"""What is remembered of the folder of voices, and how soon what others change is seen."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fishs2.store.voices.changes import NewSample, NewVoice, VoiceChanges
from fishs2.store.voices.folder import SIGHT_S
from fishs2.store.voices.store import VoiceStore


class Clock:
    """Stands still until it is told how far to go."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def put(folder: Path, voice_id: str, **meta: object) -> Path:
    """A voice as another program leaves it; returns its metadata."""
    place = folder / voice_id
    place.mkdir(parents=True)
    (place / "a.wav").write_bytes(b"sound")
    file = place / "meta.json"
    file.write_text(json.dumps({"files": [{"filename": "a.wav"}], **meta}))
    return file


def keep_stamps(*paths: Path) -> Callable[[], None]:
    """A function that puts time stamps back, as a disk does that counts in seconds."""
    states = [(path, path.stat()) for path in paths]

    def put_back() -> None:
        for path, state in states:
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    return put_back


def test_look_up_reads_no_other_voice_and_a_miss_reads_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        put(tmp_path, f"v{number}", name=f"Voice {number}")
    store = VoiceStore(tmp_path, clock=Clock())
    store.find("nobody")
    stats: list[str] = []
    real = os.stat

    def count(path: str | Path, **how: bool) -> os.stat_result:
        stats.append(str(path))
        return real(path, **how)

    monkeypatch.setattr(os, "stat", count)

    for name in ("v7", "VOICE 250", "nobody", "somebody else"):
        stats.clear()
        store.find(name)
        assert len(stats) < 10, name


def test_voice_that_is_dropped_in_is_found_at_once(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path, clock=Clock())
    put(tmp_path, "a")
    assert store.find("b") is None

    put(tmp_path, "b", name="Bea")

    assert [voice.voice_id for voice in store.list()] == ["a", "b"]
    assert store.find("BEA") is not None


def test_voice_that_is_taken_away_is_not_found(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path, clock=Clock())
    put(tmp_path, "a", name="Ada")
    assert store.find("ada") is not None

    shutil.rmtree(tmp_path / "a")

    assert store.find("ada") is None
    assert store.find("a") is None
    assert store.list() == []


@pytest.mark.parametrize("change", ["in place", "another file"])
def test_voice_that_is_edited_by_hand_is_found_as_it_is(tmp_path: Path, change: str) -> None:
    store = VoiceStore(tmp_path, clock=Clock())
    file = put(tmp_path, "a", prompt_text="one")
    assert store.find("a") is not None

    if change == "in place":
        file.write_text(file.read_text().replace("one", "two"))
    else:
        draft = file.with_name("draft.json")
        draft.write_text(file.read_text().replace("one", "two"))
        draft.replace(file)

    found = store.find("a")
    assert found is not None
    assert found.transcript == "two"


def test_name_that_is_edited_by_hand_is_found_when_a_look_is_old(tmp_path: Path) -> None:
    clock = Clock()
    store = VoiceStore(tmp_path, clock=clock)
    file = put(tmp_path, "a", name="Ada")
    put(tmp_path, "b", name="Bob")
    assert store.find("nora") is None

    file.write_text(file.read_text().replace("Ada", "Nora"))
    clock.now_s += SIGHT_S

    found = store.find("NORA")
    assert found is not None
    assert found.voice_id == "a"
    assert store.find("ada") is None
    assert SIGHT_S < 2


def test_newest_of_equal_names_counts_after_a_look(tmp_path: Path) -> None:
    clock = Clock()
    store = VoiceStore(tmp_path, clock=clock)
    put(tmp_path, "a", name="Jose\u0301", created=2)
    put(tmp_path, "b", name="JOSÉ", created=3)
    put(tmp_path, "josé", name="somebody", created=4)

    def find(name: str) -> str | None:
        found = store.find(name)
        return found.voice_id if found else None

    assert [find("José"), find("josé"), find("jose")] == ["b", "josé", None]
    (tmp_path / "b" / "meta.json").write_text('{"name": "JOSÉ", "created": 1}')
    clock.now_s += SIGHT_S

    assert find("JosÉ") == "a"


def test_changes_in_one_tick_of_a_coarse_disk_are_seen(tmp_path: Path) -> None:
    clock = Clock()
    store = VoiceStore(tmp_path, clock=clock)
    file = put(tmp_path, "a", prompt_text="one")
    put_back = keep_stamps(tmp_path, tmp_path / "a", file)
    assert [voice.transcript for voice in store.list()] == ["one"]

    # The same size, the same file and the same times.
    with file.open("r+") as meta:
        meta.write(file.read_text().replace("one", "two"))
    put_back()
    clock.now_s += SIGHT_S

    assert [voice.transcript for voice in store.list()] == ["two"]


def test_folder_whose_stamp_does_not_change_is_looked_at_when_a_look_is_old(
    tmp_path: Path,
) -> None:
    clock = Clock()
    store = VoiceStore(tmp_path, clock=clock)
    put(tmp_path, "a")
    put_back = keep_stamps(tmp_path)
    assert len(store.list()) == 1

    put(tmp_path, "b")
    put_back()
    clock.now_s += SIGHT_S

    assert len(store.list()) == 2


def test_what_a_store_writes_it_finds_whatever_the_time_stamps_say(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path, clock=Clock())
    put_back = keep_stamps(tmp_path)

    def said(name: str) -> str | None:
        put_back()
        found = store.find(name)
        return found.transcript if found else None

    def new(text: str) -> NewVoice:
        return NewVoice((NewSample("a.wav", b"sound"),), voice_id="Ada", transcript=text)

    assert said("ada") is None
    store.add(new("one"))
    assert said("ada") == "one"
    store.update("ada", VoiceChanges(transcripts=("two",)))
    assert said("ada") == "two"
    store.rename("ada", "Bea")
    assert [said("ada"), said("bea")] == [None, "two"]
    store.remove("bea")
    assert said("bea") is None


def test_flat_voice_is_read_again_when_its_transcript_changes(tmp_path: Path) -> None:
    clock = Clock()
    store = VoiceStore(tmp_path, clock=clock)
    (tmp_path / "sailor.wav").write_bytes(b"sound")
    (tmp_path / "sailor.txt").write_text("one")
    assert store.list()[0].transcript == "one"

    (tmp_path / "sailor.txt").write_text("two")

    found = store.find("Sailor")
    assert found is not None
    assert found.transcript == "two"
    (tmp_path / "sailor.txt").unlink()
    clock.now_s += SIGHT_S
    assert store.list()[0].transcript is None


def test_folder_without_metadata_is_read_again_when_a_file_changes(tmp_path: Path) -> None:
    clock = Clock()
    store = VoiceStore(tmp_path, clock=clock)
    (tmp_path / "a").mkdir()
    assert store.list() == []

    (tmp_path / "a" / "x.wav").write_bytes(b"sound")
    clock.now_s += SIGHT_S
    assert [voice.voice_id for voice in store.list()] == ["a"]
    (tmp_path / "a" / "x.txt").write_text("said")

    found = store.find("a")
    assert found is not None
    assert found.transcript == "said"


def test_old_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    put(tmp_path, "a")
    store = VoiceStore(tmp_path, clock=clock)
    opened: list[object] = []
    real = os.open

    def count(path: str | Path, *how: int) -> int:
        opened.append(path)
        return real(path, *how)

    monkeypatch.setattr(os, "open", count)
    store.list()
    assert opened
    for _ in range(3):
        # Until a disk that counts in two seconds would show a change.
        clock.now_s += SIGHT_S
        store.list()
    opened.clear()

    clock.now_s += SIGHT_S
    store.list()

    assert not opened
