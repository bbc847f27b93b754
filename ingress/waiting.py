"""`Prefer: wait=N`: holding an answer until the worker is done, without holding a database connection.

All waiting requests of a process share one thread that looks them all up in one query every few milliseconds, and only
while somebody waits. RFC 7240 §4.3.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog
from flask import request

from domain.errors import ErrorCode, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from uuid import UUID

    from db.connection import Connection, Database

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class Awaited(Generic[T]):
    """What a request waits for: how to look it up (many ids in one query), and when it has come far enough."""

    load: Callable[[Connection, Iterable[UUID]], Mapping[UUID, T]]
    is_ready: Callable[[T], bool]


class _Ticket:
    """One waiting request."""

    def __init__(self, awaited: Awaited[Any], subject: UUID) -> None:
        self.awaited = awaited
        self.subject = subject
        self.done = threading.Event()
        self.found: Any = None


class WaitingRoom:
    """The waiting requests of this process; bounded, so that waiters leave threads for everybody else."""

    def __init__(self, database: Database, places: int) -> None:
        """Take the database to look into, and how many may wait at once."""
        self._database = database
        self._places = places
        self._tickets: set[_Ticket] = set()
        self._lock = threading.Lock()
        self._looking = False

    def wait(self, awaited: Awaited[T], subject: UUID, seconds: float) -> T | None:
        """Wait until something has come far enough; None when that takes too long, or no place is free."""
        ticket = _Ticket(awaited, subject)
        with self._lock:
            if len(self._tickets) >= self._places:
                return None
            self._tickets.add(ticket)
            if not self._looking:
                self._looking = True
                threading.Thread(target=self._look, name="waiting-room", daemon=True).start()
        ticket.done.wait(seconds)
        with self._lock:
            self._tickets.discard(ticket)
        return ticket.found

    def _look(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_LOOK_SECONDS)
            with self._lock:
                waiting = list(self._tickets)
                if not waiting:
                    self._looking = False
                    return
            try:
                with self._database.connection() as connection:
                    for load, tickets in _by_load(waiting).items():
                        _serve(tickets, load(connection, {ticket.subject for ticket in tickets}))
            except Exception as error:  # noqa: BLE001 - this one thread serves all who wait, whatever happened
                _log.warning("waiting.failed", error=type(error).__name__)
                pause.wait(_FAILED_LOOK_SECONDS)


def _by_load(tickets: Iterable[_Ticket]) -> dict[Any, list[_Ticket]]:
    groups: dict[Any, list[_Ticket]] = {}
    for ticket in tickets:
        groups.setdefault(ticket.awaited.load, []).append(ticket)
    return groups


def _serve(tickets: Iterable[_Ticket], found: Mapping[UUID, Any]) -> None:
    for ticket in tickets:
        subject = found.get(ticket.subject)
        if subject is not None and ticket.awaited.is_ready(subject):
            ticket.found = subject
            ticket.done.set()
