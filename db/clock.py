"""The one clock, as Postgres keeps it, and the test offset that lets hours and months pass in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.errors import SettingsError

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from db.connection import Connection
    from domain.settings import Settings

_NOW = "SELECT payfleet_now()"
_ADVANCE = "UPDATE test_clock SET clock_offset = clock_offset + %(by)s"
_ENSURE_PARTITIONS = "SELECT payfleet_ensure_partitions(payfleet_now(), %(months_ahead)s)"

PARTITION_MONTHS_AHEAD = 3  # a scheduler that stands still over a long holiday leaves months to spare


def get_now(connection: Connection) -> datetime:
    """Read the clock."""
    return connection.execute(_NOW).fetchall()[0][0]


def advance_test_clock(connection: Connection, *, settings: Settings, by: timedelta) -> None:
    """Let time pass for every process on this database, and have partitions for the new time.

    Raises:
        SettingsError: the configured key is a live one.

    """
    if settings.is_live:
        message = "the clock cannot be moved while PAYSTACK_SECRET_KEY is a live key"
        raise SettingsError(message)
    connection.execute(_ADVANCE, {"by": by})
    ensure_partitions(connection)


def ensure_partitions(connection: Connection) -> int:
    """Create the monthly partitions that are missing around now; returns how many were."""
    return connection.execute(_ENSURE_PARTITIONS, {"months_ahead": PARTITION_MONTHS_AHEAD}).fetchall()[0][0]
