"""The circuit breaker in front of something outside: when it fails, nobody waits for it, and one call tries it again.

Closed, every call passes. After five failures in a row, counted over all workers, it opens: for some seconds nothing is
sent, and jobs wait in the ledger without using up their tries. Then it is half open: one call in the whole fleet, the
probe, may pass. Its success closes the circuit, its failure opens it for twice as long.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from db import circuits
from domain.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from db.connection import Connection, Database

_log = structlog.get_logger(__name__)

FAILURES_MAX = 5
OPEN_SECONDS = 5.0
OPEN_SECONDS_MAX = 30.0
_PROBE_LEASE_SECONDS = 45.0  # longer than the longest call
_PROBE_PAUSE_SECONDS = 10.0  # while somebody's probe is under way: it may hang for as long as the longest call
_READ_AGAIN_SECONDS = 0.5  # how long a worker may go on sending after another one has opened the circuit


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to make one call, to be handed back with what came of it."""

    generation: int
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """No call may be made for so many seconds."""

    seconds: float


class Circuit:
    """One circuit, as one process sees it; safe to share between threads.

    What Postgres cannot be told or asked now is left out: the circuit only saves time and tries.
    """

    def __init__(self, database: Database, name: str) -> None:
        """Take its name; nothing is read."""
        self.name = name
        self._database = database
        self._lock = threading.Lock()
        self._generation = 0
        self._open_until: float | None = None
        self._probe_until = float("-inf")
        self._failing = False
        self._read_again_at = float("-inf")

    def admit(self) -> Pass | Open:
        """Ask to make a call."""
        seconds = self.seconds_open()
        if seconds > 0:
            return Open(seconds)
        return Pass(self._generation) if self._open_until is None else self._probe()

    def seconds_open(self) -> float:
        """How long nothing will be sent, as far as is known; 0 when a call might pass."""
        self._read_if_due()
        open_until, now = self._open_until, time.monotonic()
        if open_until is None:
            return 0.0
        if open_until > now:
            return open_until - now
        return _PROBE_PAUSE_SECONDS if self._probe_until > now else 0.0

    def worked(self, leave: Pass) -> None:
        """Tell that a call was answered."""
        if self._failing or leave.is_probe:
            self._failing = False
            if leave.is_probe:
                _log.warning("circuit.closed", circuit=self.name)
            self._write(
                lambda tx: circuits.mark_working(tx, self.name, generation=leave.generation, is_probe=leave.is_probe)
            )

    def failed(self, leave: Pass, error: str) -> None:
        """Tell that a call failed; `error` is for people to read, and carries no secret."""
        self._failing = True
        if leave.is_probe:
            self._write(
                lambda tx: circuits.mark_probe_failed(
                    tx,
                    self.name,
                    generation=leave.generation,
                    error=error,
                    seconds=OPEN_SECONDS,
                    seconds_max=OPEN_SECONDS_MAX,
                )
            )
        elif self._open_until is None:
            self._write(
                lambda tx: circuits.mark_failed(
                    tx,
                    self.name,
                    generation=leave.generation,
                    error=error,
                    failures_max=FAILURES_MAX,
                    seconds=OPEN_SECONDS,
                )
            )

    def _read_if_due(self) -> None:
        with self._lock:
            if time.monotonic() < self._read_again_at:
                return
            self._read_again_at = time.monotonic() + _READ_AGAIN_SECONDS  # the other threads go on with what is known
        try:
            with self._database.connection() as connection:
                row = circuits.get_circuit(connection, self.name)
        except UnavailableError as error:
            _log.warning("circuit.unavailable", circuit=self.name, error=str(error))
            return
        with self._lock:
            if row.open_seconds is not None and self._open_until is None:
                _log.warning("circuit.open", circuit=self.name, error=row.last_error)
            self._generation = row.generation
            now = time.monotonic()
            self._open_until = None if row.open_seconds is None else now + row.open_seconds
            self._probe_until = now + (row.probe_seconds or 0.0)
            self._failing = self._failing or row.failures > 0

    def _probe(self) -> Pass | Open:
        with self._lock:
            if time.monotonic() < self._probe_until:
                return Open(_PROBE_PAUSE_SECONDS)
            # The other threads need not ask as well; what is read next sets it right.
            self._probe_until = time.monotonic() + _PROBE_LEASE_SECONDS
        try:
            with self._database.connection() as connection:
                generation = circuits.take_probe(connection, self.name, lease_seconds=_PROBE_LEASE_SECONDS)
        except UnavailableError:
            generation = None
        self._forget()  # somebody else may have taken it, or ended it meanwhile
        if generation is None:
            return Open(_PROBE_PAUSE_SECONDS)
        _log.info("circuit.probe", circuit=self.name)
        return Pass(generation, is_probe=True)

    def _write(self, change: Callable[[Connection], None]) -> None:
        try:
            with self._database.connection() as connection:
                change(connection)
        except UnavailableError as error:
            _log.warning("circuit.unavailable", circuit=self.name, error=str(error))
        self._forget()

    def _forget(self) -> None:
        """Have the circuit read again by whoever asks next."""
        with self._lock:
            self._read_again_at = float("-inf")
