"""How soon a payment shows as paid after its webhook was answered.

The driver plays Paystack: payments are initialized first, then it posts their signed `charge.success` events on a
constant schedule and looks into the database every few milliseconds. What is seen late counts in full.
"""

import asyncio
import time
from uuid import UUID

from bench.client import Client
from bench.ledger import Ledger
from bench.load import closed_loop, open_loop, percentile
from bench.measure import Effort
from bench.processes import Fleet
from bench.report import Report
from bench.services import Stage
from bench.traffic import charge_success, payment_requests
from domain.ids import reference_of

P99_MAX_MS = 150.0
RATE = 100.0
_LOOK_SECONDS = 0.005


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """Webhooks for initialized payments at 100 a second."""
    report = Report(campaign="visible", title="Webhook answered, then status visible, at 100 webhooks/s")
    fleet.start_sandbox()
    port = fleet.start_web()
    fleet.start_workers()
    seconds = effort.seconds * effort.rounds
    total = int(RATE * seconds)
    async with Client(port, effort.connections) as client, Ledger(stage.database_url) as ledger:
        start = await ledger.newest()
        requests = payment_requests(stage)
        accepted = await closed_loop(
            client, (next(requests) for _ in range(total)), concurrency=effort.connections, seconds=120
        )
        accepted.require(202)
        await ledger.wait_for_payable(total, start, seconds=120)
        await ledger.settle(seconds=60)
        await ledger.analyze()
        ids = await ledger.payment_ids(start)
        events = [charge_success(stage, reference_of(payment_id, 1), 10_000 + n) for n, payment_id in enumerate(ids)]
        answered: dict[UUID, float] = {}
        delays: list[float] = []
        sending = asyncio.Event()

        def on_answer(number: int, _scheduled: float, _status: int, _body: bytes) -> None:
            answered[ids[number]] = time.perf_counter()

        async def look() -> None:
            while not sending.is_set() or answered:
                await asyncio.sleep(_LOOK_SECONDS)
                paid = await ledger.succeeded_among(answered) if answered else []
                now = time.perf_counter()
                delays.extend(now - answered.pop(payment_id) for payment_id in paid)

        looking = asyncio.create_task(look())
        outcome = await open_loop(client, iter(events), rate=RATE, seconds=seconds, on_answer=on_answer)
        outcome.require(200)
        sending.set()
        await asyncio.wait_for(looking, 60)
    fleet.check()
    report.latencies("webhook answered", outcome)
    report.note("answered to visible, p50", 1000 * percentile(delays, 0.50), "ms")
    report.at_most("answered to visible, p99", 1000 * percentile(delays, 0.99), "ms", P99_MAX_MS)
    report.note("answered to visible, longest", 1000 * max(delays), "ms")
    return report
