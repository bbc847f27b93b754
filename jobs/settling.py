"""Settling a batch in one transaction, and each of its rows by itself when the batch will not go."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Protocol, TypeVar

import structlog

from db import jobs as ledger
from domain.errors import UnavailableError
from domain.retry import Failure, FailureKind, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from db.connection import Connection
    from domain.jobs import ClaimedJob
    from domain.retry import Decision
    from jobs.context import JobContext

_log = structlog.get_logger(__name__)


class HasJob(Protocol):
    """Something that settles one job."""

    @property
    def job(self) -> ClaimedJob:
        """The job it settles."""
        ...


Settlement = TypeVar("Settlement", bound=HasJob)


def settle_together(
    context: JobContext,
    settlements: Sequence[Settlement],
    settle: Callable[[Connection, Sequence[Settlement]], None],
) -> None:
    """Settle a batch in one transaction; if that fails, each by itself, so that a bad row harms only itself.

    Raises:
        UnavailableError: Postgres is not there; leases and the sweeper bring the jobs back.

    """
    try:
        with context.database.transaction() as tx:
            settle(tx, settlements)
    except UnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one row, the others go on
        if len(settlements) > 1:
            for settlement in settlements:
                settle_together(context, [settlement], settle)
            return
        job = settlements[0].job
        # Type and place only: a driver's message quotes the row, which may hold what logs and ledger must not.
        place = traceback.extract_tb(error.__traceback__)[-1]
        _log.error(
            "job.settlement_failed",
            job_id=str(job.id),
            correlation_id=job.correlation_id,
            error=type(error).__name__,
            where=f"{place.filename}:{place.lineno}",
        )
        record_failure(context, job, Failure(FailureKind.TRANSIENT, f"settlement raised {type(error).__name__}"))


def record_failure(context: JobContext, job: ClaimedJob, failure: Failure) -> None:
    """Write a failed run into the ledger, in a transaction of its own."""
    with context.database.transaction() as tx:
        write_failure(tx, context, job, failure)


def write_failure(tx: Connection, context: JobContext, job: ClaimedJob, failure: Failure) -> Decision | None:
    """Write and return what the retry rule says about a failed run; None when another run holds the job by now."""
    decision = decide(failure, job.failures, context.jitter())
    held = ledger.apply_decision(tx, job, decision, error=failure.error)
    _log.warning(
        "job.failed",
        job_id=str(job.id),
        decision=type(decision).__name__,
        error=failure.error,
        correlation_id=job.correlation_id,
    )
    return decision if held else None
