"""`fishs2 keys` as a person uses it."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from fishs2.store.accounts.keys import NewKey, create_key
from fishs2.store.database import Database
from tests.cli.running import run


def test_key_is_shown_once_and_never_again(tmp_path: Path) -> None:
    made = run(
        tmp_path,
        "keys",
        "create",
        "Home",
        "--quota",
        "1,000",
        "--per-minute",
        "30",
        "--streams",
        "2",
        "--scope",
        "speech",
        "--scope",
        "voices:write",
        "--expires",
        "30d",
    )
    [token] = re.findall(r"fs2_\w{8}_[\w-]{43}", made.stdout)
    key_id, secret = token.split("_", 2)[1:]
    later = [
        run(tmp_path, "keys", *rest).stdout
        for rest in (["list"], ["list", "--json"], ["show", key_id], ["show", key_id, "--json"])
    ]

    assert made.returncode == 0
    assert all(key_id in text and secret not in text for text in later)
    record = json.loads(later[3])
    assert (record["quota"], record["per_minute"], record["streams"]) == (1_000, 30, 2)
    assert record["scopes"] == "speech voices:write"
    rows = sqlite3.connect(tmp_path / "data" / "fishs2.db").execute("SELECT * FROM keys").fetchall()
    assert secret not in repr(rows)


def test_key_is_granted_rotated_and_disabled(tmp_path: Path) -> None:
    made = run(tmp_path, "keys", "create", "Home", "--quota", "100")
    key_id = made.stdout.split("_")[1]

    assert "150 of 150" in run(tmp_path, "keys", "grant", key_id, "50").stdout
    assert "0 of 0" in run(tmp_path, "keys", "grant", key_id, "--", "-999").stdout
    rotated = run(tmp_path, "keys", "rotate", key_id).stdout
    assert rotated.startswith(f"fs2_{key_id}_")
    assert rotated.strip() not in made.stdout
    assert run(tmp_path, "keys", "disable", key_id).returncode == 0
    assert "disabled" in run(tmp_path, "keys", "list").stdout
    assert "day" in run(tmp_path, "keys", "usage").stdout
    assert json.loads(run(tmp_path, "keys", "usage", key_id, "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (["create", "x", "--quota", "many"], "many", 2),
        (["create", "x", "--quota", "-5"], "-5", 2),
        (["create", "x", "--scope", "everything"], "everything", 2),
        (["create", "x", "--expires", "soon"], "soon", 2),
        (["create", "x", "--expires", "2020-01-31"], "2020-01-31", 2),
        (["create", "x", "--expires", "0d"], "0d", 2),
        (["create", " "], "name", 2),
        (["create", "two\nlines"], "one line", 2),
        (["create", "x" * 201], "200", 2),
        (["show", "nobody"], "nobody", 1),
        (["disable", "nobody"], "nobody", 1),
        (["rotate", "nobody"], "nobody", 1),
        (["grant", "nobody", "5"], "nobody", 1),
        (["usage", "nobody"], "nobody", 1),
        (["usage", ""], "no key", 1),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    tmp_path: Path, arguments: list[str], said: str, status: int
) -> None:
    done = run(tmp_path, "keys", *arguments)

    assert done.returncode == status
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_key_is_found_by_its_name_and_never_by_another(tmp_path: Path) -> None:
    token = run(tmp_path, "keys", "create", "Jos\u00e9's phone", "--quota", "100").stdout
    run(tmp_path, "keys", "create", "Jose's phone")
    key_id = token.split("_")[1]

    for given in (key_id, "Jos\u00e9's phone", "JOSE\u0301'S PHONE"):
        assert json.loads(run(tmp_path, "keys", "show", given, "--json").stdout)["id"] == key_id
    assert "150 of 150" in run(tmp_path, "keys", "grant", "jos\u00e9's phone", "50").stdout
    assert run(tmp_path, "keys", "usage", "Jos\u00e9's phone", "--json").stdout.strip() == "[]"
    rotated = run(tmp_path, "keys", "rotate", "Jos\u00e9's phone").stdout
    assert rotated.startswith(f"fs2_{key_id}_")
    assert key_id in run(tmp_path, "keys", "disable", "Jos\u00e9's phone").stdout
    unlimited = run(tmp_path, "keys", "grant", "Jose's phone", "5")
    assert (unlimited.returncode, "unlimited" in unlimited.stderr) == (1, True)
    wrong = run(tmp_path, "keys", "show", "Joses phone")
    assert "did you mean Jose's phone?" in wrong.stderr


def test_second_key_of_a_name_is_refused_with_the_id_of_the_first(tmp_path: Path) -> None:
    key_id = run(tmp_path, "keys", "create", "Home").stdout.split("_")[1]
    run(tmp_path, "keys", "disable", "Home")

    for name in ("Home", "home", " HOME "):
        again = run(tmp_path, "keys", "create", name)
        assert (again.returncode, again.stdout) == (1, "")
        assert key_id in again.stderr
    assert len(json.loads(run(tmp_path, "keys", "list", "--json").stdout)) == 1


def test_keys_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "first")
    database = Database(f"sqlite:///{tmp_path / 'data' / 'fishs2.db'}")
    ids = [create_key(database, NewKey("both"))[0].id for _ in range(2)]
    database.close()

    done = run(tmp_path, "keys", "disable", "both")

    assert done.returncode == 1
    assert all(key_id in done.stderr for key_id in ids)
    assert run(tmp_path, "keys", "show", ids[1]).returncode == 0


def test_key_without_limits_is_shown_as_one(tmp_path: Path) -> None:
    run(tmp_path, "keys", "create", "Home")

    shown = dict(
        line.split(None, 1) for line in run(tmp_path, "keys", "show", "Home").stdout.splitlines()
    )

    assert {shown[each] for each in ("quota", "remaining", "per_minute", "streams")} == {
        "unlimited"
    }
    assert (shown["expires"], shown["last_used"]) == ("never", "never")
    assert (shown["spent"], shown["reserved"]) == ("0", "0")


def test_empty_lists_say_so(tmp_path: Path) -> None:
    assert "no keys" in run(tmp_path, "keys", "list").stdout
    assert run(tmp_path, "keys", "list", "--json").stdout.strip() == "[]"
    assert (
        "Nothing was used in the last 7 days"
        in run(tmp_path, "keys", "usage", "--days", "7").stdout
    )


@pytest.mark.parametrize("arguments", [["list"], ["create", "x"], ["usage"], ["show", "x"]])
def test_folder_that_cannot_hold_keys_is_one_clear_line(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "taken").touch()
    for folder in ("taken", "taken/data", "/proc/nowhere"):
        done = run(tmp_path, "keys", *arguments, FISHS2_DATA_DIR=folder)

        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert "cannot be read or written" in done.stderr
        assert folder in done.stderr


@pytest.mark.parametrize(
    "content", [b"this is no database" * 100, b"SQLite format 3\0" + b"x" * 99]
)
def test_file_that_is_no_database_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fishs2.db").write_bytes(content)

    done = run(tmp_path, "keys", "list")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "the database cannot be used" in done.stderr


def test_database_that_cannot_be_reached_is_one_clear_line(tmp_path: Path) -> None:
    done = run(tmp_path, "keys", "list", FISHS2_DATABASE_URL="postgresql://x@127.0.0.1:1/x")

    assert done.returncode == 1
    assert "the database cannot be used" in done.stderr
