"""Reservations for tests, with ids of their own."""

import uuid

from fishs2.store.accounts.usage import reserve
from fishs2.store.database import Database


def hold(database: Database, key_id: str, num_chars: int, owner_id: str = "o") -> str:
    """The id of a new reservation, or why there is none."""
    reservation_id = uuid.uuid4().hex
    refusal = reserve(database, key_id, num_chars, owner_id=owner_id, reservation_id=reservation_id)
    return refusal or reservation_id
