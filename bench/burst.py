"""A burst beyond Paystack's quota: the sandbox enforces the published limits, and nobody may hear of them.

All payments are accepted at once; while they wait, work that uses other endpoints must go on as ever. The
quick form has a test key's limits, the full one a live key's.
"""

import asyncio
import time

from bench.client import Client
from bench.ledger import Ledger
from bench.load import closed_loop, percentile
from bench.measure import Effort
from bench.processes import Fleet
from bench.report import Report
from bench.services import Stage
from bench.traffic import payment_requests, verify_requests
from domain.ids import reference_of
from domain.quotas import Endpoint, published_limits

PAYMENTS, QUICK_PAYMENTS = 5_000, 150
_LOOK_EVERY_SECONDS = 2.0
_SLACK_SECONDS = 120.0
_INITIALIZE = "POST /transaction/initialize"


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """So many payments at once, and now and then a question about one of them."""
    is_full = effort.rounds > 2
    total = PAYMENTS if is_full else QUICK_PAYMENTS
    limits = published_limits(live=is_full)
    limit = limits[Endpoint.INITIALIZE]
    report = Report(campaign="burst", title=f"Burst: {total:,} payments at once, Paystack takes {limit:,} a minute")
    stage.environment["PAYSTACK_RATE_LIMITS"] = ",".join(f"{name}={number}" for name, number in limits.items())
    fleet.start_sandbox()
    fleet.control("settings", rate_limits="live" if is_full else "test")
    port = fleet.start_web()
    fleet.start_workers()
    async with Client(port, effort.connections) as client, Ledger(stage.database_url) as ledger:
        start = await ledger.newest()
        began = time.perf_counter()
        requests = payment_requests(stage)
        burst = (next(requests) for _ in range(total))
        accepted = await closed_loop(client, burst, concurrency=effort.connections, seconds=_SLACK_SECONDS)
        accepted.require(202)
        report.note("accepted", accepted.rate, "/s")
        ids = await ledger.payment_ids(start)
        waiting = asyncio.create_task(
            ledger.wait_for_payable(total, start, seconds=60 * total / limit + _SLACK_SECONDS)
        )
        looks = await _look_meanwhile(client, stage, [reference_of(one, 1) for one in ids], waiting)
        await waiting
    seconds = time.perf_counter() - began
    book = fleet.control("book", method="GET")
    refused = book["counters"][_INITIALIZE] - len(book["transactions"])
    report.note("all payable after", seconds, "s")
    report.note("the least that the quota allows", 60.0 * ((total - 1) // limit), "s")
    report.at_most("answered 429 by Paystack", refused, "", 0)
    report.note("looks at Paystack meanwhile, p50", 1000 * percentile(looks, 0.5), "ms")
    report.note("looks at Paystack meanwhile, slowest", 1000 * max(looks), "ms")
    return report


async def _look_meanwhile(
    client: Client, stage: Stage, references: list[str], waiting: asyncio.Task[float]
) -> list[float]:
    """Have Paystack asked about a payment now and then, until none waits any more; returns how long each look took."""
    looks: list[float] = []
    for request in verify_requests(stage, references):
        outcome = await closed_loop(client, iter([request]), concurrency=1, seconds=30)
        outcome.require(200)
        looks += outcome.latencies
        done, _ = await asyncio.wait([waiting], timeout=_LOOK_EVERY_SECONDS)
        if done:
            break
    return looks
