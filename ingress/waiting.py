"""`Prefer: wait=N`: holding an answer until the worker is done, without holding a database connection.

All waiting requests of a process share one thread that looks them all up in one query every few milliseconds, and only
while somebody waits. RFC 7240 §4.3.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import structlog
from flask import request

from db import payments
from domain.errors import ErrorCode, RefusedError
from domain.payment import PaymentStatus

if TYPE_CHECKING:
    from uuid import UUID

    from db.connection import Database
    from domain.payment import Payment

_log = structlog.get_logger(__name__)

WAIT_SECONDS_MAX = 30
_LOOK_SECONDS = 0.03
_FAILED_LOOK_SECONDS = 0.5
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)


def preferred_wait() -> int:
    """Read the seconds that the current request would wait; 0 when it does not say.

    Raises:
        RefusedError: more than `WAIT_SECONDS_MAX`.

    """
    match = _WAIT.search(request.headers.get("Prefer", ""))
    seconds = int(match.group(1)) if match else 0
    if seconds > WAIT_SECONDS_MAX:
        raise RefusedError(ErrorCode.INVALID_REQUEST, f"wait is at most {WAIT_SECONDS_MAX} seconds.", field="Prefer")
    return seconds


class _Ticket:
    """One waiting request."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.payment: Payment | None = None


class WaitingRoom:
    """The waiting requests of this process; bounded, so that waiters leave threads for everybody else."""

    def __init__(self, database: Database, places: int) -> None:
        """Take the database to look into, and how many may wait at once."""
        self._database = database
        self._places = places
        self._tickets: dict[_Ticket, UUID] = {}
        self._lock = threading.Lock()
        self._looking = False

    def wait(self, payment_id: UUID, seconds: float) -> Payment | None:
        """Wait until a payment can be paid, or is decided; None when that takes too long, or no place is free."""
        ticket = _Ticket()
        with self._lock:
            if len(self._tickets) >= self._places:
                return None
            self._tickets[ticket] = payment_id
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="waiting-room", daemon=True).start()
        ticket.done.wait(seconds)
        with self._lock:
            self._tickets.pop(ticket, None)
        return ticket.payment

    def _look(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_LOOK_SECONDS)
            with self._lock:
                waiting = dict(self._tickets)
                if not waiting:
                    self._looking = False
                    return
            try:
                with self._database.connection() as connection:
                    found = payments.get_payments(connection, set(waiting.values()))
            except Exception as error:  # noqa: BLE001 - this one thread serves all who wait, whatever happened
                _log.warning("waiting.failed", error=type(error).__name__)
                pause.wait(_FAILED_LOOK_SECONDS)
                continue
            for ticket, payment_id in waiting.items():
                payment = found.get(payment_id)
                if payment is not None and is_worth_telling(payment):
                    ticket.payment = payment
                    ticket.done.set()


def is_worth_telling(payment: Payment) -> bool:
    """Whether a new payment has come as far as its client waits for: payable, or decided."""
    return payment.authorization_url is not None or payment.status is not PaymentStatus.PENDING
