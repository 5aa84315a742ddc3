"""Characters reserved, spent and given back, and what each key used per day.

A reservation is a row until it is settled, so that what a killed server had reserved is known. Each
server is an owner that keeps saying it is alive; the reservations of one that no longer does are
given back by whoever notices first.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, and_, case, delete, insert, or_, select, update

from fishs2.store.database import Database, keys, owners, reservations, usage

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


def release_dead(database: Database, now_s: float) -> int:
    """Give back what owners have reserved that are no longer alive. Returns how many rows."""
    with database.write() as connection:
        alive = select(owners.c.id).where(owners.c.alive_until_s >= now_s)
        dead = connection.execute(
            delete(reservations)
            .where(reservations.c.owner_id.not_in(alive))
            .returning(reservations.c.key_id, reservations.c.num_chars)
        ).all()
        for key_id, num_chars in dead:
            _give_back(connection, key_id, num_chars, spent=0)
        connection.execute(delete(owners).where(owners.c.alive_until_s < now_s))
    return len(dead)


def reserve(database: Database, key_id: str, num_chars: int, owner_id: str) -> str | Refusal:
    """Set characters aside. Returns the id of the reservation, or why there is none."""
    has_quota = or_(
        keys.c.granted.is_(None), keys.c.granted - keys.c.spent - keys.c.reserved >= num_chars
    )
    has_room = or_(keys.c.streams.is_(None), keys.c.streams > keys.c.active)
    with database.write() as connection:
        done = connection.execute(
            update(keys)
            .where(and_(keys.c.id == key_id, keys.c.is_disabled.is_(False), has_quota, has_room))
            .values(reserved=keys.c.reserved + num_chars, active=keys.c.active + 1)
        )
        if done.rowcount == 1:
            reservation_id = uuid.uuid4().hex
            connection.execute(
                insert(reservations).values(
                    id=reservation_id, key_id=key_id, owner_id=owner_id, num_chars=num_chars
                )
            )
            return reservation_id
        why = select(keys.c.is_disabled, has_quota).where(keys.c.id == key_id)
        found = connection.execute(why).one_or_none()
    if found is None or found[0]:
        return "invalid_token"
    return "too_many_streams" if found[1] else "insufficient_quota"


def settle(database: Database, key_id: str, reservation_id: str, outcome: Outcome) -> None:
    """End a reservation: what it cost is spent, the rest is given back, and the day's use grows.

    To be called once. A reservation that was given back because its owner seemed dead is charged
    from what is left.
    """
    with database.write() as connection:
        reserved = connection.execute(
            delete(reservations)
            .where(reservations.c.id == reservation_id)
            .returning(reservations.c.num_chars)
        ).scalar_one_or_none()
        if reserved is None:
            _charge_late(connection, key_id, outcome.num_chars)
        else:
            _give_back(connection, key_id, reserved, spent=min(outcome.num_chars, reserved))
        _count(connection, key_id, outcome)


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


def _give_back(connection: Connection, key_id: str, reserved: int, *, spent: int) -> None:
    connection.execute(
        update(keys)
        .where(keys.c.id == key_id)
        .values(
            reserved=keys.c.reserved - reserved,
            spent=keys.c.spent + spent,
            active=keys.c.active - 1,
        )
    )


def _charge_late(connection: Connection, key_id: str, num_chars: int) -> None:
    left = keys.c.granted - keys.c.spent - keys.c.reserved
    cost = case((left < num_chars, left), else_=num_chars)
    connection.execute(update(keys).where(keys.c.id == key_id).values(spent=keys.c.spent + cost))


def _count(connection: Connection, key_id: str, outcome: Outcome) -> None:
    day = today()
    grown = {
        "num_requests": usage.c.num_requests + 1,
        "num_chars": usage.c.num_chars + outcome.num_chars,
        "audio_ms": usage.c.audio_ms + round(1000 * outcome.audio_s),
        "num_errors": usage.c.num_errors + int(outcome.is_error),
    }
    # No other server does this for the key meanwhile: whoever settles has locked its row.
    where = and_(usage.c.key_id == key_id, usage.c.day == day)
    if not connection.execute(update(usage).where(where).values(grown)).rowcount:
        connection.execute(
            insert(usage).values(
                key_id=key_id,
                day=day,
                num_requests=1,
                num_chars=outcome.num_chars,
                audio_ms=round(1000 * outcome.audio_s),
                num_errors=int(outcome.is_error),
            )
        )
