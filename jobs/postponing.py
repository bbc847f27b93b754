"""Leaving jobs alone while Paystack is known not to answer: nothing is claimed, and nothing counts as a try."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from db import jobs as ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from jobs.context import JobContext

_log = structlog.get_logger(__name__)


def postponed(context: JobContext, ids: Sequence[UUID]) -> bool:
    """Put jobs off if nothing can be sent for them now; says whether it did."""
    seconds = context.paystack.seconds_shut()
    if seconds <= 0:
        return False
    with context.database.connection() as connection:
        ledger.postpone_jobs(connection, ids, seconds=seconds, reason="Paystack does not answer")
    _log.info("jobs.postponed", jobs=len(ids), seconds=round(seconds, 1))
    return True
