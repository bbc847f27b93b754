"""What nobody else will do if it is left undone: each round finds a bounded part of it and has it done.

The rounds are no jobs themselves: a job that brings lost jobs back could get lost like any other. They may run at once,
twice, or beside any job; `workers/scheduler.py` says when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from db import jobs as ledger
from db import looks

if TYPE_CHECKING:
    from db.connection import Database

_log = structlog.get_logger(__name__)

UNCLAIMED_SECONDS = 60.0  # a message unclaimed for this long is taken for lost; a second one does no harm
_SWEEP_ROWS_MAX = 5_000
_CORRELATION_ID = "janitor"


def sweep_once(database: Database, *, unclaimed_seconds: float = UNCLAIMED_SECONDS) -> int:
    """Make jobs ready again whose message or whose run was lost; returns how many."""
    with database.connection() as connection:
        returned = ledger.return_lost_jobs(connection, unclaimed_seconds=unclaimed_seconds, limit=_SWEEP_ROWS_MAX)
    if returned:
        _log.warning("janitor.returned_jobs", jobs=returned)
    return returned


def look_once(database: Database, *, limit: int) -> int:
    """Have Paystack asked about at most `limit` payments whose next look is due; returns how many were due.

    That finds those whose webhook was lost, and ends those nobody has paid, which frees their orders.
    """
    with database.connection() as connection:
        return looks.request_overdue_looks(connection, limit=limit, correlation_id=_CORRELATION_ID)
