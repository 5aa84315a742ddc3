"""`fishs2 keys`: who may use the server. Without any key, everybody may."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from fishs2.advice import did_you_mean
from fishs2.cli.planning import read_settings
from fishs2.errors import NotFoundError, StoreUnavailableError, UserError
from fishs2.runtime import open_database
from fishs2.store.accounts import keys as store
from fishs2.store.accounts.keys import SCOPES, Key, NewKey
from fishs2.store.accounts.usage import read_usage
from fishs2.store.database import Database

_MAX_NAME_CHARS = 200

app = typer.Typer(help="Keys, quotas and their use.", no_args_is_help=True)

Which = Annotated[
    str, typer.Argument(metavar="KEY", help="Its id or name, as `fishs2 keys list` shows them.")
]
Name = Annotated[str, typer.Argument(help="For people: who or what the key is for.")]
Quota = Annotated[str, typer.Option(help="Characters in all, or unlimited.")]
PerMinute = Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Requests per minute.")]
Streams = Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Requests at once.")]
Scope = Annotated[list[str] | None, typer.Option(help=f"One or more of {', '.join(SCOPES)}.")]
Expires = Annotated[str | None, typer.Option(help="In so many days (30d), or on a date.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def create(
    name: Name,
    quota: Quota = "unlimited",
    per_minute: PerMinute = None,
    streams: Streams = None,
    scope: Scope = None,
    expires: Expires = None,
) -> None:
    """Make a key. It is shown once. From the first key on, every request needs one."""
    scopes = frozenset(scope or ["speech"])
    if wrong := scopes - set(SCOPES):
        raise _wrong(f"scope {', '.join(sorted(wrong))}", f"one of {', '.join(SCOPES)}")
    new = NewKey(
        _read_name(name), scopes, _read_quota(quota), per_minute, streams, _read_expiry(expires)
    )
    with _database() as database:
        made = store.create_named_key(database, new)
    if isinstance(made, Key):
        raise UserError(
            f"there is a key named {made.name}: its id is {made.id}; choose another name, or give "
            f"that one another secret: fishs2 keys rotate {made.id}",
            code="key_exists",
        )
    key, token = made
    # Alone on standard output, so that scripts can keep it.
    typer.echo(token)
    typer.echo(f"{key.id}  {_describe_quota(key)}, {' '.join(sorted(key.scopes))}", err=True)
    typer.echo("This is the only time that the key is shown.", err=True)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List all keys."""
    with _database() as database:
        found = store.list_keys(database)
    if as_json:
        typer.echo(json.dumps([_record(key) for key in found], indent=2))
        return
    if not found:
        typer.echo("There are no keys: everybody may use the server.")
    for key in found:
        state = "" if key.is_valid(time.time()) else "  (disabled or expired)"
        typer.echo(f"{key.id}  {key.name}  {_describe_quota(key)}{state}")


@app.command()
def show(which: Which, as_json: AsJson = False) -> None:
    """Show everything about one key but the key itself."""
    with _database() as database:
        record = _record(_find(database, which))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    for label, value in record.items():
        typer.echo(f"{label:<12}  {_without(label) if value is None else value}")


@app.command()
def disable(which: Which) -> None:
    """Refuse a key from now on; running servers follow within a second or so."""
    with _database() as database:
        key = _find(database, which)
        store.disable_key(database, key.id)
    typer.echo(f"disabled {key.id}  {key.name}")


@app.command()
def rotate(which: Which) -> None:
    """Give a key another secret; the old one dies. Quota and use stay."""
    with _database() as database:
        token = store.rotate_key(database, _find(database, which).id)
    typer.echo(token)
    typer.echo("This is the only time that the key is shown.", err=True)


@app.command()
def grant(
    which: Which,
    characters: Annotated[
        int, typer.Argument(min=-(10**15), max=10**15, help="May be negative, after --.")
    ],
) -> None:
    """Add characters to the quota of a key, or take some away."""
    with _database() as database:
        key = _find(database, which)
        if key.granted is None:
            raise UserError(
                f"the key {key.id} is unlimited: nothing can be added or taken away",
                code="key_unlimited",
            )
        store.grant_chars(database, key.id, characters)
        typer.echo(f"{key.id}  {_describe_quota(_find(database, key.id))}")


@app.command("usage")
def show_usage(
    which: Annotated[str | None, typer.Argument(metavar="[KEY]", help="Its id or name.")] = None,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="How far back.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show what keys used per day."""
    first_day = (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()
    with _database() as database:
        chosen = store.list_keys(database) if which is None else [_find(database, which)]
        used = [(key, day) for key in chosen for day in read_usage(database, key.id, first_day)]
    if as_json:
        typer.echo(json.dumps([{"key": key.id, **asdict(day)} for key, day in used], indent=2))
        return
    if not used:
        typer.echo(f"Nothing was used in the last {days} days.")
        return
    typer.echo("day         key       requests  characters  audio s  errors  name")
    for key, day in used:
        typer.echo(
            f"{day.day}  {key.id}  {day.num_requests:>8}  {day.num_chars:>10}  "
            f"{day.audio_s:>7.1f}  {day.num_errors:>6}  {key.name}"
        )


@contextmanager
def _database() -> Iterator[Database]:
    settings = read_settings()
    database = open_database(settings)
    try:
        database.migrate()
        yield database
    except StoreUnavailableError as error:
        # Without the address, which may hold a password.
        where = "FISHS2_DATABASE_URL says where"
        if not settings.database_url:
            where = f"they are to be in FISHS2_DATA_DIR={settings.data_dir}"
        raise StoreUnavailableError(f"{error.message}; {where}") from error
    finally:
        database.close()


def _find(database: Database, given: str) -> Key:
    """The key of this id, or else of this name. Raises NotFoundError, UserError."""
    named = store.keys_named(database, given)
    if len(named) > 1:
        ids = ", ".join(key.id for key in named)
        raise UserError(
            f"{len(named)} keys are named {given}: say which by its id: {ids}",
            code="key_ambiguous",
        )
    if not named:
        known = store.list_keys(database)
        advice = did_you_mean(given, [text for key in known for text in (key.id, key.name)])
        raise NotFoundError(
            f"there is no key {given}{advice}; `fishs2 keys list` shows what there is",
            code="key_not_found",
        )
    return named[0]


def _record(key: Key) -> dict[str, Any]:
    """A key for people and programs; its hash is nobody's business."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": " ".join(sorted(key.scopes)),
        "quota": key.granted,
        "spent": key.spent,
        "reserved": key.reserved,
        "remaining": key.remaining,
        "per_minute": key.per_minute,
        "streams": key.streams,
        "disabled": key.is_disabled,
        "created": _iso(key.created_s),
        "expires": _iso(key.expires_s),
        "last_used": _iso(key.last_used_s),
    }


def _without(label: str) -> str:
    """What a key has that has none of these."""
    return "never" if label in ("expires", "last_used") else "unlimited"


def _iso(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _describe_quota(key: Key) -> str:
    if key.remaining is None:
        return "unlimited"
    return f"{key.remaining:,} of {key.granted:,} characters left"


def _read_name(given: str) -> str:
    name = given.strip()
    if not name or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise _wrong(f"name {given!r}", f"1 to {_MAX_NAME_CHARS} characters in one line")
    return name


def _read_quota(given: str) -> int | None:
    if given.casefold() == "unlimited":
        return None
    digits = given.replace(",", "").replace("_", "")
    if not digits.isdecimal() or len(digits) > 15:
        raise _wrong(f"quota {given}", "a number of characters, or unlimited")
    return int(digits)


def _read_expiry(given: str | None) -> int | None:
    if given is None:
        return None
    wanted = "days such as 30d, or a date to come such as 2037-01-31"
    if days := re.fullmatch(r"(\d{1,5})d", given):
        expires_s = int(time.time()) + int(days[1]) * 86_400
    else:
        try:
            day = date.fromisoformat(given)
        except ValueError:
            raise _wrong(f"expiry {given}", wanted) from None
        expires_s = int(datetime.combine(day, datetime.min.time(), UTC).timestamp())
    if expires_s <= time.time():
        raise _wrong(f"expiry {given} is over and", wanted)
    return expires_s


def _wrong(what: str, wanted: str) -> UserError:
    return UserError(f"{what} will not do: use {wanted}", code="invalid_option")
