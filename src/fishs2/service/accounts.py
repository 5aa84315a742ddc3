"""Who asks, whether they may, and what it costs them. Without any key, everybody may do everything.

Keys are read again every second, so that what `fishs2 keys` changes in another process takes
effect. The database is used in one thread of its own; what is reserved is settled there even if the
request that reserved it was cancelled.
"""

import asyncio
import logging
import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import TypeVar

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from fishs2.errors import (
    ForbiddenError,
    QuotaError,
    StoreUnavailableError,
    UnauthorizedError,
)
from fishs2.store.database import Database
from fishs2.store.keys import SCOPES, Key, find_key, list_keys, note_uses, split_token
from fishs2.store.usage import (
    DayOfUse,
    Outcome,
    read_usage,
    release_dead,
    reserve,
    say_alive,
    settle,
    today,
)

logger = logging.getLogger(__name__)

LEASE_S = 30
"""A server that has not said for so long that it is alive is dead, its reservations void."""

_KEYS_LIFE_S = 1.0
_NO_DIGEST = "0" * 64

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. key: None where no key exists."""

    key: Key | None = None
    scopes: frozenset[str] = frozenset(SCOPES)


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


@dataclass(slots=True)
class _Keys:
    """The keys as of `read_s`, by id. is_open: there are none, so that nobody needs one."""

    by_id: dict[str, Key] = field(default_factory=dict)
    read_s: float = -math.inf

    @property
    def is_open(self) -> bool:
        return not self.by_id


class Accounts:
    """Keys, quotas, rates and use. For one event loop."""

    def __init__(
        self, database: Database, *, redis_url: str | None = None, lease_s: float = LEASE_S
    ) -> None:
        """redis_url: where several servers share their rates; None counts in this process."""
        self._database = database
        self._lease_s = lease_s
        self._owner_id = uuid.uuid4().hex
        self._is_owner = False
        storage = MemoryStorage() if redis_url is None else storage_from_string(redis_url)
        self._limiter = MovingWindowRateLimiter(storage)
        self._is_limiter_local = redis_url is None
        self._keys = _Keys()
        self._reading: asyncio.Future[None] | None = None
        self._used: dict[str, int] = {}
        # One thread: transactions of one process never wait for each other's locks.
        self._thread: ThreadPoolExecutor | None = None
        self._alive_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database, if there is one, and begin to say that we are alive.

        Raises SettingsError.
        """
        if self._database.exists:
            await self._run(self._database.migrate)
            await self._read_keys()
        self._alive_task = asyncio.create_task(self._stay_alive())

    async def close(self) -> None:
        """Settle what is left, and close the database."""
        if self._alive_task is not None:
            self._alive_task.cancel()
            await asyncio.wait([self._alive_task])
        if self._thread is not None:
            with suppress(StoreUnavailableError):
                await self._run(self._note_uses)
            self._thread.shutdown()
            self._thread = None
        self._database.close()

    async def is_open(self) -> bool:
        """Whether everybody may do everything, as no key exists."""
        await self._refresh()
        return self._keys.is_open

    async def authenticate(self, token: str | None) -> Principal:
        """Who has this token. Raises UnauthorizedError `invalid_token`, whatever is wrong."""
        await self._refresh()
        if self._keys.is_open:
            return Principal()
        parts = split_token(token) if token else None
        key = self._keys.by_id.get(parts[0]) if parts else None
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

    def require(self, principal: Principal, scope: str) -> None:
        """Raise ForbiddenError `missing_scope` unless the key has the scope, or admin."""
        if not principal.scopes & {scope, "admin"}:
            raise ForbiddenError(
                f"this key may not do that: it needs the scope {scope}", code="missing_scope"
            )

    @asynccontextmanager
    async def admit(self, principal: Principal, num_chars: int) -> AsyncGenerator[Reservation]:
        """Reserve characters and room for one request, and settle when the block ends.

        Raises QuotaError `rate_limit_exceeded`, `too_many_streams`, `insufficient_quota`; what is
        refused costs nothing.
        """
        reservation = Reservation()
        key = principal.key
        if key is None:
            yield reservation
            return
        await self._check_rate(key)
        reserved = await self._reserve(key, num_chars)
        try:
            yield reservation
        finally:
            outcome = reservation.outcome or Outcome(is_error=True)
            done = self._submit(lambda: settle(self._database, key.id, reserved, outcome))
            # Shielded: the thread settles also if we are cancelled while we wait.
            await asyncio.shield(asyncio.wrap_future(done))

    async def remaining(self, principal: Principal) -> int | None:
        """Characters that the key has left; None is unlimited."""
        key = principal.key
        if key is None or key.granted is None:
            return None
        found = await self._run(lambda: find_key(self._database, key.id))
        return found.remaining if found else 0

    async def profile(self, principal: Principal) -> Profile:
        """What the key has and used."""
        key = principal.key
        if key is None:
            return Profile(None, "anonymous", None, DayOfUse(today()))
        days = await self._run(lambda: read_usage(self._database, key.id, today()))
        remaining = await self.remaining(principal)
        return Profile(key.id, key.name, remaining, days[0] if days else DayOfUse(today()))

    async def _check_rate(self, key: Key) -> None:
        if key.per_minute is None:
            return
        item = RateLimitItemPerMinute(key.per_minute)
        limiter = self._limiter
        if self._is_limiter_local:
            is_free, reset_s = limiter.hit(item, key.id), 0.0
            if not is_free:
                reset_s = limiter.get_window_stats(item, key.id).reset_time
        else:
            is_free = await asyncio.to_thread(limiter.hit, item, key.id)
            if not is_free:
                stats = await asyncio.to_thread(limiter.get_window_stats, item, key.id)
                reset_s = stats.reset_time
        if not is_free:
            raise QuotaError(
                f"this key may ask {key.per_minute} times a minute",
                code="rate_limit_exceeded",
                retry_after_s=max(1, math.ceil(reset_s - time.time())),
            )

    async def _reserve(self, key: Key, num_chars: int) -> str:
        if not self._is_owner:
            self._is_owner = True
            await self._run(self._say_alive)
        work = self._submit(lambda: reserve(self._database, key.id, num_chars, self._owner_id))
        try:
            answer = await asyncio.shield(asyncio.wrap_future(work))
        except asyncio.CancelledError:
            # It may have been reserved by now, or will be in a moment.
            self._submit(lambda: self._settle_unused(key.id, work.result()))
            raise
        match answer:
            case "invalid_token":
                raise UnauthorizedError("this key has been disabled", code="invalid_token")
            case "too_many_streams":
                raise QuotaError(
                    f"this key may have {key.streams} requests in progress at once",
                    code="too_many_streams",
                    retry_after_s=1,
                )
            case "insufficient_quota":
                raise QuotaError(
                    f"this key has fewer than the {num_chars:,} characters left that the text has",
                    code="insufficient_quota",
                    retry_after_s=None,
                )
        return answer

    def _settle_unused(self, key_id: str, answer: str) -> None:
        if answer not in ("invalid_token", "too_many_streams", "insufficient_quota"):
            settle(self._database, key_id, answer, Outcome(is_error=True))

    async def _refresh(self) -> None:
        """Read the keys again if they are old; all who ask meanwhile wait for the same reading."""
        if time.monotonic() - self._keys.read_s < _KEYS_LIFE_S:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_keys())
        await asyncio.shield(self._reading)

    async def _read_keys(self) -> None:
        def read() -> dict[str, Key]:
            if not self._database.exists:
                return {}
            if self._keys.is_open:
                self._database.migrate()
            return {key.id: key for key in list_keys(self._database)}

        self._keys = _Keys(await self._run(read), time.monotonic())

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            if self._keys.is_open:
                continue
            try:
                await self._run(self._say_alive)
                await self._run(self._note_uses)
            # The next round tries again; requests meanwhile meet the same error by themselves.
            except StoreUnavailableError as error:
                logger.error("%s", error.message)

    def _say_alive(self) -> None:
        now_s = time.time()
        say_alive(self._database, self._owner_id, math.ceil(now_s + self._lease_s))
        num_released = release_dead(self._database, now_s)
        if num_released:
            logger.warning("gave back what %d requests of a dead server had reserved", num_released)

    def _note_uses(self) -> None:
        used, self._used = self._used, {}
        if used:
            note_uses(self._database, used)

    def _submit(self, work: Callable[[], _T]) -> "Future[_T]":
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="fishs2-database")
        return self._thread.submit(work)

    async def _run(self, work: Callable[[], _T]) -> _T:
        # Shielded: a request that is cancelled must not take work out of the thread's queue.
        return await asyncio.shield(asyncio.wrap_future(self._submit(work)))
