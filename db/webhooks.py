"""Paystack's events as they came: stored once each, with the job that will apply them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from domain.jobs import QUEUE_OF, JobKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from db.connection import Connection

# The job bears the event's id: so the janitor finds out that it is there.
_INSERT = """
WITH stored AS (
    INSERT INTO webhook_events (id, digest, body_sealed, correlation_id, received_at)
    SELECT payfleet_uuid7(at), %(digest)s, %(body_sealed)s, %(correlation_id)s, at
    FROM (SELECT payfleet_now() AS at) AS clock
    ON CONFLICT (digest) DO NOTHING
    RETURNING id, received_at
)
INSERT INTO jobs (id, kind, queue, payload, run_at, correlation_id, trace_context, created_at)
SELECT id, %(job_kind)s, %(job_queue)s, jsonb_build_object('webhook_id', id), received_at,
    %(correlation_id)s, %(trace_context)s, received_at
FROM stored
"""
_GET = """
SELECT id, body_sealed, verdict FROM webhook_events WHERE id = ANY(%(ids)s) ORDER BY received_at, id
"""
_MARK = """
UPDATE webhook_events w SET verdict = v.verdict::webhook_verdict, event = v.event, reason = v.reason,
    payment_id = v.payment_id, handled_at = payfleet_now()
FROM unnest(%(ids)s::uuid[], %(verdicts)s::text[], %(events)s::text[], %(reasons)s::text[], %(payment_ids)s::uuid[])
    AS v (id, verdict, event, reason, payment_id)
WHERE w.id = ANY(%(ids)s::uuid[]) AND w.id = v.id
"""


class Verdict(StrEnum):
    """What became of a webhook event."""

    RECEIVED = "received"
    APPLIED = "applied"
    """It told something new: the payment was changed (or flagged) for it, or Paystack is asked about its refund."""
    IGNORED = "ignored"
    """It changed nothing; the reason says why."""


@dataclass(frozen=True, slots=True)
class StoredWebhook:
    """A webhook event as it lies in the table."""

    id: UUID
    body_sealed: bytes
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class HandledWebhook:
    """What became of one webhook event, and why."""

    id: UUID
    verdict: Verdict
    event: str | None
    reason: str | None
    payment_id: UUID | None


def insert_webhook(
    connection: Connection,
    *,
    digest: bytes,
    body_sealed: bytes,
    correlation_id: str,
    trace_context: str | None,
) -> bool:
    """Store an event and its job, unless the very same body came before; True when it is new."""
    parameters = {
        "digest": digest,
        "body_sealed": body_sealed,
        "job_kind": JobKind.APPLY_WEBHOOK,
        "job_queue": QUEUE_OF[JobKind.APPLY_WEBHOOK],
        "correlation_id": correlation_id,
        "trace_context": trace_context,
    }
    return connection.execute(_INSERT, parameters).rowcount == 1


def get_webhooks(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, StoredWebhook]:
    """Read events by id, in the order they came: ids of the same millisecond say nothing about it."""
    rows = tx.execute(_GET, {"ids": list(ids)}).fetchall()
    return {row[0]: StoredWebhook(row[0], bytes(row[1]), Verdict(row[2])) for row in rows}


def mark_webhooks(tx: Connection, handled: Sequence[HandledWebhook]) -> None:
    """Write what became of events."""
    parameters = {
        "ids": [h.id for h in handled],
        "verdicts": [h.verdict for h in handled],
        "events": [h.event for h in handled],
        "reasons": [h.reason for h in handled],
        "payment_ids": [h.payment_id for h in handled],
    }
    tx.execute(_MARK, parameters)
