"""Files of consents."""

import json
from pathlib import Path

import pytest
from filelock import FileLock

from fishs2.errors import BusyError, UserError
from fishs2.store import consents
from fishs2.store.consents import ConsentStore


def test_consents_are_kept_renamed_and_deleted(tmp_path: Path) -> None:
    store = ConsentStore(tmp_path / "consents")

    assert store.ids() == []
    first = store.add("Ada", "en", b"sound")
    second = store.add("Bob", "de", b"more")
    assert store.ids() == [second.consent_id, first.consent_id]
    assert store.find(first.consent_id) == first
    renamed = store.rename(first.consent_id, "Ada L.")
    assert renamed is not None
    assert ConsentStore(tmp_path / "consents").find(first.consent_id) == renamed
    assert (renamed.name, renamed.created) == ("Ada L.", first.created)
    recording = tmp_path / "consents" / first.consent_id / "recording"
    assert recording.read_bytes() == b"sound"
    assert store.remove(first.consent_id)
    assert not store.remove(first.consent_id)
    assert store.ids() == [second.consent_id]
    assert sorted(path.name for path in (tmp_path / "consents").iterdir()) == [
        ".lock",
        second.consent_id,
    ]


@pytest.mark.parametrize(
    "name", ["..", "../consents", "", "cons_", "cons_" + "0" * 24 + "\n", "a\0"]
)
def test_no_other_name_becomes_a_path(tmp_path: Path, name: str) -> None:
    store = ConsentStore(tmp_path / "consents")
    kept = store.add("Ada", "en", b"sound")

    assert store.find(name) is None
    assert store.rename(name, "x") is None
    assert not store.remove(name)
    assert store.ids() == [kept.consent_id]


def test_a_link_is_no_consent(tmp_path: Path) -> None:
    store = ConsentStore(tmp_path / "consents")
    kept = store.add("Ada", "en", b"sound")
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "consents" / kept.consent_id).rename(elsewhere)
    (tmp_path / "consents" / kept.consent_id).symlink_to(elsewhere)

    assert store.find(kept.consent_id) is None
    assert not store.remove(kept.consent_id)
    assert elsewhere.exists()


@pytest.mark.parametrize(
    "meta", ["", "[]", "{}", json.dumps({"name": 1, "created": "x"}), "[" * 9_999]
)
def test_a_damaged_consent_is_none(tmp_path: Path, meta: str) -> None:
    store = ConsentStore(tmp_path)
    kept = store.add("Ada", "en", b"sound")
    (tmp_path / kept.consent_id / "consent.json").write_text(meta)

    assert store.find(kept.consent_id) is None


def test_what_a_dead_writer_left_goes(tmp_path: Path) -> None:
    (tmp_path / ".new-1").mkdir()
    (tmp_path / ".gone-1").mkdir()
    store = ConsentStore(tmp_path)

    assert store.ids() == []
    store.add("Ada", "en", b"sound")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".new-", ".gone-"))]


def test_there_is_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "MAX_CONSENTS", 1)
    store = ConsentStore(tmp_path)
    store.add("Ada", "en", b"sound")

    with pytest.raises(UserError, match="which is the limit") as raised:
        store.add("Bob", "en", b"sound")
    assert raised.value.code == "too_many_consents"


def test_another_writer_is_waited_for_and_then_it_is_busy(tmp_path: Path) -> None:
    store = ConsentStore(tmp_path, patience_s=0.01)

    with FileLock(tmp_path / ".lock"), pytest.raises(BusyError):
        store.add("Ada", "en", b"sound")
