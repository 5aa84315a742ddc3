"""Voices that people put into the folder by hand, with what else lies there."""

import os
import sys
from pathlib import Path

import pytest

from fishs2.store.voices.changes import NewSample, NewVoice, VoiceChanges
from fishs2.store.voices.files import Voice
from fishs2.store.voices.store import VoiceStore

JUNK = ("Thumbs.db", "desktop.ini", "DESKTOP.INI", ".DS_Store", "._b.wav", "ehthumbs.db")


def only_voice(folder: Path) -> Voice:
    [voice] = VoiceStore(folder).list()
    return voice


@pytest.mark.parametrize("has_meta", [False, True])
def test_what_systems_leave_in_folders_is_no_sample(tmp_path: Path, has_meta: bool) -> None:
    folder = tmp_path / "narrator"
    folder.mkdir()
    for name in ("b.wav", "c.mp3", "read me.pdf", *JUNK):
        (folder / name).write_bytes(b"x")
    if has_meta:
        listed = '{"filename": "Thumbs.db"}, {"filename": "._b.wav"}'
        (folder / "meta.json").write_text(f'{{"files": [{listed}]}}')

    assert [sample.filename for sample in only_voice(tmp_path).samples] == ["b.wav", "c.mp3"]


@pytest.mark.parametrize(
    "content",
    [
        "Grüße, 小明!\n".encode("utf-16"),
        b"\xfe\xff" + "Grüße, 小明!".encode("utf-16-be"),
        "\ufeffGrüße, 小明!\r\n".encode(),
        "  Grüße, 小明!".encode(),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".lab"])
def test_transcripts_are_read_in_every_unicode_encoding(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    (tmp_path / "a").mkdir()
    for folder in (tmp_path / "a", tmp_path):
        (folder / "b.wav").write_bytes(b"x")
        (folder / "b").with_suffix(suffix).write_bytes(content)

    assert [voice.transcript for voice in VoiceStore(tmp_path).list()] == ["Grüße, 小明!"] * 2


def test_transcript_in_another_encoding_is_said_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.wav").write_bytes(b"x")
    (tmp_path / "a" / "b.txt").write_bytes("Grüße".encode("latin-1"))
    store = VoiceStore(tmp_path)

    for _ in range(3):
        assert [voice.transcript for voice in store.list()] == [None]
    assert [record.getMessage() for record in caplog.records] == [
        "skipped in the voices folder: a: b.txt is no transcript: it is neither UTF-8 nor UTF-16"
    ]


def test_every_sample_of_a_folder_gets_its_own_transcript(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("1", "2", "3"):
        (tmp_path / "a" / f"{name}.wav").write_bytes(name.encode())
    (tmp_path / "a" / "1.txt").write_text("One.")
    (tmp_path / "a" / "3.txt").write_text("Three.")

    voice = only_voice(tmp_path)

    assert (voice.transcript, voice.other_transcripts) == ("One.", ("", "Three."))


def test_audio_file_beside_the_folders_is_a_voice(tmp_path: Path) -> None:
    (tmp_path / "Der Erzähler.wav").write_bytes(b"sound")
    (tmp_path / "Der Erzähler.txt").write_text("Es war einmal.")
    store = VoiceStore(tmp_path)

    store.register_staged()
    found = store.find("der erzähler")

    assert found is not None
    assert (found.voice_id, found.transcript) == ("Der Erzähler", "Es war einmal.")
    assert store.read_sample(found, 100) == b"sound"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Der Erzähler.txt",
        "Der Erzähler.wav",
    ]


def test_what_else_lies_beside_the_folders_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.wav", "a.mp3", "photo.jpg", "alone.txt", *JUNK):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    store = VoiceStore(tmp_path)

    for _ in range(3):
        assert [voice.samples[0].filename for voice in store.list()] == ["a.mp3"]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "skipped in the voices folder: a.wav: there is a voice of this name",
        "skipped in the voices folder: empty: it has no audio",
        "skipped in the voices folder: photo.jpg: it is not an audio file",
    ]


def flat_store(folder: Path) -> VoiceStore:
    (folder / "sailor.wav").write_bytes(b"sound")
    (folder / "sailor.txt").write_text("Ahoy.")
    return VoiceStore(folder)


def test_flat_voice_is_deleted_with_its_transcript(tmp_path: Path) -> None:
    store = flat_store(tmp_path)

    assert store.remove("sailor") is not None
    assert store.list() == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_flat_voice_that_is_changed_becomes_a_folder(tmp_path: Path) -> None:
    store = flat_store(tmp_path)

    store.update("sailor", VoiceChanges(name="The Sailor", tags=("old",)))
    changed = only_voice(tmp_path)
    store.rename("sailor", "Captain")
    renamed = only_voice(tmp_path)

    assert (changed.name, changed.transcript, changed.tags) == ("The Sailor", "Ahoy.", ("old",))
    assert (renamed.voice_id, renamed.name, renamed.tags) == ("captain", "Captain", ("old",))
    assert (tmp_path / "captain" / "sailor.wav").read_bytes() == b"sound"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "captain"]


def test_flat_voice_that_is_uploaded_again_is_replaced(tmp_path: Path) -> None:
    store = flat_store(tmp_path)

    store.add(NewVoice((NewSample("new.wav", b"new"),), voice_id="Sailor", transcript="New."))

    voice = only_voice(tmp_path)
    assert (voice.voice_id, voice.transcript) == ("sailor", "New.")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "sailor"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf_8_are_skipped_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = os.fsdecode(b"caf\xe9")
    for folder in ("good", bad):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").write_bytes(b"x")
    for place in (tmp_path, tmp_path / "good"):
        (place / f"{bad}.wav").write_bytes(b"x")

    voice = only_voice(tmp_path)

    assert (voice.voice_id, [sample.filename for sample in voice.samples]) == ("good", ["a.wav"])
    why = "its name is not UTF-8, rename it"
    assert sorted(caplog.messages) == [
        f"skipped in the voices folder: caf?.wav: {why}",
        f"skipped in the voices folder: caf?: {why}",
        f"skipped in the voices folder: good: caf?.wav: {why}",
    ]
