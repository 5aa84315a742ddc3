"""Characters reserved, spent and given back, and what each key used per day.

A reservation is a row until it is settled, so that what a killed server had reserved is known. Each
server is an owner that keeps saying it is alive; the reservations of one that no longer does are
given back by whoever notices first.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import (
    BigInteger,
    and_,
    bindparam,
    case,
    delete,
    insert,
    or_,
    select,
    update,
)

from fishs2.store.database import Database, Run, keys, owners, reservations, usage

# Statements of every request. Built once: to build one takes longer than to run it.
_N = bindparam("n", type_=BigInteger)
_LEFT = keys.c.granted - keys.c.spent - keys.c.reserved
_HAS_QUOTA = or_(keys.c.granted.is_(None), _LEFT >= _N)
_HAS_ROOM = or_(keys.c.streams.is_(None), keys.c.streams > keys.c.active)
_OF_KEY = keys.c.id == bindparam("of_key")
_RESERVE = (
    update(keys)
    .where(and_(_OF_KEY, keys.c.is_disabled.is_(False), _HAS_QUOTA, _HAS_ROOM))
    .values(reserved=keys.c.reserved + _N, active=keys.c.active + 1)
)
_RESERVE_MORE = (
    update(keys)
    .where(and_(_OF_KEY, keys.c.is_disabled.is_(False), _HAS_QUOTA))
    .values(reserved=keys.c.reserved + _N)
)
_UNRESERVE = update(keys).where(_OF_KEY).values(reserved=keys.c.reserved - _N)
_KEEP_MORE = (
    update(reservations)
    .where(and_(reservations.c.id == bindparam("of_id"), reservations.c.is_void.is_(False)))
    .values(num_chars=reservations.c.num_chars + _N)
)
_WHY_NOT = select(keys.c.is_disabled, _HAS_QUOTA).where(_OF_KEY)
_KEEP = insert(reservations)
_END = (
    delete(reservations)
    .where(reservations.c.id == bindparam("of_id"))
    .returning(reservations.c.num_chars, reservations.c.is_void)
)
_GIVE_BACK = (
    update(keys)
    .where(_OF_KEY)
    .values(
        reserved=keys.c.reserved - _N,
        spent=keys.c.spent + bindparam("used", type_=BigInteger),
        active=keys.c.active - 1,
    )
)
_CHARGE_LATE = (
    update(keys).where(_OF_KEY).values(spent=keys.c.spent + case((_LEFT < _N, _LEFT), else_=_N))
)
_CHARS, _MS, _ERRORS = (bindparam(name, type_=BigInteger) for name in ("chars", "ms", "errors"))
_GROW = (
    update(usage)
    .where(and_(usage.c.key_id == bindparam("of_key"), usage.c.day == bindparam("of_day")))
    .values(
        num_requests=usage.c.num_requests + 1,
        num_chars=usage.c.num_chars + _CHARS,
        audio_ms=usage.c.audio_ms + _MS,
        num_errors=usage.c.num_errors + _ERRORS,
    )
)
_BEGIN_DAY = insert(usage).values(
    key_id=bindparam("of_key"),
    day=bindparam("of_day"),
    num_requests=1,
    num_chars=_CHARS,
    audio_ms=_MS,
    num_errors=_ERRORS,
)

_VOID_LIFE_S = 24 * 3600

Refusal = Literal["insufficient_quota", "too_many_streams", "invalid_token"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. num_chars: what it costs. audio_s: what was sent."""

    num_chars: int = 0
    audio_s: float = 0.0
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """What a key used on one day (ISO date, UTC)."""

    day: str
    num_requests: int = 0
    num_chars: int = 0
    audio_s: float = 0.0
    num_errors: int = 0


def say_alive(database: Database, owner_id: str, alive_until_s: int) -> None:
    """Keep an owner's reservations until then."""
    with database.write() as connection:
        changed = connection.execute(
            update(owners).where(owners.c.id == owner_id).values(alive_until_s=alive_until_s)
        )
        if not changed.rowcount:
            connection.execute(insert(owners).values(id=owner_id, alive_until_s=alive_until_s))


def shorten_leases(database: Database, latest_s: int) -> None:
    """Let no owner be taken for alive after this: such a time was said by a clock that was wrong.

    Who is alive says so again before then.
    """
    late = update(owners).where(owners.c.alive_until_s > latest_s)
    with database.write() as connection:
        connection.execute(late.values(alive_until_s=latest_s))


def release_dead(database: Database, now_s: float) -> int:
    """Give back what owners have reserved that are no longer alive. Returns how many rows.

    The rows stay for a day, void, so that an owner that was only slow can still settle.
    """
    alive = select(owners.c.id).where(owners.c.alive_until_s >= now_s)
    known = select(owners.c.id)
    with database.write() as connection:
        dead = connection.execute(
            update(reservations)
            .where(and_(reservations.c.owner_id.not_in(alive), reservations.c.is_void.is_(False)))
            .values(is_void=True)
            .returning(reservations.c.key_id, reservations.c.num_chars)
        ).all()
        for key_id, num_chars in dead:
            connection.execute(_GIVE_BACK, {"of_key": key_id, "n": num_chars, "used": 0})
        connection.execute(delete(owners).where(owners.c.alive_until_s < now_s - _VOID_LIFE_S))
        connection.execute(delete(reservations).where(reservations.c.owner_id.not_in(known)))
    return len(dead)


def reserve(
    database: Database, key_id: str, num_chars: int, *, owner_id: str, reservation_id: str
) -> Refusal | None:
    """Set characters aside under a new id. Returns why not, if not."""
    asked = {"of_key": key_id, "n": num_chars}
    with database.write_prepared() as run:
        if run(_RESERVE, asked).rowcount == 1:
            kept = {
                "id": reservation_id,
                "key_id": key_id,
                "owner_id": owner_id,
                "num_chars": num_chars,
                "is_void": False,
            }
            run(_KEEP, kept)
            return None
        found = run(_WHY_NOT, asked).fetchone()
    if found is None or found[0]:
        return "invalid_token"
    return "too_many_streams" if found[1] else "insufficient_quota"


def reserve_more(
    database: Database, key_id: str, num_chars: int, *, reservation_id: str
) -> Refusal | None:
    """Set more characters aside under the same id. Returns why not, if not.

    Does nothing for a reservation that was given back because its owner seemed dead: that one is
    charged when it ends.
    """
    asked = {"of_key": key_id, "n": num_chars}
    with database.write_prepared() as run:
        if run(_RESERVE_MORE, asked).rowcount == 1:
            if run(_KEEP_MORE, {"of_id": reservation_id, "n": num_chars}).rowcount != 1:
                run(_UNRESERVE, asked)
            return None
        found = run(_WHY_NOT, asked).fetchone()
    return "invalid_token" if found is None or found[0] else "insufficient_quota"


def settle(database: Database, key_id: str, reservation_id: str, outcome: Outcome) -> None:
    """End a reservation: what it cost is spent, the rest is given back, and the day's use grows.

    A second time does nothing. What was given back because its owner seemed dead is charged from
    what is left.
    """
    with database.write_prepared() as run:
        ended = run(_END, {"of_id": reservation_id}).fetchone()
        if ended is None:
            return
        reserved, is_void = ended
        if is_void:
            run(_CHARGE_LATE, {"of_key": key_id, "n": outcome.num_chars})
        else:
            _give_back(run, key_id, reserved, spent=min(outcome.num_chars, reserved))
        _count(run, key_id, outcome)


def forget(database: Database, key_id: str, reservation_id: str) -> None:
    """End a reservation, if there is one, as if it had never been."""
    with database.write_prepared() as run:
        ended = run(_END, {"of_id": reservation_id}).fetchone()
        if ended is not None and not ended[1]:
            _give_back(run, key_id, ended[0], spent=0)


def read_usage(database: Database, key_id: str, first_day: str) -> list[DayOfUse]:
    """The days on which a key was used, from `first_day` on, oldest first."""
    with database.read() as connection:
        rows = connection.execute(
            select(usage)
            .where(and_(usage.c.key_id == key_id, usage.c.day >= first_day))
            .order_by(usage.c.day)
        )
        return [
            DayOfUse(row.day, row.num_requests, row.num_chars, row.audio_ms / 1000, row.num_errors)
            for row in rows
        ]


def today() -> str:
    """The ISO date in UTC."""
    return datetime.now(UTC).date().isoformat()


def _give_back(run: Run, key_id: str, reserved: int, *, spent: int) -> None:
    run(_GIVE_BACK, {"of_key": key_id, "n": reserved, "used": spent})


def _count(run: Run, key_id: str, outcome: Outcome) -> None:
    grown = {
        "of_key": key_id,
        "of_day": today(),
        "chars": outcome.num_chars,
        "ms": round(1000 * outcome.audio_s),
        "errors": int(outcome.is_error),
    }
    # No other server does this for the key meanwhile: whoever settles has locked its row.
    if not run(_GROW, grown).rowcount:
        run(_BEGIN_DAY, grown)
