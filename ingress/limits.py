"""How often one customer may ask: counted for all processes in Redis, or by each process itself while Redis is away.

Backends (`service`, `support`, `finance`, `admin`) are not counted: their merchant answers for them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from limits import RateLimitItemPerHour, RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from domain.errors import ErrorCode, RefusedError

if TYPE_CHECKING:
    from limits import RateLimitItem

    from domain.settings import Settings

_log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 0.2
_REST_SECONDS = 5.0  # after a failure Redis is left alone for this long


class CustomerLimits:
    """The limits of customers; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        """Read the limits; nothing is connected yet."""
        self._requests = RateLimitItemPerSecond(
            settings.rate_limit_max_requests, settings.rate_limit_window_ms // 1000, namespace="payfleet"
        )
        self._payments = RateLimitItemPerHour(settings.rate_limit_payment_max, namespace="payfleet")
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._shared = _shared(settings)
        self._rests_until = 0.0

    def count_request(self, customer: str) -> None:
        """Count a request.

        Raises:
            RefusedError: RATE_LIMIT_EXCEEDED, for a customer that has asked too often.

        """
        self._count(self._requests, "requests", customer)

    def count_payment(self, customer: str) -> None:
        """Count a payment about to be accepted.

        Raises:
            RefusedError: RATE_LIMIT_EXCEEDED, for a customer that has started too many.

        """
        self._count(self._payments, "payments", customer)

    def _count(self, limit: RateLimitItem, what: str, subject: str) -> None:
        if self._shared is not None and time.monotonic() >= self._rests_until:
            try:
                self._hit(self._shared, limit, what, subject)
            except RedisError as error:
                self._rests_until = time.monotonic() + _REST_SECONDS
                _log.warning("limits.unavailable", error=type(error).__name__)
            else:
                return
        self._hit(self._local, limit, what, subject)

    def _hit(self, limiter: FixedWindowRateLimiter, limit: RateLimitItem, what: str, subject: str) -> None:
        if limiter.hit(limit, what, subject):
            return
        seconds = max(1, round(limiter.get_window_stats(limit, what, subject).reset_time - time.time()))
        raise RefusedError(
            ErrorCode.RATE_LIMIT_EXCEEDED,
            f"At most {limit.amount} {what} in {limit.get_expiry()} seconds.",
            details=f"Go on in {seconds} seconds.",
            retry_after_seconds=seconds,
        )


def _shared(settings: Settings) -> FixedWindowRateLimiter | None:
    if settings.redis_url is None:
        return None
    storage = RedisStorage(
        settings.redis_url.get_secret_value(), socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
    )
    return FixedWindowRateLimiter(storage)
