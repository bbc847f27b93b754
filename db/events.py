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
WHERE e.id = ANY(ARRAY(SELECT id FROM due))
  AND e.id >= (SELECT id FROM due ORDER BY id LIMIT 1) AND e.id <= (SELECT id FROM due ORDER BY id DESC LIMIT 1)
RETURNING e.id, e.type, e.subject, e.data, e.correlation_id, e.created_at
"""
# With their span beside them, a prepared plan looks only into the partitions that sorted ids can be in.
_MARK = """
UPDATE events SET published_at = payfleet_now(), leased_until = NULL
WHERE id = ANY(%(ids)s::uuid[])
  AND id >= (%(ids)s::uuid[])[1] AND id <= (%(ids)s::uuid[])[cardinality(%(ids)s::uuid[])]
"""


def lease_events(connection: Connection, *, limit: int, lease_seconds: float) -> list[Event]:
    """Take unpublished events, oldest first; another relay may take them again when the lease ends unpublished."""
    rows = connection.execute(_LEASE, {"limit": limit, "lease_seconds": lease_seconds}).fetchall()
    return [Event(*row) for row in sorted(rows, key=lambda row: row[0])]


def mark_published(connection: Connection, ids: Sequence[UUID]) -> None:
    """Note that RabbitMQ has confirmed these events."""
    connection.execute(_MARK, {"ids": sorted(ids)})
