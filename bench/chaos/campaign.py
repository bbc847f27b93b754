"""One campaign from beginning to end: start everything, load and break it, wait for quiet, judge."""

import asyncio
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos.arena import Arena
from bench.chaos.books import Ours, Theirs, read_ours, read_theirs
from bench.chaos.customers import Customers
from bench.chaos.judge import Evidence, Finding, judge
from bench.chaos.listener import Listener
from bench.chaos.plan import Fault, Scale, draw_faults, draw_orders
from bench.chaos.quiet import Settled, settle
from bench.chaos.storm import Happening, Storm
from bench.chaos.told import Told
from bench.chaos.watch import Sample, Watch

# Paystack sends each event three times, each copy held back by itself.
_WEBHOOKS = {"duplicate": 1.0, "copies": 2, "reorder": 1.0}
_EARLY = """
SELECT count(*) FROM payment_history h WHERE h.fact = 'payment.succeeded' AND NOT EXISTS (
    SELECT FROM payment_history earlier WHERE earlier.payment_id = h.payment_id AND earlier.fact = 'payment.initialized'
        AND earlier.version < h.version) AND h.source = 'paystack.webhook'
"""


@dataclass(kw_only=True)
class Campaign:
    """What became of one campaign: all that the report tells."""

    seed: int
    scale: Scale
    began: float = field(default_factory=time.time)
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0
    happened: list[Happening] = field(default_factory=list[Happening])
    struck: dict[str, int] = field(default_factory=dict[str, int])
    samples: list[Sample] = field(default_factory=list[Sample])
    settled: Settled = field(default_factory=Settled)
    told: Told = field(default_factory=Told)
    ours: Ours | None = None
    theirs: Theirs | None = None
    findings: list[Finding] = field(default_factory=list[Finding])
    figures: dict[str, float] = field(default_factory=dict[str, float])
    restarts: dict[str, int] = field(default_factory=dict[str, int])
    unsatisfied: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def passed(self) -> bool:
        """Whether the judge found nothing."""
        return not self.findings


Report = Callable[[str, float, Sample | None], None]


async def run_campaign(
    scale: Scale, seed: int, state: Path, *, faults: list[Fault] | None = None, report: Report
) -> Campaign:
    """Run one campaign with its state in a folder; `report` hears what goes on: phase, seconds, newest sample."""
    campaign = Campaign(seed=seed, scale=scale)
    begun = time.monotonic()
    report("starting servers and processes", 0.0, None)
    arena = Arena(state, seed=seed)
    async with arena.open():
        campaign.machine = _machine(arena)
        reorder_max_ms = 10_000 if scale.storm_seconds > 300 else 3_000
        await arena.control("settings", webhook_faults=_WEBHOOKS | {"reorder_max_ms": reorder_max_ms})
        listener = Listener(arena.rabbitmq)
        with listener.listening():
            planned = draw_faults(scale, seed) if faults is None else faults
            await _play(campaign, arena, listener, planned, report)
            report("judging", time.monotonic() - begun, None)
            await _gather_evidence(campaign, arena, listener)
        campaign.restarts = arena.restarts()
    campaign.seconds = time.monotonic() - begun
    return campaign


async def _play(campaign: Campaign, arena: Arena, listener: Listener, faults: list[Fault], report: Report) -> None:
    """Customers and faults side by side, then quiet."""
    scale = campaign.scale
    customers = Customers(arena, draw_orders(scale, campaign.seed), campaign.told, seed=campaign.seed)
    storm = Storm(arena, listener, scale, faults)
    watch = Watch(arena=arena, customers=customers)
    buying = asyncio.create_task(customers.run(calm_seconds=scale.calm_seconds))
    helpers = [asyncio.create_task(watch.run()), asyncio.create_task(_tell(watch, scale, report))]
    try:
        await storm.run()
        campaign.settled = await settle(arena, customers)
    finally:
        campaign.unsatisfied = dict(customers.unsatisfied)
        for task in (buying, *helpers):
            task.cancel()
        for outcome in await asyncio.gather(buying, *helpers, return_exceptions=True):
            # A defect of the campaign itself must not pass for a quiet end.
            if isinstance(outcome, Exception):
                raise outcome
    campaign.happened, campaign.struck, campaign.samples = storm.happened, storm.struck, watch.samples
    campaign.figures |= {
        "accept in the calm, p50, ms": 1000 * _share(customers.calm_latencies, 0.50),
        "accept in the calm, p99, ms": 1000 * _share(customers.calm_latencies, 0.99),
        "dead letters": float(await asyncio.to_thread(storm.dead_letters)),
        "forged webhooks": float(customers.progress["forged"]),
    }


async def _gather_evidence(campaign: Campaign, arena: Arena, listener: Listener) -> None:
    book = await arena.control("book", "GET")
    campaign.theirs = read_theirs(book)
    campaign.ours = await asyncio.to_thread(read_ours, arena.postgres.url)
    events = campaign.ours.events.keys()
    await arena.until(lambda: events <= listener.heard.keys(), seconds=20)
    report = await asyncio.to_thread(arena.check_books)
    evidence = Evidence(
        told=campaign.told,
        ours=campaign.ours,
        theirs=campaign.theirs,
        heard=frozenset(listener.heard),
        deaf=listener.deaf_spans,
        late=campaign.settled.late,
        by_itself=[(c["name"], e["id"], e["detail"]) for c in report["checks"] for e in c["examples"]],
        dead_letters=int(campaign.figures["dead letters"]),
    )
    campaign.findings = judge(evidence)
    campaign.figures |= {
        "webhooks delivered by Paystack": sum(row["status"] == "delivered" for row in book["deliveries"]),
        "payments paid before their opening was known": arena.look(_EARLY)[0][0],
        "payments paid with other money": sum(
            p.review_reason == "amount_mismatch" for p in campaign.ours.payments.values()
        ),
        "events heard more than once": sum(count > 1 for count in listener.heard.values()),
        "events": len(campaign.ours.events),
        "calls taken by Paystack": sum(
            count for name, count in book["counters"].items() if not name.startswith("GET /_sandbox")
        ),
    }


async def _tell(watch: Watch, scale: Scale, report: Report) -> None:
    while True:
        at = time.monotonic() - watch.started
        phase = "calm" if at < scale.calm_seconds else "storm" if at < scale.end else "quiet"
        report(phase, at, watch.samples[-1] if watch.samples else None)
        await asyncio.sleep(1.0)


def _machine(arena: Arena) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "postgres": arena.look("SHOW server_version")[0][0],
        "rabbitmq": arena.rabbitmq.control("version").strip(),
        "clock steps": arena.clocks.missing or "by a preloaded library",
    }


def _share(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
