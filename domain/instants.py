"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime


def instant(value: datetime | None) -> str | None:
    """Write an instant in UTC as RFC 3339 with milliseconds and `Z`; None stays None."""
    if value is None:
        return None
    at = value if value.tzinfo is UTC else value.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"  # "+00:00"
