"""Looks at Paystack: asked for by many at once, made by one, and what the newest one of each payment saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.jobs import QUEUE_OF, JobKind, dedupe_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from db.connection import Connection
    from domain.errors import ErrorCode
    from domain.jobs import ClaimedJob

# A look that has not begun is joined by leaving its job alone: a lock on the row would make the claim pass over it. A
# look under way may have asked Paystack before whatever moved this caller to ask: it is marked to be made once more. A
# job that waits after a failure, or for Paystack's quota, is not brought forward.
_REQUEST = """
WITH asked AS (
    INSERT INTO jobs (id, kind, queue, payload, dedupe_key, run_at, correlation_id, trace_context, created_at)
    SELECT payfleet_uuid7(at), %(kind)s, %(queue)s, jsonb_build_object('payment_id', %(payment_id)s::uuid),
        %(dedupe_key)s, at, %(correlation_id)s, %(trace_context)s, at
    FROM (SELECT payfleet_now() AS at) AS clock
    WHERE NOT EXISTS (
        SELECT FROM jobs j WHERE j.dedupe_key = %(dedupe_key)s AND j.state <> 'dead' AND j.lease_until IS NULL
            AND (j.run_at <= at OR j.last_error IS NOT NULL)
    )
    ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND state <> 'dead'
    DO UPDATE SET run_at = EXCLUDED.run_at
    WHERE jobs.lease_until > EXCLUDED.run_at
        OR (jobs.state = 'ready' AND jobs.last_error IS NULL AND jobs.run_at > EXCLUDED.run_at)
)
SELECT payfleet_now()
"""
_SEEN_LATELY = """
SELECT coalesce(verified_at > payfleet_now() - make_interval(secs => %(seconds)s), false)
    AND verification_error IS NULL
FROM payments WHERE id = %(payment_id)s
"""
# The rows are locked, not passed over when somebody else has them: that is a request at work, and it must be heeded.
_FINISH = """
WITH mine AS MATERIALIZED (
    SELECT jobs.id, jobs.run_at > look.looked_at AS asked_again
    FROM unnest(%(ids)s::uuid[], %(tokens)s::integer[], %(looked_ats)s::timestamptz[]) AS look (id, token, looked_at)
    JOIN jobs USING (id)
    WHERE jobs.id = ANY(%(ids)s::uuid[]) AND jobs.attempts = look.token
    ORDER BY jobs.id FOR UPDATE OF jobs
), again AS (
    UPDATE jobs SET state = 'ready', sent_at = NULL, lease_until = NULL, failures = 0, last_error = NULL
    WHERE id = ANY(ARRAY(SELECT id FROM mine WHERE asked_again))
), done AS (
    DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM mine WHERE NOT asked_again))
)
SELECT id FROM mine
"""
# The ids are sorted, and their span stands beside them: see db/payments.py.
_NOTE = """
UPDATE payments p
SET verified_at = look.looked_at, gateway_status = look.gateway_status, verification_error = look.error
FROM unnest(%(ids)s::uuid[], %(looked_ats)s::timestamptz[], %(statuses)s::text[], %(errors)s::text[])
    AS look (id, looked_at, gateway_status, error)
WHERE p.id = ANY(%(ids)s::uuid[])
  AND p.id >= (%(ids)s::uuid[])[1] AND p.id <= (%(ids)s::uuid[])[cardinality(%(ids)s::uuid[])]
  AND p.id = look.id AND (p.verified_at IS NULL OR p.verified_at < look.looked_at)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedLook:
    """One look, as it is kept with its payment; `looked_at` is a moment before Paystack was asked."""

    payment_id: UUID
    looked_at: datetime
    gateway_status: str | None
    error: ErrorCode | None


def request_look(
    connection: Connection, payment_id: UUID, *, correlation_id: str, trace_context: str | None = None
) -> datetime:
    """Have Paystack asked about a payment, by a look that begins from now on; requests for one payment share it.

    Returns:
        The moment of this request: every look whose `looked_at` is not before it answers it.

    """
    parameters = {
        "kind": JobKind.VERIFY_PAYMENT,
        "queue": QUEUE_OF[JobKind.VERIFY_PAYMENT],
        "payment_id": payment_id,
        "dedupe_key": dedupe_key(JobKind.VERIFY_PAYMENT, payment_id),
        "correlation_id": correlation_id,
        "trace_context": trace_context,
    }
    return connection.execute(_REQUEST, parameters).fetchall()[0][0]


def was_seen_lately(connection: Connection, payment_id: UUID, *, seconds: float) -> bool:
    """Whether a look has brought an answer within this many seconds."""
    row = connection.execute(_SEEN_LATELY, {"payment_id": payment_id, "seconds": seconds}).fetchone()
    return row is not None and row[0]


def finish_looks(tx: Connection, looks: Sequence[tuple[ClaimedJob, datetime]]) -> set[UUID]:
    """Finish the jobs of looks that brought an answer; one that was asked for again meanwhile is due again.

    Returns:
        The jobs this run really held, the only ones whose effect may be written.

    """
    parameters = {
        "ids": [job.id for job, _ in looks],
        "tokens": [job.token for job, _ in looks],
        "looked_ats": [looked_at for _, looked_at in looks],
    }
    return {row[0] for row in tx.execute(_FINISH, parameters).fetchall()}


def note_looks(tx: Connection, looks: Sequence[NotedLook]) -> None:
    """Keep with each payment what the newest look saw, or why it saw nothing; an older look changes nothing."""
    ordered = sorted(looks, key=lambda look: look.payment_id)
    parameters = {
        "ids": [look.payment_id for look in ordered],
        "looked_ats": [look.looked_at for look in ordered],
        "statuses": [look.gateway_status for look in ordered],
        "errors": [look.error for look in ordered],
    }
    tx.execute(_NOTE, parameters)
