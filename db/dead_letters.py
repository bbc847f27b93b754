"""The dead jobs of the ledger: read in pages, and taken one by one by whoever decides about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from domain.dead_letters import DeadJob
from domain.errors import PayfleetError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from db.connection import Connection

PAGE_ROWS_MAX = 1_000

# Of a dead job, run_at is the moment it died.
_COLUMNS = """
    id, kind, queue, payload, dedupe_key, attempts, failures, coalesce(last_error, ''), correlation_id, created_at,
    run_at
"""
_PAGE = f"SELECT {_COLUMNS} FROM jobs WHERE state = 'dead' AND id > %(after)s ORDER BY id LIMIT %(limit)s"  # noqa: S608 - made of constants
_LOCK = f"SELECT {_COLUMNS} FROM jobs WHERE id = %(id)s AND state = 'dead' FOR UPDATE"  # noqa: S608 - too
_GET = f"SELECT {_COLUMNS}, state, sent_at FROM jobs WHERE id = %(id)s"  # noqa: S608 - too
_GET_TWIN = "SELECT id FROM jobs WHERE dedupe_key = %(dedupe_key)s AND state <> 'dead'"
_REVIVE = """
UPDATE jobs SET state = 'ready', run_at = %(run_at)s, failures = 0, last_error = NULL, sent_at = NULL,
    lease_until = NULL
WHERE id = %(id)s AND state = 'dead'
"""
_DELETE = "DELETE FROM jobs WHERE id = %(id)s AND state = 'dead'"
_GET_DEAD_IDS = "SELECT id FROM jobs WHERE id = ANY(%(ids)s) AND state = 'dead' AND queue = %(queue)s"
_COUNT_ANNOUNCED = """
SELECT count(*) FILTER (WHERE sent_at < payfleet_now() - make_interval(secs => %(seconds)s)), count(*)
FROM (
    SELECT sent_at FROM jobs WHERE state = 'dead' AND sent_at IS NOT NULL AND queue = %(queue)s
    ORDER BY id LIMIT %(limit)s
) announced
"""
_GET_ANNOUNCED = """
SELECT id FROM jobs
WHERE state = 'dead' AND sent_at < payfleet_now() - make_interval(secs => %(seconds)s) AND queue = %(queue)s
ORDER BY id LIMIT %(limit)s
"""

_BEFORE_ALL = UUID(int=0)


class TwinError(PayfleetError):
    """A live job of the same dedupe key was made meanwhile."""


@dataclass(frozen=True, slots=True)
class JobNow:
    """A job as it stands, dead or not. `sent_at`, of a dead job, is when its dead-letter queue was told."""

    job: DeadJob
    state: str
    sent_at: datetime | None


def get_dead_jobs(connection: Connection, *, after: UUID | None) -> list[DeadJob]:
    """Read the next page of dead jobs in the order of their ids; it is the last one when it is not full."""
    rows = connection.execute(_PAGE, {"after": after or _BEFORE_ALL, "limit": PAGE_ROWS_MAX}).fetchall()
    return [_job(row) for row in rows]


def get_job(connection: Connection, job_id: UUID) -> JobNow | None:
    """Read a job, whatever state it is in."""
    row = connection.execute(_GET, {"id": job_id}).fetchone()
    return None if row is None else JobNow(_job(row[:-2]), *row[-2:])


def lock_dead_job(tx: Connection, job_id: UUID) -> DeadJob | None:
    """Have a dead job to oneself until the transaction ends; None when it is not, or no longer, among the dead.

    Raises:
        ContendedError: somebody has held it for too long.

    """
    row = tx.execute(_LOCK, {"id": job_id}).fetchone()
    return None if row is None else _job(row)


def get_twin(connection: Connection, job: DeadJob) -> UUID | None:
    """Find the live job that does the same work as a dead one."""
    row = connection.execute(_GET_TWIN, {"dedupe_key": job.dedupe_key}).fetchone()
    return None if row is None else row[0]


def revive_job(tx: Connection, job_id: UUID, *, run_at: datetime) -> None:
    """Let a dead job, locked, run again with all its tries. Its fencing token goes on: old runs stay fenced off.

    Raises:
        TwinError: a live job of its dedupe key was made since it was looked for; the transaction is lost.

    """
    try:
        tx.execute(_REVIVE, {"id": job_id, "run_at": run_at})
    except psycopg.errors.UniqueViolation as error:
        raise TwinError(str(job_id)) from error


def delete_dead_job(tx: Connection, job_id: UUID) -> None:
    """Take a dead job, locked, out of the ledger."""
    tx.execute(_DELETE, {"id": job_id})


@dataclass(frozen=True, slots=True)
class Announced:
    """How many dead jobs of a queue were handed to RabbitMQ; `settled` are those for which that is over for sure."""

    settled: int
    all: int


def count_announced(connection: Connection, *, queue: str, seconds: float, limit: int) -> Announced:
    """Count the dead jobs of a queue that were handed to RabbitMQ, `seconds` ago and at any time; at most `limit`."""
    row = connection.execute(_COUNT_ANNOUNCED, {"queue": queue, "seconds": seconds, "limit": limit}).fetchall()[0]
    return Announced(*row)


def get_announced(connection: Connection, *, queue: str, seconds: float, limit: int) -> set[UUID]:
    """Read which dead jobs of a queue were handed to RabbitMQ at least `seconds` ago; at most `limit`."""
    rows = connection.execute(_GET_ANNOUNCED, {"queue": queue, "seconds": seconds, "limit": limit}).fetchall()
    return {row[0] for row in rows}


def get_dead_ids(connection: Connection, ids: Sequence[UUID], *, queue: str) -> set[UUID]:
    """Find out which of these jobs are dead ones of a queue."""
    return {row[0] for row in connection.execute(_GET_DEAD_IDS, {"ids": list(ids), "queue": queue}).fetchall()}


def _job(row: tuple[Any, ...]) -> DeadJob:
    return DeadJob(
        id=row[0],
        kind=row[1],
        queue=row[2],
        payload=row[3],
        dedupe_key=row[4],
        attempts=row[5],
        failures=row[6],
        error=row[7],
        correlation_id=row[8],
        created_at=row[9],
        died_at=row[10],
    )
