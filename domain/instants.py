"""Instants as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def instant(value: datetime | None) -> str | None:
    """Write an instant in UTC as RFC 3339 with milliseconds and `Z`; None stays None."""
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
