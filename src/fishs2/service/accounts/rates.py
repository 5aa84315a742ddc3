"""How often each key may ask: moving windows of a minute, in memory or in Redis."""

import asyncio
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from fishs2.errors import QuotaError, SettingsError, StoreUnavailableError
from fishs2.store.accounts.keys import Key

_REDIS_TIMEOUT_S = 2.0


class Rates:
    """Requests per minute of each key. For one event loop."""

    def __init__(self, redis_url: str | None) -> None:
        """redis_url: where several servers count together; None counts in this process.

        Connects to nothing yet. Raises SettingsError.
        """
        self._is_local = redis_url is None
        storage = MemoryStorage() if redis_url is None else _redis_storage(redis_url)
        self._limiter = MovingWindowRateLimiter(storage)

    async def count(self, key: Key) -> None:
        """Count one request. Raises QuotaError `rate_limit_exceeded`, StoreUnavailableError."""
        if key.per_minute is None:
            return
        item = RateLimitItemPerMinute(key.per_minute)
        if self._is_local:
            free_s = self._hit(item, key.id)
        else:
            free_s = await asyncio.to_thread(self._hit, item, key.id)
        if free_s is not None:
            raise QuotaError(
                f"this key may ask {key.per_minute} times a minute",
                code="rate_limit_exceeded",
                retry_after_s=max(1, math.ceil(free_s - time.time())),
            )

    def _hit(self, item: RateLimitItem, key_id: str) -> float | None:
        """None if there was room; else when there will be, in Unix seconds."""
        try:
            if self._limiter.hit(item, key_id):
                return None
            return self._limiter.get_window_stats(item, key_id).reset_time
        except StorageError as error:
            reason = error.storage_error
            raise StoreUnavailableError(f"Redis cannot be used for rates: {reason}") from error


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
