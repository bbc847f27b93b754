"""Repair on reading: where the scheduler is behind with its looks, or dead, a payment that is read gets its own.

The payment's next look is moved on as the scheduler would, so many readers cause one look.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from flask import g

from db import looks
from db.connection import translated_errors
from domain.errors import UnavailableError
from domain.payment import UNDECIDED

if TYPE_CHECKING:
    from db.connection import Connection
    from domain.payment import Payment

OVERDUE_SECONDS = 60.0  # a scheduler that is alive is at most some seconds late
CHECK_SECONDS = 15.0


class OverdueLooks:
    """Whether the scheduler is behind, asked by a web process now and then, so that a read costs nothing as a rule."""

    def __init__(self) -> None:
        """Have asked nothing yet."""
        self._is_behind = False
        self._checked_at = -CHECK_SECONDS

    def notice(self, connection: Connection, payment: Payment) -> None:
        """Have Paystack asked about a payment that was read, if that is overdue; the read never fails for it.

        The connection is in autocommit mode.
        """
        now = time.monotonic()
        is_unsure = now - self._checked_at >= CHECK_SECONDS
        if payment.status not in UNDECIDED or not (is_unsure or self._is_behind):
            return
        # Postgres may take no writes, or somebody may hold the look's job: then a later reader has it made.
        with suppress(UnavailableError), translated_errors():
            if is_unsure:
                self._checked_at = now  # at once: one thread asks, the others go by what was true before
                self._is_behind = looks.is_any_overdue(connection, seconds=OVERDUE_SECONDS)
            if self._is_behind:
                looks.request_look_if_overdue(connection, payment, seconds=OVERDUE_SECONDS, correlation_id=g.request_id)
