"""Who asks, whether they may, and what it costs them. Without any key, everybody may do everything.

`keyring` reads the keys, again and again, so that what `fishs2 keys` changes in another process
takes effect.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from hmac import compare_digest

from fishs2.errors import (
    BusyError,
    Fishs2Error,
    ForbiddenError,
    QuotaError,
    StoreUnavailableError,
    UnauthorizedError,
)
from fishs2.service.accounts.keyring import LIFE_S, Keyring
from fishs2.service.accounts.ledger import PATIENCE_S, Ledger
from fishs2.service.accounts.rates import Rates
from fishs2.store.accounts.keys import SCOPES, Key, find_key, keys_named, split_token
from fishs2.store.accounts.usage import DayOfUse, Outcome, Refusal, read_usage, today
from fishs2.store.database import Database

logger = logging.getLogger(__name__)

LEASE_S = 30
"""A server that has not said for so long that it is alive is dead, its reservations void."""

_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. key: None where no key exists. is_counted: against the rate of the key."""

    key: Key | None = None
    scopes: frozenset[str] = frozenset(SCOPES)
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """What a key has and used. remaining: characters; None is unlimited."""

    key_id: str | None
    name: str
    remaining: int | None
    today: DayOfUse


@dataclass(slots=True)
class Reservation:
    """Room for one request. What `outcome` says at the end is charged; None costs nothing."""

    outcome: Outcome | None = None
    _more: Callable[[int], Awaitable[None]] | None = None

    async def grow(self, num_chars: int) -> None:
        """Reserve more, for text that came later. Raises QuotaError `insufficient_quota`."""
        if self._more is not None:
            await self._more(num_chars)


class Accounts:
    """Keys, quotas, rates and use. For one event loop."""

    def __init__(
        self,
        database: Database,
        *,
        redis_url: str | None = None,
        lease_s: float = LEASE_S,
        keys_life_s: float = LIFE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """redis_url: where several servers share their rates; None counts in this process.

        keys_life_s: how old what is known of a key may be. patience_s: how long a request
        waits for the work that the database has before it.
        """
        self._database = database
        self._lease_s = lease_s
        self._ledger = Ledger(database, lease_s=lease_s, patience_s=patience_s)
        self._rates = Rates(redis_url)
        self._keyring = Keyring(database, life_s=keys_life_s)
        self._used: dict[str, int] = {}
        # Bounded by the settings, where the names are from.
        self._acting: dict[str, str] = {}
        self._alive_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to say that we are alive, and read the keys, if there is a database.

        Raises SettingsError where it can never be used, StoreUnavailableError where it may later.
        """
        self._alive_task = asyncio.create_task(self._stay_alive())
        await self._keyring.look()

    async def close(self) -> None:
        """Settle what is left, and close the database."""
        if self._alive_task is not None:
            self._alive_task.cancel()
            await asyncio.wait([self._alive_task])
        if not self._keyring.was_open:
            with suppress(StoreUnavailableError):
                await self._beat()
        await self._ledger.close()
        await self._keyring.close()
        self._database.close()

    async def check(self) -> None:
        """Raise StoreUnavailableError unless keys can be read, and their use be written."""
        if not await self._keyring.is_open():
            await self._ledger.run(self._database.check_writable)

    async def is_open(self) -> bool:
        """Whether everybody may do everything, as no key exists."""
        return await self._keyring.is_open()

    async def authenticate(self, token: str | None) -> Principal:
        """Who has this token. Raises UnauthorizedError `invalid_token`, whatever is wrong."""
        if await self._keyring.is_open():
            return Principal()
        parts = split_token(token) if token else None
        key = await self._keyring.find(parts[0]) if parts else None
        # Compared also where there is nothing to compare with, so that time tells nothing.
        digest = parts[1] if parts else _NO_DIGEST
        is_right = compare_digest(digest, key.secret_sha256 if key else _NO_DIGEST[::-1])
        now_s = time.time()
        if key is None or not is_right or not key.is_valid(now_s):
            raise UnauthorizedError(
                "a valid key is needed: send it as Authorization: Bearer <key>",
                code="invalid_token",
            )
        self._used[key.id] = int(now_s)
        return Principal(key, key.scopes)

    async def act_for(self, name: str | None) -> Principal:
        """Who is counted where a protocol has no keys: the key of this id or name.

        Raises UnauthorizedError `invalid_token`.
        """
        if await self._keyring.is_open():
            return Principal()
        key = await self._keyring.find(self._acting.get(name or "", "")) if name else None
        if name and (key is None or not key.is_valid(time.time())):
            named = await self._ledger.run(lambda: keys_named(self._database, name))
            key = named[0] if len(named) == 1 else None
        if name is None or key is None or not key.is_valid(time.time()):
            raise UnauthorizedError(
                "this server asks for keys, and the one that this port is to use is missing or may "
                "not be used: whoever runs it names one with FISHS2_WYOMING_KEY",
                code="invalid_token",
            )
        self._acting[name] = key.id
        self._used[key.id] = int(time.time())
        return Principal(key, key.scopes)

    def require(self, principal: Principal, *scopes: str) -> None:
        """Raise ForbiddenError `missing_scope` unless the key has one of the scopes, or admin."""
        if not principal.scopes & {*scopes, "admin"}:
            raise ForbiddenError(
                f"this key may not do that: it needs the scope {' or '.join(scopes)}",
                code="missing_scope",
            )

    async def count(self, principal: Principal) -> Principal:
        """Count one request; returns who asks, counted. Raises QuotaError `rate_limit_exceeded`."""
        if principal.key is not None:
            await self._rates.count(principal.key)
        return replace(principal, is_counted=True)

    @asynccontextmanager
    async def reserve(self, principal: Principal, num_chars: int) -> AsyncGenerator[Reservation]:
        """Reserve characters and room for one request, and settle when the block ends.

        Raises QuotaError `too_many_streams`, `insufficient_quota`; what is refused costs nothing.
        """
        reservation = Reservation()
        key = principal.key
        if key is None:
            yield reservation
            return
        reservation_id = uuid.uuid4().hex
        refusal = await self._ledger.reserve(key.id, num_chars, reservation_id)
        if refusal is not None:
            raise _refused(refusal, key, num_chars)

        async def reserve_more(num_chars: int) -> None:
            refusal = await self._ledger.reserve_more(key.id, num_chars, reservation_id)
            if refusal is not None:
                raise _refused(refusal, key, num_chars)

        reservation._more = reserve_more
        try:
            yield reservation
        except BusyError as error:
            # Quotas are the key's own affair; that others keep the server busy is not.
            if not isinstance(error, QuotaError):
                reservation.outcome = replace(reservation.outcome or Outcome(), is_error=False)
            raise
        finally:
            outcome = reservation.outcome or Outcome(is_error=True)
            await self._ledger.settle(key.id, reservation_id, outcome)

    async def remaining(self, principal: Principal) -> int | None:
        """Characters that the key has left; None is unlimited."""
        key = principal.key
        if key is None or key.granted is None:
            return None
        found = await self._ledger.run(lambda: find_key(self._database, key.id))
        return found.remaining if found else 0

    async def profile(self, principal: Principal) -> Profile:
        """What the key has and used."""
        key = principal.key
        if key is None:
            return Profile(None, "anonymous", None, DayOfUse(today()))
        days = await self._ledger.run(lambda: read_usage(self._database, key.id, today()))
        remaining = await self.remaining(principal)
        return Profile(key.id, key.name, remaining, days[0] if days else DayOfUse(today()))

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if self._keyring.was_open:
                continue
            try:
                await self._beat()
            # The next round tries again; requests meanwhile meet the same error by themselves.
            except StoreUnavailableError as error:
                logger.error("%s", error.message)

    async def _beat(self) -> None:
        uses, self._used = self._used, {}
        try:
            await self._ledger.beat(uses)
        except StoreUnavailableError:
            self._used = uses | self._used
            raise


def _refused(refusal: Refusal, key: Key, num_chars: int) -> Fishs2Error:
    match refusal:
        case "invalid_token":
            return UnauthorizedError("this key has been disabled", code=refusal)
        case "too_many_streams":
            return QuotaError(
                f"this key may have {key.streams} requests in progress at once",
                code=refusal,
                retry_after_s=1,
            )
        case "insufficient_quota":
            return QuotaError(
                f"this key has fewer than the {num_chars:,} characters left that the text has",
                code=refusal,
                retry_after_s=None,
            )
