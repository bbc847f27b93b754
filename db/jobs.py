"""The job ledger: outbox, retry schedule and dead letters in one table; a job that is done has no row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

from domain.jobs import QUEUE_OF, ClaimedJob
from domain.retry import Park, Postpone, RetryIn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from db.connection import Connection
    from domain.jobs import JobKind
    from domain.retry import Decision

# Rows are found by "= ANY" of their ids, never by a join alone: the plan of a join that was made while the ledger was
# empty, which is its normal state, walks the whole index for each row.

# Claimed whatever state but 'dead' they are in: a message may outrun the relay that sent it. A live lease or a
# run_at still to come means that another run holds the job, or that it waits for its next try.
_CLAIM = """
WITH due AS (
    SELECT id FROM jobs
    WHERE id = ANY(%(ids)s) AND kind = %(kind)s AND state <> 'dead' AND run_at <= payfleet_now()
      AND (lease_until IS NULL OR lease_until <= payfleet_now())
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET state = 'sent', sent_at = payfleet_now(), attempts = attempts + 1,
    lease_until = payfleet_now() + make_interval(secs => %(lease_seconds)s)
WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, attempts, failures, payload, correlation_id
"""
_READ = """
SELECT id, attempts, failures, payload, correlation_id FROM jobs
WHERE id = ANY(%(ids)s) AND kind = %(kind)s AND state <> 'dead' AND run_at <= payfleet_now()
  AND (lease_until IS NULL OR lease_until <= payfleet_now())
"""
_FINISH = """
WITH mine AS MATERIALIZED (
    SELECT id FROM unnest(%(ids)s::uuid[], %(tokens)s::integer[]) AS held (id, token) JOIN jobs USING (id)
    WHERE jobs.id = ANY(%(ids)s::uuid[]) AND jobs.attempts = held.token
    ORDER BY id FOR UPDATE OF jobs SKIP LOCKED
)
DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM mine))
RETURNING id
"""
_RESCHEDULE = """
UPDATE jobs SET state = 'ready', run_at = payfleet_now() + make_interval(secs => %(seconds)s), sent_at = NULL,
    lease_until = NULL, failures = failures + %(counted)s, last_error = %(error)s
WHERE id = %(id)s AND attempts = %(token)s AND state <> 'dead'
RETURNING id
"""
# Its run_at tells from now on when it died.
_PARK = """
UPDATE jobs SET state = 'dead', run_at = payfleet_now(), sent_at = NULL, lease_until = NULL, failures = failures + 1,
    last_error = %(error)s
WHERE id = %(id)s AND attempts = %(token)s AND state <> 'dead'
RETURNING id
"""
# Those that another run holds are left to it. Spread, so that they do not all come back at one instant.
_POSTPONE = """
WITH waiting AS (
    SELECT id FROM jobs
    WHERE id = ANY(%(ids)s) AND state = 'sent' AND (lease_until IS NULL OR lease_until <= payfleet_now())
    ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET state = 'ready', run_at = payfleet_now() + make_interval(secs => %(seconds)s * (1 + random() / 2)),
    sent_at = NULL, lease_until = NULL, last_error = %(reason)s
WHERE id = ANY(ARRAY(SELECT id FROM waiting))
"""
_TAKE_DUE = """
WITH due AS MATERIALIZED (
    SELECT id FROM jobs
    WHERE state = 'ready' AND run_at <= payfleet_now() AND run_at >= payfleet_now() - make_interval(secs => %(back)s)
    ORDER BY run_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET state = 'sent', sent_at = payfleet_now() WHERE id = ANY(ARRAY(SELECT id FROM due))
RETURNING id, kind, queue
"""
_RETURN_UNSENT = """
UPDATE jobs SET state = 'ready', sent_at = NULL
WHERE id = ANY(%(ids)s) AND state = 'sent' AND lease_until IS NULL
"""
# A job that was sent but not claimed may be waiting in a long queue, so it gets more time than a lease that ended.
_RETURN_LOST = """
WITH lost AS (
    SELECT id FROM jobs
    WHERE state = 'sent' AND sent_at < payfleet_now() - make_interval(secs => CASE WHEN lease_until IS NULL
            THEN %(unclaimed_seconds)s ELSE 0 END)
      AND (lease_until IS NULL OR lease_until <= payfleet_now())
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
-- Due now, not in the past: the relay looks for what has been due for long only from time to time.
UPDATE jobs SET state = 'ready', run_at = payfleet_now(), sent_at = NULL, lease_until = NULL
WHERE id = ANY(ARRAY(SELECT id FROM lost))
"""

# Not "= 'sent'": that would have all of that state's index walked.
_LOCK_SENT = """
SELECT id, attempts, failures, payload, correlation_id,
    greatest(extract(epoch FROM lease_until - payfleet_now()), 0)::float8
FROM jobs WHERE id = ANY(%(ids)s) AND state NOT IN ('ready', 'dead') ORDER BY id FOR UPDATE SKIP LOCKED
"""

_TAKE_DEAD = """
WITH dead AS (
    SELECT id FROM jobs WHERE state = 'dead' AND sent_at IS NULL ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET sent_at = payfleet_now() WHERE id = ANY(ARRAY(SELECT id FROM dead))
RETURNING id, kind, queue
"""
_RETURN_DEAD = "UPDATE jobs SET sent_at = NULL WHERE id = ANY(%(ids)s) AND state = 'dead'"

# A job that only waits for its time is brought forward by a request for the same thing; one that waits after a failure
# is not, or impatient clients would use up its tries.
_ENQUEUE = """
INSERT INTO jobs (id, kind, queue, payload, dedupe_key, run_at, correlation_id, created_at)
SELECT coalesce(%(id)s, payfleet_uuid7(at)), %(kind)s, %(queue)s, %(payload)s, %(dedupe_key)s,
    at + make_interval(secs => %(delay_seconds)s), %(correlation_id)s, at
FROM (SELECT payfleet_now() AS at) AS clock
WHERE NOT EXISTS (
    -- Left alone where there is nothing to change: even an update of nothing would lock the row, and its worker would
    -- pass over it.
    SELECT FROM jobs j WHERE j.dedupe_key = %(dedupe_key)s AND j.state <> 'dead'
        AND (j.state = 'sent' OR j.failures > 0 OR j.run_at <= at + make_interval(secs => %(delay_seconds)s))
)
ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND state <> 'dead'
DO UPDATE SET run_at = EXCLUDED.run_at
WHERE jobs.state = 'ready' AND jobs.failures = 0 AND jobs.run_at > EXCLUDED.run_at
"""

_SCAN_BACK_SECONDS = 600.0  # dead index entries older than this are not walked at every poll
_SCAN_ALL_SECONDS = 10.0 * 365 * 86400


@dataclass(frozen=True, slots=True)
class DueJob:
    """A job the relay has taken and must now hand to RabbitMQ.

    Kind and queue are plain text: during a deploy an old relay carries kinds it does not know.
    """

    id: UUID
    kind: str
    queue: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to put into the ledger. With a dedupe key it joins a live job of that name, if there is one."""

    kind: JobKind
    payload: Mapping[str, str]
    correlation_id: str
    id: UUID | None = None
    dedupe_key: str | None = None
    delay_seconds: float = 0.0


def enqueue_jobs(tx: Connection, jobs: Iterable[NewJob]) -> None:
    """Put jobs into the ledger, to be committed with whatever made them necessary."""
    for job in jobs:
        parameters = {
            "id": job.id,
            "kind": job.kind,
            "queue": QUEUE_OF[job.kind],
            "payload": Jsonb(job.payload),
            "dedupe_key": job.dedupe_key,
            "delay_seconds": job.delay_seconds,
            "correlation_id": job.correlation_id,
        }
        tx.execute(_ENQUEUE, parameters)


def claim_jobs(connection: Connection, *, kind: JobKind, ids: Sequence[UUID], lease_seconds: float) -> list[ClaimedJob]:
    """Take jobs for this process until the lease ends; those that are done, dead, held or not yet due stay out."""
    rows = connection.execute(_CLAIM, {"ids": list(ids), "kind": kind, "lease_seconds": lease_seconds}).fetchall()
    return sorted((ClaimedJob(*row) for row in rows), key=lambda job: job.id)


def read_jobs(connection: Connection, *, kind: JobKind, ids: Sequence[UUID]) -> list[ClaimedJob]:
    """Read jobs that are due and not leased, without claiming them.

    That is enough for work that one transaction does whole: `finish_jobs` lets only one run have each of them.
    """
    return [ClaimedJob(*row) for row in connection.execute(_READ, {"ids": list(ids), "kind": kind}).fetchall()]


def finish_jobs(tx: Connection, jobs: Iterable[ClaimedJob]) -> set[UUID]:
    """Delete the jobs that are done; returns those this run really held, the only ones whose effect may be written.

    A job that another run has locked is left to it.
    """
    held = list(jobs)
    rows = tx.execute(_FINISH, {"ids": [job.id for job in held], "tokens": [job.token for job in held]}).fetchall()
    return {row[0] for row in rows}


def apply_decision(tx: Connection, job: ClaimedJob, decision: Decision, *, error: str) -> bool:
    """Write what the retry rule decided for a job that did not finish; False when another run holds it by now."""
    held = {"id": job.id, "token": job.token, "error": error}
    match decision:
        case RetryIn(seconds):
            cursor = tx.execute(_RESCHEDULE, {**held, "seconds": seconds, "counted": 1})
        case Postpone(seconds):
            cursor = tx.execute(_RESCHEDULE, {**held, "seconds": seconds, "counted": 0})
        case Park():
            cursor = tx.execute(_PARK, held)
    return cursor.fetchone() is not None


def postpone_jobs(connection: Connection, ids: Sequence[UUID], *, seconds: float, reason: str) -> None:
    """Put off jobs that were sent and that nobody has claimed; nothing is counted."""
    connection.execute(_POSTPONE, {"ids": list(ids), "seconds": seconds, "reason": reason})


def take_due_jobs(connection: Connection, *, limit: int, everything: bool) -> list[DueJob]:
    """Mark due jobs as sent and return them, oldest first within a kind.

    The scan is bounded from below, so that dead index entries of a busy table do not slow every poll down; from time
    to time the caller asks for `everything`.
    """
    back = _SCAN_ALL_SECONDS if everything else _SCAN_BACK_SECONDS
    rows = connection.execute(_TAKE_DUE, {"limit": limit, "back": back}).fetchall()
    return [DueJob(*row) for row in sorted(rows)]


def return_unsent_jobs(connection: Connection, ids: Sequence[UUID]) -> None:
    """Put back what RabbitMQ did not confirm."""
    connection.execute(_RETURN_UNSENT, {"ids": list(ids)})


def return_lost_jobs(connection: Connection, *, unclaimed_seconds: float, limit: int) -> int:
    """Make jobs ready again whose message was lost or whose run died; returns how many."""
    return connection.execute(_RETURN_LOST, {"unclaimed_seconds": unclaimed_seconds, "limit": limit}).rowcount


def lock_sent_jobs(tx: Connection, ids: Sequence[UUID]) -> list[tuple[ClaimedJob, float]]:
    """Lock those of these jobs that are on their way or under way, each with the seconds left of its lease.

    A job that somebody is settling just now is left out. What is decided about the others with `apply_decision` must
    leave a run that holds a lease its time.
    """
    return [(ClaimedJob(*row[:-1]), row[-1]) for row in tx.execute(_LOCK_SENT, {"ids": list(ids)}).fetchall()]


def take_dead_jobs(connection: Connection, *, limit: int) -> list[DueJob]:
    """Take dead jobs that no dead-letter queue has heard of, and mark them as announced."""
    return [DueJob(*row) for row in sorted(connection.execute(_TAKE_DEAD, {"limit": limit}).fetchall())]


def return_dead_jobs(connection: Connection, ids: Sequence[UUID]) -> None:
    """Have dead jobs announced again: RabbitMQ did not confirm them."""
    connection.execute(_RETURN_DEAD, {"ids": list(ids)})
