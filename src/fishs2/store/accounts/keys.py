"""Keys: who may use the server, and what for.

fs2_4kq0x7vd_<43 characters>
    |        the secret, 256 random bits; only its SHA-256 is kept
    the id, which may be shown and logged
"""

import hashlib
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, func, select, update

from fishs2.store.database import Database, keys
from fishs2.store.voices.ids import fold_name

PREFIX = "fs2"
MAX_TOKEN_CHARS = 200
SCOPES = ("speech", "voices:write", "admin")

# Built once: to build one takes longer than to run it.
_OF_IDS = select(keys).where(keys.c.id.in_(bindparam("ids", expanding=True)))
_ANY = select(keys.c.id).limit(1)
_MAX_ASKED = 500
"""Parameters of one statement; databases have limits."""

_ID_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_ID_LETTERS = frozenset(_ID_ALPHABET)
_ID_CHARS = 8


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret.

    granted: characters in all; None is unlimited. spent, reserved: characters of it, the
    latter for requests in progress, of which there are `active`. per_minute:
    requests; streams: at once; None is no limit. Times in Unix seconds.
    """

    id: str
    name: str
    secret_sha256: str
    scopes: frozenset[str]
    created_s: int
    expires_s: int | None
    is_disabled: bool
    granted: int | None
    spent: int
    reserved: int
    active: int
    per_minute: int | None
    streams: int | None
    last_used_s: int | None

    @property
    def remaining(self) -> int | None:
        """Characters that can still be reserved; None is unlimited."""
        return None if self.granted is None else self.granted - self.spent - self.reserved

    def is_valid(self, now_s: float) -> bool:
        """Whether it may be used now."""
        return not self.is_disabled and (self.expires_s is None or now_s < self.expires_s)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made with. scopes: some of `SCOPES`."""

    name: str
    scopes: frozenset[str] = frozenset({"speech"})
    granted: int | None = None
    per_minute: int | None = None
    streams: int | None = None
    expires_s: int | None = None


def create_named_key(database: Database, new: NewKey) -> tuple[Key, str] | Key:
    """Like `create_key`, unless there is a key of an equal name, which is returned alone."""
    with database.write() as connection:
        rows = connection.execute(select(keys).order_by(keys.c.created_s, keys.c.id))
        for row in rows:
            if fold_name(row.name) == fold_name(new.name):
                return _to_key(row)
        key_id, token = _insert(connection, new)
    return _created(database, key_id), token


def create_key(database: Database, new: NewKey) -> tuple[Key, str]:
    """Store a key. Returns it and its token, which cannot be had again."""
    with database.write() as connection:
        key_id, token = _insert(connection, new)
    return _created(database, key_id), token


def _created(database: Database, key_id: str) -> Key:
    found = find_key(database, key_id)
    assert found is not None
    return found


def _insert(connection: Connection, new: NewKey) -> tuple[str, str]:
    """Store a key. Returns its id and token."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_CHARS))
    token, digest = _make_token(key_id)
    values: dict[str, Any] = {
        "id": key_id,
        "name": new.name,
        "secret_sha256": digest,
        "scopes": " ".join(sorted(new.scopes)),
        "created_s": int(time.time()),
        "expires_s": new.expires_s,
        "is_disabled": False,
        "granted": new.granted,
        "spent": 0,
        "reserved": 0,
        "active": 0,
        "per_minute": new.per_minute,
        "streams": new.streams,
        "last_used_s": None,
    }
    connection.execute(keys.insert().values(**values))
    return key_id, token


def list_keys(database: Database) -> list[Key]:
    """All keys, oldest first."""
    with database.read() as connection:
        rows = connection.execute(select(keys).order_by(keys.c.created_s, keys.c.id))
        return [_to_key(row) for row in rows]


def keys_named(database: Database, given: str) -> list[Key]:
    """The key of this id, or else all of this name."""
    known = list_keys(database)
    by_id = [key for key in known if key.id == given]
    return by_id or [key for key in known if fold_name(key.name) == fold_name(given)]


def find_key(database: Database, key_id: str) -> Key | None:
    """The key of this id."""
    with database.read() as connection:
        row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
    return None if row is None else _to_key(row)


def find_keys(database: Database, ids: Collection[str]) -> dict[str, Key]:
    """Those of the keys that there are, by id."""
    found: dict[str, Key] = {}
    with database.read() as connection:
        asked = list(ids)
        for start in range(0, len(asked), _MAX_ASKED):
            rows = connection.execute(_OF_IDS, {"ids": asked[start : start + _MAX_ASKED]})
            found.update((row.id, _to_key(row)) for row in rows)
    return found


def has_keys(database: Database) -> bool:
    """Whether there is any key, disabled ones included."""
    with database.read() as connection:
        return connection.execute(_ANY).first() is not None


def disable_key(database: Database, key_id: str) -> bool:
    """Refuse this key from now on. False if there is none."""
    return _change(database, key_id, is_disabled=True)


def rotate_key(database: Database, key_id: str) -> str | None:
    """Give a key another secret; the old one dies. Returns the token; None if there is no key."""
    token, digest = _make_token(key_id)
    return token if _change(database, key_id, secret_sha256=digest) else None


def grant_chars(database: Database, key_id: str, num_chars: int) -> bool:
    """Add characters to a key, or take some away, but never those that are spent or reserved.

    False if there is no key. An unlimited key stays unlimited.
    """
    used = keys.c.spent + keys.c.reserved
    wanted = keys.c.granted + num_chars
    return _change(database, key_id, granted=case((wanted < used, used), else_=wanted))


def note_uses(database: Database, uses: dict[str, int]) -> None:
    """Keep when keys were last used: Unix seconds by id."""
    with database.write() as connection:
        for key_id, used_s in uses.items():
            is_later = func.coalesce(keys.c.last_used_s, 0) < used_s
            connection.execute(
                update(keys).where(and_(keys.c.id == key_id, is_later)).values(last_used_s=used_s)
            )


def split_token(token: str) -> tuple[str, str] | None:
    """Id and SHA-256 of the secret; None for what is no token of ours."""
    if len(token) > MAX_TOKEN_CHARS:
        return None
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != PREFIX or len(key_id) != _ID_CHARS or not secret or set(key_id) - _ID_LETTERS:
        return None
    return key_id, _hash(secret)


def _make_token(key_id: str) -> tuple[str, str]:
    secret = secrets.token_urlsafe(32)
    return f"{PREFIX}_{key_id}_{secret}", _hash(secret)


def _hash(secret: str) -> str:
    # Plain SHA-256: a secret of 256 random bits cannot be guessed, however fast the hash.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _change(database: Database, key_id: str, **values: Any) -> bool:
    with database.write() as connection:
        done = connection.execute(update(keys).where(keys.c.id == key_id).values(**values))
        return done.rowcount == 1


def _to_key(row: Row[Any]) -> Key:
    values = dict(row._mapping)
    values["scopes"] = frozenset(values["scopes"].split())
    return Key(**values)
