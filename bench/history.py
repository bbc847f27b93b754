"""What a page of a user's history costs as the table grows a hundredfold, on top and deep down; what Redis saves."""

import asyncio
from functools import partial
from typing import Any

import psycopg
import redis.asyncio

from bench.client import Client
from bench.cpu import DRIVER_APPLICATION, CpuMeter
from bench.load import Outcome, closed_loop, percentile
from bench.measure import Effort, Leg, interleave
from bench.processes import Fleet
from bench.report import Report
from bench.services import Stage
from bench.traffic import read_requests
from domain.ids import Prefix, show

SMALL, LARGE = 10_000, 1_000_000
QUICK_LARGE = 50_000
_CONCURRENCY = 4  # few enough that a page's own time shows, not its wait for others
_WARM_SECONDS = 1.0
_MONTHS = 5
_GROWTH_MAX = 1.25

_PARTITIONS = "SELECT payfleet_ensure_partitions(payfleet_now() - interval '5 months', 6)"
# In the order of time, as payments come; every thousandth is another user's.
_FILL = """
INSERT INTO payments (id, user_id, order_id, amount, currency, email_sealed, created_at, updated_at, expires_at)
SELECT payfleet_uuid7(at), CASE WHEN n %% 1000 = 0 THEN 'light_' || n / 10000 ELSE 'heavy' END, 'order_' || n, 250000,
    'NGN', '\\x00', at, at, at
FROM generate_series(%(first)s::int, %(last)s::int) AS n,
    LATERAL (SELECT payfleet_now() - interval '140 days' + interval '140 days' * n / %(last)s AS at) AS clock
"""
_MIDDLE = "SELECT id FROM payments WHERE user_id = 'heavy' ORDER BY id OFFSET %(half)s LIMIT 1"


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """GET /payments/user/{userId} at ten thousand payments, and at a million."""
    report = Report(campaign="history", title="History: GET /payments/user/{userId}")
    redis_url = stage.environment.pop("REDIS_URL", None)
    port = fleet.start_web()
    large = LARGE if effort.rounds > 2 else QUICK_LARGE
    found: dict[str, dict[int, float]] = {}
    filled = 0
    for size in (SMALL, large):
        middle = await asyncio.to_thread(_fill, stage.database_url, filled + 1, size)
        filled = size
        async with Client(port, _CONCURRENCY) as client:
            legs = await _legs(client, stage, fleet, effort, middle)
        for name, leg in legs.items():
            found.setdefault(name, {})[size] = 1000 * percentile(leg.outcome.latencies, 0.99)
            report.note(f"{name}, {size:,} payments, p50", 1000 * percentile(leg.outcome.latencies, 0.5), "ms")
            report.note(f"{name}, {size:,} payments, p99", found[name][size], "ms")
    drift = found["one payment"][large] / found["one payment"][SMALL]
    for name in ("first page", "page from the middle", "first page of a light user"):
        growth = found[name][large] / found[name][SMALL]
        report.at_most(f"{name}, p99 at {large:,} / at {SMALL:,}", growth, "", _GROWTH_MAX)
    report.note("one payment, the same ratio (drift of the machine)", drift, "")
    if redis_url is not None:
        await _cached(report, stage, fleet, effort, redis_url)
    return report


async def _legs(client: Client, stage: Stage, fleet: Fleet, effort: Effort, middle: str) -> Any:
    paths = {
        "one payment": middle,
        "first page": "user/heavy",
        "page from the middle": f"user/heavy?cursor={middle}",
        "first page of a light user": "user/light_0",
    }
    requests = {name: read_requests(stage, [path]) for name, path in paths.items()}

    async def run(name: str, seconds: float) -> Outcome:
        outcome = await closed_loop(client, requests[name], concurrency=_CONCURRENCY, seconds=seconds)
        outcome.require(200)
        return outcome

    for name in paths:
        await run(name, _WARM_SECONDS)
    with CpuMeter(stage.database_url) as meter:
        legs = [Leg(name=name, run=partial(run, name, effort.seconds)) for name in paths]
        return await interleave(legs, effort.rounds, meter, fleet)


async def _cached(report: Report, stage: Stage, fleet: Fleet, effort: Effort, redis_url: str) -> None:
    """The first page from Postgres and from Redis, by the same server restarted."""
    rates: dict[str, float] = {}
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        for name, url in (("from Postgres", None), ("from Redis", redis_url)):
            fleet.stop("web")
            stage.environment.pop("REDIS_URL", None)
            if url is not None:
                stage.environment["REDIS_URL"] = url
            port = fleet.start_web()
            before = await client.info("stats")
            async with Client(port, _CONCURRENCY) as web:
                requests = read_requests(stage, ["user/heavy"])
                await closed_loop(web, requests, concurrency=_CONCURRENCY, seconds=_WARM_SECONDS)
                outcome = await closed_loop(web, requests, concurrency=_CONCURRENCY, seconds=effort.seconds)
            outcome.require(200)
            rates[name] = outcome.rate
        after = await client.info("stats")
    hits, misses = (after[name] - before[name] for name in ("keyspace_hits", "keyspace_misses"))
    report.note("first page, from Redis / from Postgres", rates["from Redis"] / rates["from Postgres"], "")
    report.note("hit rate of one user asking again and again", hits / (hits + misses), "")


def _fill(database_url: str, first: int, last: int) -> str:
    """Have so many payments over the last months; returns the one in the middle of the heavy user's."""
    with psycopg.connect(database_url, autocommit=True, application_name=DRIVER_APPLICATION) as connection:
        connection.execute(_PARTITIONS)
        connection.execute(_FILL, {"first": first, "last": last})
        connection.execute("VACUUM (ANALYZE) payments")
        row = connection.execute(_MIDDLE, {"half": last // 2}).fetchone()
    if row is None:
        raise RuntimeError("there is no payment in the middle")
    return show(Prefix.PAYMENT, row[0])
