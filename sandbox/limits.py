"""Paystack's published rate limits, counted per endpoint in windows of 60 seconds of the sandbox's clock."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.answers import quota_headers, rate_limited
from sandbox.clock import Clock
from sandbox.settings import Schedule

WINDOW_MS = 60_000
_LIVE_DEFAULT = 600
_LIVE = {"verify": 3_000, "initialize": 1_200, "charge_authorization": 1_200, "charge": 1_200, "charge_check": 1_200}
_TEST = 100


@dataclass(slots=True)
class _Window:
    started_at_ms: int
    used: int


def limit_of(endpoint: str, schedule: Schedule) -> int:
    """Return the calls a minute that the endpoint allows."""
    return _TEST if schedule == "test" else _LIVE.get(endpoint, _LIVE_DEFAULT)


class RateLimits:
    """The windows under way. A window starts with the first call after the last one ended."""

    def __init__(self, clock: Clock) -> None:
        """Start without a window under way."""
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def take(self, endpoint: str, schedule: Schedule) -> dict[str, str]:
        """Count one call and return the headers that tell what is left.

        Raises:
            RefusalError: 429, if the window's quota is used up.

        """
        now = self._clock.now_ms()
        limit = limit_of(endpoint, schedule)
        window = self._windows.get(endpoint)
        if window is None or now >= window.started_at_ms + WINDOW_MS:
            window = self._windows[endpoint] = _Window(now, 0)
        reset_seconds = -(-(window.started_at_ms + WINDOW_MS - now) // 1000)
        if window.used >= limit:
            raise rate_limited(limit=limit, reset_seconds=reset_seconds)
        window.used += 1
        return quota_headers(limit=limit, remaining=limit - window.used, reset_seconds=reset_seconds)
