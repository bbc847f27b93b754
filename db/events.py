"""The events still to be told downstream: leased, published, and marked published only after the confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from db.connection import Connection

_LEASE = """
WITH due AS MATERIALIZED (
    SELECT id FROM events
    WHERE published_at IS NULL AND (leased_until IS NULL OR leased_until <= payfleet_now())
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE events e SET leased_until = payfleet_now() + make_interval(secs => %(lease_seconds)s)
FROM due WHERE e.id = due.id
RETURNING e.id, e.type, e.subject, e.data, e.correlation_id, e.created_at
"""
# Joined to unnest, not "= ANY": a prepared plan then looks into the one partition of each id.
_MARK = """
UPDATE events e SET published_at = payfleet_now(), leased_until = NULL
FROM unnest(%(ids)s::uuid[]) AS told (id) WHERE e.id = told.id
"""


def lease_events(connection: Connection, *, limit: int, lease_seconds: float) -> list[Event]:
    """Take unpublished events, oldest first; another relay may take them again when the lease ends unpublished."""
    rows = connection.execute(_LEASE, {"limit": limit, "lease_seconds": lease_seconds}).fetchall()
    return [Event(*row) for row in sorted(rows, key=lambda row: row[0])]


def mark_published(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that RabbitMQ has confirmed these events."""
    connection.execute(_MARK, {"ids": list(ids)})
