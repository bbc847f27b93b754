"""What nobody else will do if it is left undone: each round finds a bounded part of it and has it done.

The rounds are no jobs themselves: a job that brings lost jobs back could get lost like any other. They may run at once,
twice, or beside any job; `workers/scheduler.py` says when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from db import jobs as ledger
from db import looks
from db.stranded import Stranded, revive_page

if TYPE_CHECKING:
    from db.connection import Database

_log = structlog.get_logger(__name__)

UNCLAIMED_SECONDS = 60.0  # a message unclaimed for this long is taken for lost; a second one does no harm
_SWEEP_ROWS_MAX = 5_000
_PAGE_ROWS = 1_000
_REVIVED_MAX = 500  # of a kind in one round: many may be a defect at work, and most of them ask Paystack something
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


def revive_once(database: Database) -> dict[Stranded, int]:
    """Give what waits for a job that is not there its job again; returns how many of each kind."""
    revived = {kind: _revive(database, kind) for kind in Stranded}
    if any(revived.values()):
        _log.warning("janitor.revived", **{kind: count for kind, count in revived.items() if count})
    return revived


def _revive(database: Database, kind: Stranded) -> int:
    """Go through all that is open, page by page; from the beginning each time, since what was revived has its job."""
    revived, last = 0, UUID(int=0)
    while last is not None and revived < _REVIVED_MAX:
        with database.connection() as connection:
            page = revive_page(connection, kind, after=last, limit=_PAGE_ROWS, correlation_id=_CORRELATION_ID)
        revived, last = revived + page.revived, page.last
    return revived
