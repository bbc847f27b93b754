"""Jobs that die, for tests of what is done about them."""

from typing import Any, LiteralString
from uuid import UUID

from db import jobs as ledger
from db.connection import Database
from db.dead_letters import get_job
from domain.dead_letters import DeadJob
from domain.jobs import JobKind
from domain.retry import Park
from tests.stories import rows


def bury(database: Database, job_id: UUID, error: str = "no luck") -> DeadJob:
    """Let a job die as a worker does: claimed, and given up."""
    with database.transaction() as tx:
        row = tx.execute("SELECT kind FROM jobs WHERE id = %s", [job_id]).fetchone()
        assert row is not None
        (job,) = ledger.claim_jobs(tx, kind=JobKind(row[0]), ids=[job_id], lease_seconds=60)
        assert ledger.apply_decision(tx, job, Park(), error=error)
    with database.connection() as connection:
        found = get_job(connection, job_id)
    assert found is not None
    assert found.state == "dead"
    return found.job


def job_now(database: Database, job_id: UUID) -> tuple[Any, ...] | None:
    """The state of a job, its claims, failures and error; None when it is gone."""
    sql: LiteralString = "SELECT state::text, attempts, failures, last_error FROM jobs WHERE id = %s"
    found = rows(database, sql, job_id)
    return found[0] if found else None
