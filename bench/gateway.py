"""Whether the gateway's troubles reach those who pay: accepting while it is well, answers after 10 s, or is down.

Rounds of the three states in turn, each state first in a third of them, at a steady rate well below what is possible,
with the whole fleet running. Between two states the backlog is worked off, so that none inherits another's.
"""

from statistics import median

from bench.client import Client
from bench.ledger import Ledger
from bench.load import Outcome, open_loop, percentile
from bench.measure import Effort
from bench.processes import Fleet
from bench.report import Report
from bench.services import Stage
from bench.traffic import payment_requests

RATE = 100.0
SLOW_MS = 10_000
WITHIN = 1.2
_STATES = ("healthy", "slow", "down")
_WARM_SECONDS = 2.0


async def measure(stage: Stage, fleet: Fleet, effort: Effort) -> Report:
    """The tail of POST /payments in each state, and its ratio to the healthy one."""
    report = Report(campaign="gateway", title="Accepting at 100/s while the gateway is well, slow, or down")
    fleet.start_sandbox()
    port = fleet.start_web()
    fleet.start_workers()
    requests = payment_requests(stage)
    outcomes = {state: Outcome() for state in _STATES}
    tails: dict[str, list[float]] = {state: [] for state in _STATES}
    async with Client(port, effort.connections) as client, Ledger(stage.database_url) as ledger:
        (await open_loop(client, requests, rate=RATE, seconds=_WARM_SECONDS)).require(202)
        await ledger.settle(seconds=120, nudge=True)
        for number in range(effort.rounds):
            for state in _STATES[number % 3 :] + _STATES[: number % 3]:
                if state == "slow":
                    fleet.control("faults", endpoint="*", kind="latency", latency_ms=SLOW_MS)
                elif state == "down":
                    fleet.stop("sandbox")
                outcome = await open_loop(client, requests, rate=RATE, seconds=effort.seconds)
                outcome.require(202)
                outcomes[state].absorb(outcome)
                tails[state].append(percentile(outcome.latencies, 0.99))
                if state == "slow":
                    fleet.control("faults", method="DELETE")
                elif state == "down":
                    fleet.start_sandbox()
                await ledger.settle(seconds=180, nudge=True)
            fleet.check()
    for state, outcome in outcomes.items():
        report.latencies(state, outcome)
    for state in ("slow", "down"):
        ratio = median(tails[state]) / median(tails["healthy"])
        report.at_most(f"{state} / healthy, median of the rounds' p99", ratio, "", WITHIN)
    return report
