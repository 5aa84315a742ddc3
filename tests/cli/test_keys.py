"""`fishs2 keys` as a person uses it."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

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
    ("arguments", "said"),
    [
        (["create", "x", "--quota", "many"], "many"),
        (["create", "x", "--quota", "-5"], "-5"),
        (["create", "x", "--scope", "everything"], "everything"),
        (["create", "x", "--expires", "soon"], "soon"),
        (["show", "nobody"], "nobody"),
        (["disable", "nobody"], "nobody"),
        (["rotate", "nobody"], "nobody"),
        (["grant", "nobody", "5"], "nobody"),
        (["usage", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = run(tmp_path, "keys", *arguments)

    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_database_that_cannot_be_reached_is_one_clear_line(tmp_path: Path) -> None:
    done = run(tmp_path, "keys", "list", FISHS2_DATABASE_URL="postgresql://x@127.0.0.1:1/x")

    assert done.returncode == 1
    assert "the database cannot be used" in done.stderr
