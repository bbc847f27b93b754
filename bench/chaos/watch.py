"""Looks once a second at how far everything is: the curves of the report."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from bench.chaos.arena import Arena
from bench.chaos.customers import Customers

# The lag is that of the relay: how long the oldest due job has waited to be handed to RabbitMQ.
_SAMPLE = """
SELECT count(*) FILTER (WHERE state <> 'dead' AND run_at <= payfleet_now()),
    count(*) FILTER (WHERE state <> 'dead'),
    coalesce(extract(epoch FROM payfleet_now() - min(run_at) FILTER (WHERE state = 'ready'
        AND run_at <= payfleet_now())), 0)::float8
FROM jobs
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look; the ledger's figures are None while Postgres is down."""

    at: float
    accepted: int
    paid: int
    refunded: int
    unsatisfied: int
    backlog: int | None
    jobs: int | None
    relay_lag: float | None


@dataclass(kw_only=True)
class Watch:
    """All looks so far."""

    arena: Arena
    customers: Customers
    started: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list[Sample])

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            begun = time.monotonic()
            self.samples.append(await self._look())
            await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - begun)))

    async def _look(self) -> Sample:
        backlog = jobs = lag = None
        with suppress(psycopg.OperationalError):
            backlog, jobs, lag = (await asyncio.to_thread(self.arena.look, _SAMPLE))[0]
        progress = self.customers.progress
        return Sample(
            at=time.monotonic() - self.started,
            accepted=progress["accepted"],
            paid=progress["paid"],
            refunded=progress["refunded"],
            unsatisfied=self.customers.open,
            backlog=backlog,
            jobs=jobs,
            relay_lag=lag,
        )
