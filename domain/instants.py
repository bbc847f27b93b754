"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime

_UTC = "+00:00"


def instant(value: datetime | None) -> str | None:
    """Write an instant in UTC as RFC 3339 with milliseconds and `Z`; None stays None."""
    if value is None:
        return None
    text = value.isoformat(timespec="milliseconds")
    if not text.endswith(_UTC):
        text = value.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix(_UTC) + "Z"
