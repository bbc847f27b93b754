"""What one payment costs from its POST to SUCCESS, and how many of them the machine completes.

The sandbox takes 100 ms to initialize, is paid at once by itself, and sends the webhook. Two loads:

- a backlog: all payments are accepted while the relay stands still, then it is let go. The rate of completions is what
  workers, Postgres and RabbitMQ can do when there is always work, and the whole cost is both phases together;
- a steady stream (open loop) at a share of that, for the time from POST to SUCCESS and the cost when batches are small.

Costs are CPU time by part. The driver and the sandbox are not part of the service, and are shown apart.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.client import Client
from bench.cpu import CpuMeter, Spent, add, spent
from bench.ledger import Ledger
from bench.load import closed_loop, open_loop, percentile
from bench.measure import Effort
from bench.processes import CARD, Fleet
from bench.profiler import profiled
from bench.report import Report
from bench.services import Stage
from bench.traffic import payment_requests

CPU_MAX = 4.0  # ms for each completed payment
GATEWAY_LATENCY_MS = 100
_WARM = 200
_STEADY_SHARE = 0.6  # of what was sustained with a backlog, acceptance included
_SECONDS_MAX = 240.0

_PARTS = {
    "web": "web",
    "relay": "relay",
    "worker": "worker",
    "scheduler": "scheduler",
    "rabbitmq": "RabbitMQ",
    "sandbox": "(sandbox)",
    "driver": "(driver)",
    "elsewhere": "(elsewhere on this machine)",
}


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What both loads play with."""

    fleet: Fleet
    effort: Effort
    meter: CpuMeter
    client: Client
    ledger: Ledger
    requests: Iterator[bytes]

    async def accept(self, payments: int) -> float:
        """Have payments accepted as fast as that goes; returns how long it took."""
        requests = itertools.islice(self.requests, payments)
        size = self.effort.connections
        outcome = await closed_loop(self.client, requests, concurrency=size, seconds=_SECONDS_MAX)
        outcome.require(202)
        return outcome.seconds


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """First with a backlog, then as a steady stream."""
    report = Report(campaign="lifecycle", title="Lifecycle: POST to SUCCESS, gateway latency 100 ms")
    fleet.start_sandbox()
    fleet.control("settings", autopay={"card": CARD, "delay_ms": 0})
    fleet.control("faults", endpoint="initialize", kind="latency", latency_ms=GATEWAY_LATENCY_MS)
    port = fleet.start_web()
    fleet.start_workers()
    with CpuMeter(stage.database_url) as meter:
        async with Client(port, effort.connections) as client, Ledger(stage.database_url) as ledger:
            scene = _Scene(
                fleet=fleet,
                effort=effort,
                meter=meter,
                client=client,
                ledger=ledger,
                requests=payment_requests(stage),
            )
            # Everything connected, imported and prepared once.
            start = await ledger.newest()
            await scene.accept(_WARM)
            await ledger.wait_for_success(_WARM, start, seconds=60)
            await ledger.settle(seconds=60)
            await ledger.analyze()
            with ExitStack() as stack:
                if effort.profile:
                    stack.enter_context(profiled({name: fleet.pid(name) for name in ("web", "relay", "worker")}))
                rate = await _backlog(report, scene)
            await _stream(report, scene, rate * _STEADY_SHARE)
    fleet.check()
    return report


async def _backlog(report: Report, scene: _Scene) -> float:
    fleet, meter, ledger = scene.fleet, scene.meter, scene.ledger
    total = scene.effort.payments
    start = await ledger.newest()
    cpu: Spent = {}
    with fleet.held("relay"):
        before = meter.read(fleet.pids)
        accepting = await scene.accept(total)
        add(cpu, filled := spent(before, meter.read(fleet.pids)))
        await asyncio.sleep(0.5)
        before = meter.read(fleet.pids)
        released = time.perf_counter()
    completed = await ledger.wait_for_success(total, start, seconds=_SECONDS_MAX)
    await ledger.settle(seconds=60)
    add(cpu, spent(before, meter.read(fleet.pids)))
    draining = completed - released
    report.note("backlog", total, "payments")
    report.note("backlog, accepted while the relay stands", total / accepting, "/s")
    report.note("backlog, completed", total / draining, "/s")
    report.note("backlog, accepted and completed", total / (accepting + draining), "/s")
    _costs(report, "backlog", cpu, total)
    report.note("backlog, of that: accepting", 1000 * _service(filled) / total, "ms CPU")
    return total / (accepting + draining)


async def _stream(report: Report, scene: _Scene, rate: float) -> None:
    fleet, meter, ledger, effort = scene.fleet, scene.meter, scene.ledger, scene.effort
    start = await ledger.newest()
    before = meter.read(fleet.pids)
    outcome = await open_loop(scene.client, scene.requests, rate=rate, seconds=effort.seconds * effort.rounds)
    outcome.require(202)
    await ledger.wait_for_success(outcome.answered, start, seconds=_SECONDS_MAX)
    await ledger.settle(seconds=60)
    cpu = spent(before, meter.read(fleet.pids))
    ages = await ledger.seconds_to_success(start)
    report.note("stream", rate, "/s")
    report.latencies("stream, POST answered", outcome)
    report.note("stream, POST to SUCCESS, p50", 1000 * percentile(ages, 0.50), "ms")
    report.note("stream, POST to SUCCESS, p99", 1000 * percentile(ages, 0.99), "ms")
    _costs(report, "stream", cpu, outcome.answered)


def _costs(report: Report, name: str, cpu: Spent, payments: int) -> None:
    report.at_most(f"{name}, whole lifecycle", 1000 * _service(cpu) / payments, "ms CPU", CPU_MAX)
    postgres = sum(seconds for part, seconds in cpu.items() if _is_postgres(part))
    report.note(f"{name}, Postgres", 1000 * postgres / payments, "ms CPU")
    report.cpu(name, cpu, payments, _PARTS)


def _service(cpu: Spent) -> float:
    """Web, relay, worker, Postgres and RabbitMQ; the scheduler too, though it has next to nothing to do."""
    processes = sum(cpu.get(part, 0.0) for part in ("web", "relay", "worker", "scheduler", "rabbitmq"))
    return processes + sum(seconds for part, seconds in cpu.items() if _is_postgres(part))


def _is_postgres(part: str) -> bool:
    return part.startswith("postgres") and part != "postgres bench"
