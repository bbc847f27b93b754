"""The record of calls to Paystack: written before a call is sent, settled when its outcome is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from db.connection import Connection

# Whoever opens an attempt learns whether an earlier one under the same reference was never settled, or was found by a
# look to have arrived. The statement reads the table as it was before its own insert.
_OPEN = """
WITH attempt AS MATERIALIZED (
    SELECT * FROM unnest(%(job_ids)s::uuid[], %(tokens)s::integer[], %(payment_ids)s::uuid[], %(references)s::text[])
        AS a (job_id, token, payment_id, reference)
), opened AS (
    INSERT INTO payment_attempts (job_id, token, payment_id, kind, reference, sent_at)
    SELECT job_id, token, payment_id, %(kind)s, reference, payfleet_now() FROM attempt
)
SELECT a.job_id, payfleet_now() - max(p.sent_at)
FROM attempt a JOIN payment_attempts p ON p.payment_id = a.payment_id AND p.reference = a.reference
WHERE a.token > 1 AND p.payment_id = ANY(%(payment_ids)s::uuid[]) AND p.outcome IN ('unknown', 'done')
GROUP BY a.job_id
"""
_SETTLE = """
UPDATE payment_attempts p SET outcome = a.outcome::attempt_outcome, detail = a.detail, settled_at = payfleet_now()
FROM unnest(%(job_ids)s::uuid[], %(tokens)s::integer[], %(outcomes)s::text[], %(details)s::text[])
    AS a (job_id, token, outcome, detail)
WHERE p.job_id = ANY(%(job_ids)s::uuid[]) AND p.job_id = a.job_id AND p.token = a.token
"""
_RESOLVE = """
UPDATE payment_attempts SET outcome = %(outcome)s, detail = %(detail)s, settled_at = payfleet_now()
WHERE payment_id = %(payment_id)s AND reference = %(reference)s AND outcome = 'unknown'
"""
# A call may still be on its way, and a job at work finds out itself. Whoever holds one of them just now is about to
# settle it.
_RESOLVE_LOOKED_AT = """
WITH look AS MATERIALIZED (
    SELECT * FROM unnest(%(payment_ids)s::uuid[], %(references)s::text[], %(looked_ats)s::timestamptz[],
        %(founds)s::boolean[]) AS given (payment_id, reference, looked_at, found)
), at_work AS MATERIALIZED (
    SELECT id FROM jobs WHERE id = ANY(%(payment_ids)s::uuid[]) AND state <> 'dead'
), resolved AS MATERIALIZED (
    SELECT a.job_id, a.token, look.found FROM look JOIN payment_attempts a USING (payment_id, reference)
    WHERE a.payment_id = ANY(%(payment_ids)s::uuid[]) AND a.outcome = 'unknown'
      AND a.sent_at < look.looked_at - make_interval(secs => %(seconds)s)
      AND a.payment_id NOT IN (SELECT id FROM at_work)
    FOR UPDATE OF a SKIP LOCKED
)
UPDATE payment_attempts p
SET outcome = CASE WHEN resolved.found THEN 'done' ELSE 'not_sent' END::attempt_outcome,
    detail = CASE WHEN resolved.found THEN 'found by verify' ELSE 'not found by verify' END,
    settled_at = payfleet_now()
FROM resolved
WHERE p.job_id = ANY(ARRAY(SELECT job_id FROM resolved)) AND p.job_id = resolved.job_id AND p.token = resolved.token
"""
_GET_TRIED = """
SELECT payment_id, reference, bool_or(outcome = 'done'), bool_or(outcome = 'unknown') FROM payment_attempts
WHERE payment_id = ANY(%(payment_ids)s::uuid[]) AND outcome IN ('done', 'unknown')
GROUP BY payment_id, reference
"""

ON_ITS_WAY_SECONDS = 300.0  # many times longer than a call may take


class AttemptOutcome(StrEnum):
    """What became of a call. UNKNOWN is never taken for REFUSED: Paystack may have done it."""

    UNKNOWN = "unknown"
    DONE = "done"
    REFUSED = "refused"
    NOT_SENT = "not_sent"


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """A call about to be made by one run of a job."""

    job_id: UUID
    token: int
    payment_id: UUID
    reference: str


@dataclass(frozen=True, slots=True)
class SettledAttempt:
    """What became of the call that one run of a job made."""

    job_id: UUID
    token: int
    outcome: AttemptOutcome
    detail: str | None


def open_attempts(tx: Connection, *, kind: str, attempts: Sequence[NewAttempt]) -> dict[UUID, timedelta]:
    """Record calls that will be sent now.

    Returns:
        For each job whose reference has an earlier call that arrived, or may have, how long ago the newest was sent.

    """
    parameters = {
        "kind": kind,
        "job_ids": [a.job_id for a in attempts],
        "tokens": [a.token for a in attempts],
        "payment_ids": [a.payment_id for a in attempts],
        "references": [a.reference for a in attempts],
    }
    return dict(tx.execute(_OPEN, parameters).fetchall())


def settle_attempts(tx: Connection, attempts: Sequence[SettledAttempt]) -> None:
    """Write what became of calls; an unknown outcome may be settled later, by `resolve_attempts`."""
    parameters = {
        "job_ids": [a.job_id for a in attempts],
        "tokens": [a.token for a in attempts],
        "outcomes": [a.outcome for a in attempts],
        "details": [a.detail for a in attempts],
    }
    tx.execute(_SETTLE, parameters)


def resolve_attempts(tx: Connection, *, payment_id: UUID, reference: str, outcome: AttemptOutcome, detail: str) -> None:
    """Settle every unknown call under a reference, once Paystack was asked what it knows of it."""
    parameters = {"payment_id": payment_id, "reference": reference, "outcome": outcome, "detail": detail}
    tx.execute(_RESOLVE, parameters)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look saw of one reference; `looked_at` is a moment before Paystack was asked."""

    payment_id: UUID
    reference: str
    looked_at: datetime
    found: bool


def resolve_looked_at(tx: Connection, looks: Sequence[Looked]) -> None:
    """Settle the unknown calls under references that were looked at, where nobody else finds out about them."""
    if looks:
        parameters = {
            "payment_ids": [look.payment_id for look in looks],
            "references": [look.reference for look in looks],
            "looked_ats": [look.looked_at for look in looks],
            "founds": [look.found for look in looks],
            "seconds": ON_ITS_WAY_SECONDS,
        }
        tx.execute(_RESOLVE_LOOKED_AT, parameters)


class Tried(NamedTuple):
    """A reference under which calls were made: Paystack certainly took one; the outcome of one is unknown."""

    is_certain: bool = False
    is_unknown: bool = False


def get_tried_references(connection: Connection, payment_ids: Iterable[UUID]) -> dict[UUID, dict[str, Tried]]:
    """Read under which references Paystack may hold a transaction of these payments."""
    tried: dict[UUID, dict[str, Tried]] = {}
    for payment_id, reference, *standing in connection.execute(_GET_TRIED, {"payment_ids": list(payment_ids)}):
        tried.setdefault(payment_id, {})[reference] = Tried(*standing)
    return tried
