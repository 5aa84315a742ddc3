"""How often each key may ask: moving windows of a minute, in memory or in Redis."""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from limits import RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from fishs2.errors import QuotaError, SettingsError, StoreUnavailableError
from fishs2.store.accounts.keys import Key

_REDIS_TIMEOUT_S = 2.0
_WINDOW_S = 60.0
_MAX_SHARED_WAIT_S = 2 * _WINDOW_S
"""Servers that share their rates may differ by a window in what time it is."""


class Rates:
    """Requests per minute of each key. For one event loop."""

    def __init__(
        self, redis_url: str | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """redis_url: where several servers count together; None counts in this process.

        clock: of this process, in seconds, which nobody sets. Connects to nothing yet. Raises
        SettingsError.
        """
        self._shared = None if redis_url is None else _redis_limiter(redis_url)
        self._windows = _Windows(clock)

    async def count(self, key: Key) -> None:
        """Count one request. Raises QuotaError `rate_limit_exceeded`, StoreUnavailableError."""
        if key.per_minute is None:
            return
        if self._shared is None:
            wait_s = self._windows.hit(key.id, key.per_minute)
        else:
            wait_s = await asyncio.to_thread(_hit, self._shared, key.id, key.per_minute)
        if wait_s is not None:
            raise QuotaError(
                f"this key may ask {key.per_minute} times a minute",
                code="rate_limit_exceeded",
                retry_after_s=max(1, math.ceil(wait_s)),
            )


class _Windows:
    """Moving windows in this process. By a clock that nobody sets: a machine whose time is put
    back by an hour must not refuse a key for an hour.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Keys that asked in the last minute, the latest last, with when they did.
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, key_id: str, per_minute: int) -> float | None:
        """None if there was room; else after how many seconds there will be."""
        now_s = self._clock()
        while self._times and next(iter(self._times.values()))[-1] <= now_s - _WINDOW_S:
            self._times.popitem(last=False)
        times = self._times.get(key_id, deque())
        while times and times[0] <= now_s - _WINDOW_S:
            times.popleft()
        if len(times) >= per_minute:
            return times[-per_minute] + _WINDOW_S - now_s
        times.append(now_s)
        self._times[key_id] = times
        self._times.move_to_end(key_id)
        return None


def _hit(limiter: MovingWindowRateLimiter, key_id: str, per_minute: int) -> float | None:
    """The same in Redis. Raises StoreUnavailableError."""
    item = RateLimitItemPerMinute(per_minute)
    try:
        if limiter.hit(item, key_id):
            return None
        wait_s = limiter.get_window_stats(item, key_id).reset_time - time.time()
        if wait_s <= _MAX_SHARED_WAIT_S:
            return wait_s
        # The time was set back since; what was counted before would refuse the key for as long.
        limiter.clear(item, key_id)
        return None if limiter.hit(item, key_id) else _WINDOW_S
    except StorageError as error:
        reason = error.storage_error
        raise StoreUnavailableError(f"Redis cannot be used for rates: {reason}") from error


def _redis_limiter(url: str) -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(_redis_storage(url))


def _redis_storage(url: str) -> RedisStorage:
    try:
        return RedisStorage(
            url,
            wrap_exceptions=True,
            socket_timeout=_REDIS_TIMEOUT_S,
            socket_connect_timeout=_REDIS_TIMEOUT_S,
        )
    except ConfigurationError as error:
        raise SettingsError(
            "FISHS2_REDIS_URL needs a driver that is not installed: pip install 'fishs2[redis]'"
        ) from error
    # Without the error's own words: they may hold the password.
    except ValueError:
        raise SettingsError("FISHS2_REDIS_URL must be like redis://HOST:6379/0") from None
