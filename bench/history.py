"""What a page of a user's history costs as the table grows a hundredfold, on top and deep down; what Redis saves."""

import asyncio
from functools import partial

import psycopg
import redis.asyncio

from bench.client import Client
from bench.cpu import DRIVER_APPLICATION, CpuMeter
from bench.load import Outcome, closed_loop, percentile
from bench.measure import Effort, Leg, interleave
from bench.processes import Fleet, fleet_on
from bench.report import Report
from bench.services import Stage, fresh_stage
from bench.traffic import read_requests
from domain.ids import Prefix, show

SMALL, LARGE = 10_000, 1_000_000
QUICK_LARGE = 50_000
_CONCURRENCY = 4  # few enough that a page's own time shows, not its wait for others
_WARM_SECONDS = 1.0
_GROWTH_MAX = 1.25
_PAGES = ("one payment", "first page", "page from the middle", "first page of a light user")

_PARTITIONS = "SELECT payfleet_ensure_partitions(payfleet_now() - interval '5 months', 6)"
# In the order of time, as payments come; every thousandth is another user's.
_FILL = """
INSERT INTO payments (id, user_id, order_id, amount, currency, email_sealed, created_at, updated_at, expires_at)
SELECT payfleet_uuid7(at), CASE WHEN n %% 1000 = 0 THEN 'light_' || n / 10000 ELSE 'heavy' END, 'order_' || n, 250000,
    'NGN', '\\x00', at, at, at
FROM generate_series(1, %(size)s::int) AS n,
    LATERAL (SELECT payfleet_now() - interval '140 days' + interval '140 days' * n / %(size)s AS at) AS clock
"""
_MIDDLE = "SELECT id FROM payments WHERE user_id = 'heavy' ORDER BY id OFFSET %(half)s LIMIT 1"


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """GET /payments/user/{userId} at ten thousand payments and at a million, two services side by side."""
    report = Report(campaign="history", title="History: GET /payments/user/{userId}")
    redis_url = stage.environment.pop("REDIS_URL", None)
    large = LARGE if effort.rounds > 2 else QUICK_LARGE
    with fresh_stage(stage.state) as other, fleet_on(other) as other_fleet:
        del other.environment["REDIS_URL"]
        async with (
            Client(other_fleet.start_web(), _CONCURRENCY) as small_client,
            Client(fleet.start_web(), _CONCURRENCY) as large_client,
        ):
            legs = [
                *await _legs(small_client, other, SMALL, effort.seconds),
                *await _legs(large_client, stage, large, effort.seconds),
            ]
            # The same page of both in turn: whatever else the machine does meets both.
            legs.sort(key=lambda leg: _PAGES.index(leg.name.split(",")[0]))
            for leg in legs:
                await leg.run()
            with CpuMeter(stage.database_url) as meter:
                found = await interleave(legs, effort.rounds, meter, fleet)
            other_fleet.check()
    for name, leg in found.items():
        report.note(f"{name}, p50", 1000 * percentile(leg.outcome.latencies, 0.5), "ms")
        report.note(f"{name}, p99", 1000 * percentile(leg.outcome.latencies, 0.99), "ms")
    for name in _PAGES:
        few, many = (found[_name(name, size)].outcome.latencies for size in (SMALL, large))
        growth = percentile(many, 0.99) / percentile(few, 0.99)
        report.at_most(f"{name}, p99 at {large:,} / at {SMALL:,}", growth, "", _GROWTH_MAX)
    if redis_url is not None:
        await _cached(report, stage, fleet, effort, redis_url)
    return report


def _name(page: str, size: int) -> str:
    return f"{page}, {size:,} payments"


async def _legs(client: Client, stage: Stage, size: int, seconds: float) -> list[Leg]:
    middle = await asyncio.to_thread(_fill, stage.database_url, size)
    paths = (middle, "user/heavy", f"user/heavy?cursor={middle}", "user/light_0")

    async def run(path: str) -> Outcome:
        requests = read_requests(stage, [path])
        outcome = await closed_loop(client, requests, concurrency=_CONCURRENCY, seconds=seconds)
        outcome.require(200)
        return outcome

    return [Leg(name=_name(page, size), run=partial(run, path)) for page, path in zip(_PAGES, paths, strict=True)]


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


def _fill(database_url: str, size: int) -> str:
    """Have so many payments over the last months; returns the one in the middle of the heavy user's."""
    with psycopg.connect(database_url, autocommit=True, application_name=DRIVER_APPLICATION) as connection:
        connection.execute(_PARTITIONS)
        connection.execute(_FILL, {"size": size})
        connection.execute("VACUUM (ANALYZE) payments")
        row = connection.execute(_MIDDLE, {"half": size // 2}).fetchone()
    if row is None:
        raise RuntimeError("there is no payment in the middle")
    return show(Prefix.PAYMENT, row[0])
