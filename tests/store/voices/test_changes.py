"""Stored voices that change: what they say of themselves, their picture, their id."""

import json
import os
import threading
from pathlib import Path

import pytest

from fishs2.errors import UserError
from fishs2.store.voices import store as voices_module
from fishs2.store.voices.changes import Cover, NewSample, NewVoice, VoiceChanges
from fishs2.store.voices.store import VoiceStore
from tests.store.voices.test_store import snapshot

PICTURE = Cover("png", b"a picture")


def new_voice(voice_id: str = "a") -> NewVoice:
    samples = (NewSample("one.wav", b"1", "One."), NewSample("two.wav", b"2", "Two."))
    return NewVoice(samples, voice_id=voice_id, name=f"Name of {voice_id}", tags=("x",))


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    store = VoiceStore(tmp_path / "voices")
    store.add(new_voice())
    return store


def test_change_keeps_the_rest_and_the_audio(store: VoiceStore, tmp_path: Path) -> None:
    before = store.find("a")
    changed = store.update("a", VoiceChanges(name="B", visibility="public", tags=()))
    again = VoiceStore(tmp_path / "voices").find("a")

    assert before is not None
    assert changed == again
    assert again is not None
    assert (again.name, again.visibility, again.tags) == ("B", "public", ())
    assert (again.transcript, again.other_transcripts) == ("One.", ("Two.",))
    assert (again.samples, again.created) == (before.samples, before.created)
    assert again.updated is not None


@pytest.mark.parametrize(
    ("texts", "transcript", "others"),
    [
        (("New.",), "New.", ("Two.",)),
        (("", "Second."), None, ("Second.",)),
        (("One.", ""), "One.", ("",)),
        ((), "One.", ("Two.",)),
    ],
)
def test_transcripts_change_in_their_order(
    store: VoiceStore, texts: tuple[str, ...], transcript: str | None, others: tuple[str, ...]
) -> None:
    store.update("a", VoiceChanges(transcripts=texts))
    voice = store.find("a")

    assert voice is not None
    assert (voice.transcript, voice.other_transcripts) == (transcript, others)


def test_metadata_without_ours_is_what_it_always_was(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path / "voices")
    store.add(NewVoice((NewSample("a.wav", b"1"),), voice_id="plain", transcript="Said."))
    meta = json.loads((tmp_path / "voices" / "plain" / "meta.json").read_text())

    assert set(meta) == {
        *("voice_id", "name", "created", "model", "language", "mode"),
        *("description", "prompt_text", "files"),
    }


def test_new_picture_takes_the_place_of_the_old(store: VoiceStore, tmp_path: Path) -> None:
    first = store.update("a", VoiceChanges(cover=PICTURE))
    second = store.update("a", VoiceChanges(cover=Cover("gif", b"another")))
    kept = store.update("a", VoiceChanges(name="B"))
    pictures = list((tmp_path / "voices" / "a").glob(".cover-*"))

    assert first is not None
    assert second is not None
    assert kept is not None
    assert kept.cover == second.cover != first.cover
    assert [path.name for path in pictures] == [second.cover]
    path = store.cover_path(kept)
    assert path is not None
    assert path.read_bytes() == b"another"
    assert len(kept.samples) == 2


def test_failed_change_and_rename_leave_everything(
    store: VoiceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(tmp_path)

    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(voices_module, "write_meta", fail)
    with pytest.raises(OSError, match="no space"):
        store.update("a", VoiceChanges(name="B", cover=PICTURE))
    with pytest.raises(OSError, match="no space"):
        store.rename("a", "b")

    assert snapshot(tmp_path) == before


def test_rename_moves_the_voice_and_takes_no_place(store: VoiceStore, tmp_path: Path) -> None:
    store.add(new_voice("taken"))
    (tmp_path / "voices" / "broken").mkdir()
    for name in ("taken", "NAME OF TAKEN", "broken"):
        with pytest.raises(UserError) as refused:
            store.rename("a", name)
        assert refused.value.code == "voice_exists"
    renamed = store.rename("a", "My Name")

    assert renamed is not None
    assert (renamed.voice_id, renamed.name) == ("my-name", "My Name")
    assert store.find("my-name") == renamed
    assert store.find("a") is None
    assert store.rename("a", "b") is None
    assert store.update("a", VoiceChanges(name="B")) is None


def test_only_one_of_many_gets_a_new_id(tmp_path: Path) -> None:
    stores = [VoiceStore(tmp_path / "voices") for _ in range(8)]
    outcomes: list[str] = []

    def add(store: VoiceStore) -> None:
        try:
            store.add_new(new_voice("same"))
            outcomes.append("stored")
        except UserError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=add, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["stored"] + ["voice_exists"] * 7


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_linked_voice_is_not_changed(store: VoiceStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.wav").write_bytes(b"1")
    (tmp_path / "voices" / "link").symlink_to(elsewhere)
    before = snapshot(elsewhere)

    assert store.update("link", VoiceChanges(name="B")) is None
    assert store.rename("link", "b") is None
    assert snapshot(elsewhere) == before
