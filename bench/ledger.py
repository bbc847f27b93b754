"""What the driver sees of the campaign's database: how far payments have come. Its sessions are counted apart."""

import asyncio
import time
from collections.abc import Collection
from typing import Any, LiteralString, Self
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from bench.cpu import DRIVER_APPLICATION

_POLL_SECONDS = 0.1

# Only payments from a given one on: ids grow with time.
_SUCCEEDED = "SELECT count(*) FROM payments WHERE id > %s AND status = 'SUCCESS'"
_PAYABLE = "SELECT count(*) FROM payments WHERE id > %s AND authorization_url IS NOT NULL"
_UNFINISHED = """
SELECT (SELECT count(*) FROM jobs WHERE state <> 'dead') + (SELECT count(*) FROM events WHERE published_at IS NULL)
"""
_DEAD = "SELECT count(*) FROM jobs WHERE state = 'dead'"
_NUDGE = "UPDATE jobs SET run_at = payfleet_now() WHERE state = 'ready' AND run_at > payfleet_now()"
_NEWEST = "SELECT coalesce(max(id::text), '00000000-0000-0000-0000-000000000000')::uuid FROM payments"
_IDS = "SELECT id FROM payments WHERE id > %s ORDER BY id"
# The times are those at which the transactions began; their commits come a few milliseconds later.
_AGES = """
SELECT extract(epoch FROM h.created_at - p.created_at)::float8 FROM payments p
JOIN payment_history h ON h.payment_id = p.id AND h.status = 'SUCCESS' WHERE p.id > %s
"""
_SUCCEEDED_AMONG = """
SELECT w.id FROM unnest(%s::uuid[]) AS w (id) JOIN payments p USING (id) WHERE p.status = 'SUCCESS'
"""
_ANALYZE = (
    "VACUUM (ANALYZE) payments, payment_history, events, jobs, idempotency_keys, webhook_events, payment_attempts"
)


class Ledger:
    """One session of the driver."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def __aenter__(self) -> Self:
        self._connection = await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            application_name=DRIVER_APPLICATION,
            row_factory=tuple_row,
            prepare_threshold=0,
            options="-c plan_cache_mode=force_generic_plan",
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    async def newest(self) -> UUID:
        """The newest payment, after which a load's payments come."""
        return await self._one(_NEWEST)

    async def payment_ids(self, after: UUID) -> list[UUID]:
        """The payments accepted after this one."""
        return [row[0] for row in await self._all(_IDS, after)]

    async def seconds_to_success(self, after: UUID) -> list[float]:
        """For each payment after this one, the time from its acceptance to its success."""
        return [row[0] for row in await self._all(_AGES, after)]

    async def wait_for_success(self, count: int, after: UUID, *, seconds: float) -> float:
        """Wait until so many payments have succeeded; returns the time when it was seen."""
        return await self._reach(_SUCCEEDED, count, after, seconds)

    async def wait_for_payable(self, count: int, after: UUID, *, seconds: float) -> float:
        """Wait until so many payments have the address where their customer pays."""
        return await self._reach(_PAYABLE, count, after, seconds)

    async def settle(self, *, seconds: float, nudge: bool = False) -> None:
        """Wait until every job is done and every event told; with `nudge`, jobs need not wait for their next try."""
        deadline = time.perf_counter() + seconds
        while await self._one(_UNFINISHED):
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{await self._one(_UNFINISHED)} jobs and events were left after {seconds:g} s")
            if nudge:
                await self._connection.execute(_NUDGE)
            await asyncio.sleep(_POLL_SECONDS)
        if dead := await self._one(_DEAD):
            raise RuntimeError(f"{dead} jobs died under load")

    async def succeeded_among(self, ids: Collection[UUID]) -> list[UUID]:
        """Which of these payments show as paid now."""
        return [row[0] for row in await self._all(_SUCCEEDED_AMONG, list(ids))]

    async def analyze(self) -> None:
        """Bring the planner's statistics up to date, as autovacuum does for tables that were not filled just now."""
        await self._connection.execute(_ANALYZE)

    async def server_version(self) -> str:
        return await self._one("SHOW server_version")

    async def _reach(self, query: LiteralString, count: int, after: UUID, seconds: float) -> float:
        deadline = time.perf_counter() + seconds
        while (seen := await self._one(query, after)) < count:
            if time.perf_counter() > deadline:
                raise RuntimeError(f"only {seen} of {count} payments came that far within {seconds:g} s")
            await asyncio.sleep(_POLL_SECONDS)
        return time.perf_counter()

    async def _one(self, query: LiteralString, *parameters: object) -> Any:
        rows = await self._all(query, *parameters)
        return rows[0][0]

    async def _all(self, query: LiteralString, *parameters: object) -> list[tuple]:
        cursor = await self._connection.execute(query, parameters)
        return await cursor.fetchall()
