"""Files of lexicons."""

from pathlib import Path

import pytest
from filelock import FileLock

from fishs2.errors import UserError
from fishs2.store.lexicons import LexiconStore, lexicon_id


def test_a_lexicon_is_put_read_listed_and_deleted(tmp_path: Path) -> None:
    store = LexiconStore(tmp_path / "lexicons")

    assert (store.names(), store.read("a"), store.stamp("a")) == ([], None, None)
    store.change("a", lambda old: b"1" if old is None else b"wrong")
    first = store.stamp("a")
    store.change("a", lambda old: (old or b"") + b"2")
    assert (store.names(), store.read("a")) == (["a"], b"12")
    assert store.stamp("a") != first
    store.change("a", lambda _: None)
    assert (store.names(), store.read("a")) == ([], None)


def test_what_a_dead_writer_left_is_no_lexicon_and_goes(tmp_path: Path) -> None:
    (tmp_path / ".new-1").write_bytes(b"half")
    (tmp_path / "My List.json").write_bytes(b"{}")
    store = LexiconStore(tmp_path)

    assert store.names() == []
    store.change("b", lambda _: b"2")
    assert not (tmp_path / ".new-1").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "a.json").symlink_to(tmp_path / "secret")

    assert LexiconStore(tmp_path).read("a") is None


def test_a_change_that_fails_changes_nothing(tmp_path: Path) -> None:
    store = LexiconStore(tmp_path)
    store.change("a", lambda _: b"1")

    def fail(_: bytes | None) -> bytes:
        raise UserError("no", code="no")

    with pytest.raises(UserError):
        store.change("a", fail)
    assert store.read("a") == b"1"
    with FileLock(tmp_path / ".lock", timeout=0):
        pass


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("default", "default"), ("My Words", "my-words"), ("CON", "voice-con"), ("a/../b", "a-b")],
)
def test_a_name_becomes_a_safe_one(name: str, wanted: str) -> None:
    assert lexicon_id(name) == wanted


@pytest.mark.parametrize("name", ["", " ", "a" * 201, "a\0b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError) as raised:
        lexicon_id(name)
    assert raised.value.code == "invalid_lexicon_name"


def test_different_names_in_any_script_are_different() -> None:
    assert lexicon_id("用語") != lexicon_id("人名")
