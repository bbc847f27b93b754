"""The quota governor: no more calls leave than Paystack allows, counted over all workers in Redis.

When Paystack's windows of a minute begin is not known, so no stretch of a minute may hold more calls than its limit.
Who comes too late is told when to come again, each a little later than the one before: a burst is spread over the
minutes it needs, and few ask twice in vain. While Redis is away, each worker keeps to a part of the limits by itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import redis
import structlog
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from domain.quotas import KEPT_FOR, Endpoint, Lane

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = structlog.get_logger(__name__)

WINDOW_SECONDS = 62  # a minute, and what a call may take longer to arrive than another
_PART_WITHOUT_REDIS = 4  # each worker's share of a limit is one part of so many: they cannot ask each other
_TIMEOUT_SECONDS = 0.2
_REST_SECONDS = 5.0  # after a failure Redis is left alone for this long
_LEARNED_SECONDS = 3600
_WAIT_SECONDS_MIN = 0.1

# For each endpoint two hashes: its calls by second and lane with their sums over the window, gone when it is over; and
# what is known about the time to come. The clock is Redis' own.
_TAKE = """
local window, limit, lane = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local second, now = tonumber(time[1]), tonumber(time[1]) + tonumber(time[2]) / 1000000
local known = redis.call('HMGET', KEYS[2], 'closed_until', 'limit', 'limit_until', 'promised')
local closed, promised = tonumber(known[1] or 0), tonumber(known[4] or 0)
if known[2] and tonumber(known[3]) > now then limit = math.min(limit, tonumber(known[2])) end

local function calls(at, name) return tonumber(redis.call('HGET', KEYS[1], at .. ':' .. name) or 0) end

local last = tonumber(redis.call('HGET', KEYS[1], 'second') or second)
second = math.max(second, last)
local total, kept = 0, 0
for i = 4, #ARGV, 2 do
    local name = ARGV[i]
    local used = tonumber(redis.call('HGET', KEYS[1], 'used:' .. name) or 0)
    for at = last + 1 - window, second - window do
        local over = calls(at, name)
        if over > 0 then
            used = redis.call('HINCRBY', KEYS[1], 'used:' .. name, -over)
            redis.call('HDEL', KEYS[1], at .. ':' .. name)
        end
    end
    total = total + used
    if name ~= lane then kept = kept + math.max(0, math.floor(limit * tonumber(ARGV[i + 1])) - used) end
end
redis.call('HSET', KEYS[1], 'second', second)
redis.call('EXPIRE', KEYS[1], window + 1)

if closed <= now and total + kept < limit then
    redis.call('HINCRBY', KEYS[1], second .. ':' .. lane, 1)
    redis.call('HINCRBY', KEYS[1], 'used:' .. lane, 1)
    return '0'
end
local free = now
for at = second - window + 1, second do
    local held = 0
    for i = 4, #ARGV, 2 do held = held + calls(at, ARGV[i]) end
    if held > 0 then
        free = at + window
        break
    end
end
promised = math.max(free, closed, promised) + window / limit
redis.call('HSET', KEYS[2], 'promised', promised)
redis.call('EXPIRE', KEYS[2], math.ceil(promised - now) + 3600)
return tostring(promised - now)
"""
_CLOSE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
redis.call('HSET', KEYS[2], 'closed_until', now + tonumber(ARGV[1]))
if ARGV[2] ~= '' then redis.call('HSET', KEYS[2], 'limit', ARGV[2], 'limit_until', now + tonumber(ARGV[3])) end
redis.call('EXPIRE', KEYS[2], tonumber(ARGV[3]))
return '0'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of one endpoint's quota is used, by lane, in the last minute.

    `drained_in_seconds` is when those who were told to come again will all have been served.
    """

    endpoint: Endpoint
    limit: int
    used: Mapping[Lane, int]
    closed_seconds: float
    drained_in_seconds: float


class Quota:
    """The quotas of one Paystack account; safe to share between threads."""

    def __init__(self, redis_url: str | None, limits: Mapping[Endpoint, int], *, account: str) -> None:
        """Take the limits, in calls a minute; nothing is connected yet.

        Args:
            redis_url: where all workers count; None counts in this process alone.
            limits: for each endpoint.
            account: names the Paystack account among others that may share the Redis.

        """
        self._limits = limits
        self._account = account
        self._client = (
            None
            if redis_url is None
            else redis.Redis.from_url(
                redis_url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
            )
        )
        self._taking = None if self._client is None else self._client.register_script(_TAKE)
        self._closing = None if self._client is None else self._client.register_script(_CLOSE)
        self._rests_until = float("-inf")
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._local_part = 1 if redis_url is None else _PART_WITHOUT_REDIS
        self._local_closed_until: dict[Endpoint, float] = {}

    def take(self, endpoint: Endpoint, lane: Lane) -> float:
        """Count one call; returns 0 when it may be made, else in how many seconds to ask again."""
        shares = KEPT_FOR.get(endpoint, {})
        lanes = [part for name in Lane for part in (name, shares.get(name, 0.0))]
        wait = self._ask(self._taking, endpoint, WINDOW_SECONDS, self._limits[endpoint], lane, *lanes)
        return self._take_locally(endpoint) if wait is None else wait

    def close(self, endpoint: Endpoint, seconds: float, limit: int | None) -> None:
        """Learn from a 429: nothing leaves for so many seconds, and no more than `limit` a minute in the next hour."""
        _log.warning("quota.exceeded", endpoint=endpoint, seconds=seconds, limit=limit)
        self._local_closed_until[endpoint] = time.monotonic() + seconds
        self._ask(self._closing, endpoint, seconds, "" if limit is None else limit, _LEARNED_SECONDS)

    def usage(self) -> list[Usage] | None:
        """Read what has been used in the last minute; None when Redis is not there, or not asked."""
        if self._client is None:
            return None
        try:
            return [self._usage_of(self._client, endpoint) for endpoint in self._limits]
        except redis.RedisError:
            return None

    def _usage_of(self, client: redis.Redis, endpoint: Endpoint) -> Usage:
        calls_key, known_key = self._keys(endpoint)
        calls = cast("dict[bytes, bytes]", client.hgetall(calls_key))
        known = cast("dict[bytes, bytes]", client.hgetall(known_key))
        seconds, micros = client.time()
        now = seconds + micros / 1e6
        used = dict.fromkeys(Lane, 0)
        for name, count in calls.items():
            at, _, lane = name.decode().partition(":")
            if at.isdigit() and int(at) > now - WINDOW_SECONDS:
                used[Lane(lane)] += int(count)
        learned = int(known.get(b"limit", 0)) if float(known.get(b"limit_until", 0)) > now else None
        return Usage(
            endpoint=endpoint,
            limit=min(self._limits[endpoint], learned or self._limits[endpoint]),
            used=used,
            closed_seconds=max(0.0, float(known.get(b"closed_until", 0)) - now),
            drained_in_seconds=max(0.0, float(known.get(b"promised", 0)) - now),
        )

    def _ask(self, script: Any, endpoint: Endpoint, *arguments: object) -> float | None:
        """Run a script at Redis and read the seconds it answers; None when Redis is not there."""
        if script is None or time.monotonic() < self._rests_until:
            return None
        try:
            return float(script(keys=self._keys(endpoint), args=arguments))
        except redis.RedisError as error:
            self._rests_until = time.monotonic() + _REST_SECONDS
            _log.warning("quota.unavailable", error=type(error).__name__)
            return None

    def _keys(self, endpoint: Endpoint) -> tuple[str, str]:
        stem = f"payfleet:quota:{{{self._account}:{endpoint}}}"
        return f"{stem}:calls", f"{stem}:known"

    def _take_locally(self, endpoint: Endpoint) -> float:
        closed = self._local_closed_until.get(endpoint, 0.0) - time.monotonic()
        if closed > 0:
            return closed
        item = RateLimitItemPerSecond(max(1, self._limits[endpoint] // self._local_part), WINDOW_SECONDS)
        if self._local.hit(item, endpoint):
            return 0.0
        return max(_WAIT_SECONDS_MIN, self._local.get_window_stats(item, endpoint).reset_time - time.time())
