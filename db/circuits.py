"""Circuit breakers in Postgres: whoever's call fails tells all workers, and one of them tries whether it works again.

They are read twice a second by each worker and written only while something fails, so a row is enough; and what the
workers need anyway cannot be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from db.connection import Connection

_GET = """
SELECT name, failures, last_error, opened_at, generation,
    -- Negative once its time is over; "greatest" would make nothing of a null.
    extract(epoch FROM open_until - payfleet_now())::float8,
    extract(epoch FROM probe_until - payfleet_now())::float8
FROM circuits WHERE name = %(name)s OR %(name)s::text IS NULL ORDER BY name
"""
_TAKE_PROBE = """
UPDATE circuits SET generation = generation + 1, probe_until = payfleet_now() + make_interval(secs => %(lease_seconds)s)
WHERE name = %(name)s AND open_until <= payfleet_now() AND (probe_until IS NULL OR probe_until <= payfleet_now())
RETURNING generation
"""
_MARK_FAILED = """
INSERT INTO circuits AS c (name, failures, last_error) VALUES (%(name)s, 1, %(error)s)
ON CONFLICT (name) DO UPDATE SET failures = c.failures + 1, last_error = EXCLUDED.last_error,
    opened_at = CASE WHEN c.failures + 1 >= %(failures_max)s THEN payfleet_now() END,
    open_until = CASE WHEN c.failures + 1 >= %(failures_max)s
        THEN payfleet_now() + make_interval(secs => %(seconds)s) END
WHERE c.open_until IS NULL AND c.generation = %(generation)s
"""
_MARK_PROBE_FAILED = """
UPDATE circuits SET failed_probes = failed_probes + 1, last_error = %(error)s, probe_until = NULL,
    open_until = payfleet_now()
        + make_interval(secs => least(%(seconds_max)s, %(seconds)s * power(2, least(failed_probes + 1, 16))))
WHERE name = %(name)s AND generation = %(generation)s AND open_until IS NOT NULL
"""
_MARK_WORKING = """
UPDATE circuits SET failures = 0, last_error = NULL, opened_at = NULL, open_until = NULL, failed_probes = 0,
    probe_until = NULL
WHERE name = %(name)s AND generation = %(generation)s AND (open_until IS NULL OR %(is_probe)s)
"""


@dataclass(frozen=True, slots=True)
class CircuitRow:
    """A circuit: closed while `open_seconds` is None; open, it takes no call for so many seconds, and then one probe.

    `open_seconds` is negative once the time is over; `probe_seconds` is how long a probe may still be under way.
    """

    name: str
    failures: int = 0
    last_error: str | None = None
    opened_at: datetime | None = None
    generation: int = 0
    open_seconds: float | None = None
    probe_seconds: float | None = None


def get_circuit(connection: Connection, name: str) -> CircuitRow:
    """Read one circuit; one that never failed is closed."""
    row = connection.execute(_GET, {"name": name}).fetchone()
    return CircuitRow(name) if row is None else CircuitRow(*row)


def get_circuits(connection: Connection) -> list[CircuitRow]:
    """Read every circuit that has ever failed."""
    return [CircuitRow(*row) for row in connection.execute(_GET, {"name": None}).fetchall()]


def take_probe(connection: Connection, name: str, *, lease_seconds: float) -> int | None:
    """Become the one who tries whether it works again; returns the generation, None when it is not the time.

    A probe whose process dies is taken over when its lease ends.
    """
    row = connection.execute(_TAKE_PROBE, {"name": name, "lease_seconds": lease_seconds}).fetchone()
    return None if row is None else row[0]


def mark_failed(
    connection: Connection, name: str, *, generation: int, error: str, failures_max: int, seconds: float
) -> None:
    """Count a failed call; at `failures_max` in a row the circuit opens for some seconds."""
    connection.execute(
        _MARK_FAILED,
        {"name": name, "generation": generation, "error": error, "failures_max": failures_max, "seconds": seconds},
    )


def mark_probe_failed(
    connection: Connection, name: str, *, generation: int, error: str, seconds: float, seconds_max: float
) -> None:
    """Keep the circuit open: twice as long after each probe that failed."""
    connection.execute(
        _MARK_PROBE_FAILED,
        {"name": name, "generation": generation, "error": error, "seconds": seconds, "seconds_max": seconds_max},
    )


def mark_working(connection: Connection, name: str, *, generation: int, is_probe: bool) -> None:
    """End the count of failures; a probe's success also closes the circuit."""
    connection.execute(_MARK_WORKING, {"name": name, "generation": generation, "is_probe": is_probe})
