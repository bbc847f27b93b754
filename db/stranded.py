"""What waits for a job that is not there: its job was discarded, or lost by a defect. Each gets its right one again.

A thing and its job are written together, and a job ends together with what it does. So whatever one statement sees
waiting without a job has none, however busy the ledger is, and no job at work gets a twin. Where its job is dead, it
waits for a person.

Each statement reads one page of what is open, by the id that says when it began, and inserts what is missing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, LiteralString, NamedTuple

from db.attempts import ON_ITS_WAY_SECONDS
from domain.jobs import QUEUE_OF, JobKind
from domain.payment import ReviewReason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from db.connection import Connection

# What has just begun is left alone: it has its job, and there may be very much of it. (And code of before gave the jobs
# of webhooks ids of their own.)
_OF_PAGE = """
id > %(after)s AND id < payfleet_uuid7_floor(payfleet_now() - interval '5 minutes') ORDER BY id LIMIT %(limit)s
"""
# Jobs are found by "= ANY", for the reason in db/jobs.py. The first one of a payment, a method, an event or a refund
# bears its id; all others, and those of refunds, say in their dedupe key whom they serve.
_SERVED_BY_ID = "SELECT id FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM page))"
_SERVED_BY_KEY = """
SELECT split_part(dedupe_key, ':', 2)::uuid FROM jobs WHERE dedupe_key = ANY(ARRAY(SELECT key FROM keys))
"""
_REVIVE = """
INSERT INTO jobs (id, kind, queue, payload, dedupe_key, run_at, correlation_id, created_at)
"""
_NOW = "(SELECT payfleet_now() AS at) AS clock"
# Two janitors at once may see the same thing waiting.
_ONCE = "ON CONFLICT DO NOTHING RETURNING id"
_RESULT = "SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1), (SELECT count(*) FROM revived)"

# Where Paystack gives back other money than it was asked to, a person is called, and the sending ends: not anew.
_REVIVE_REFUNDS = f"""
WITH page AS MATERIALIZED (
    SELECT id, payment_id, CASE WHEN gateway_refund_id IS NULL THEN %(send)s::text ELSE %(check)s::text END AS kind
    FROM refunds WHERE status IN ('PENDING', 'PROCESSING', 'NEEDS_ATTENTION') AND {_OF_PAGE}
), keys AS (
    SELECT kinds.kind || ':' || id AS key FROM page, unnest(ARRAY[%(send)s, %(check)s]) AS kinds (kind)
), stranded AS MATERIALIZED (
    SELECT * FROM page
    WHERE id NOT IN ({_SERVED_BY_KEY} AND state <> 'dead') AND id NOT IN ({_SERVED_BY_KEY} AND state = 'dead')
), revived AS (
    {_REVIVE}
    SELECT CASE kind WHEN %(send)s THEN id ELSE payfleet_uuid7(at) END, kind, %(queue)s,
        jsonb_build_object('payment_id', payment_id, 'refund_id', id), kind || ':' || id, at, %(correlation_id)s, at
    FROM stranded, {_NOW}
    WHERE kind = %(check)s OR payment_id NOT IN (
        SELECT id FROM payments
        WHERE id = ANY(ARRAY(SELECT payment_id FROM stranded)) AND review_reason = %(mismatch)s
    )
    {_ONCE}
)
{_RESULT}
"""  # noqa: S608 - made of constants
_REVIVE_WEBHOOKS = f"""
WITH page AS MATERIALIZED (
    SELECT id, correlation_id FROM webhook_events WHERE verdict = 'received' AND {_OF_PAGE}
), revived AS (
    {_REVIVE}
    SELECT id, %(kind)s, %(queue)s, jsonb_build_object('webhook_id', id), NULL, at, correlation_id, at
    FROM page, {_NOW} WHERE id NOT IN ({_SERVED_BY_ID})
    {_ONCE}
)
{_RESULT}
"""  # noqa: S608 - too
_REVIVE_METHODS = f"""
WITH page AS MATERIALIZED (
    SELECT id FROM payment_methods WHERE status = 'PENDING' AND {_OF_PAGE}
), revived AS (
    {_REVIVE}
    SELECT id, %(kind)s, %(queue)s, jsonb_build_object('payment_method_id', id), NULL, at, %(correlation_id)s, at
    FROM page, {_NOW} WHERE id NOT IN ({_SERVED_BY_ID})
    {_ONCE}
)
{_RESULT}
"""  # noqa: S608 - too
# A live job that opens the payment's transaction finds out itself what became of its calls. Where it is dead or gone, a
# look settles them; it does no harm, and where one is dead, another would end like it.
_LOOK_AT_UNKNOWN = f"""
WITH page AS MATERIALIZED (
    SELECT DISTINCT payment_id AS id FROM payment_attempts
    WHERE outcome = 'unknown' AND payment_id > %(after)s
      AND sent_at < payfleet_now() - make_interval(secs => %(unknown_seconds)s)
    ORDER BY id LIMIT %(limit)s
), keys AS (
    SELECT %(kind)s || ':' || id AS key FROM page
), revived AS (
    {_REVIVE}
    SELECT payfleet_uuid7(at), %(kind)s, %(queue)s, jsonb_build_object('payment_id', id), %(kind)s || ':' || id, at,
        %(correlation_id)s, at
    FROM page, {_NOW}
    WHERE id NOT IN ({_SERVED_BY_ID} AND state <> 'dead')
      AND id NOT IN ({_SERVED_BY_KEY} AND state <> 'dead') AND id NOT IN ({_SERVED_BY_KEY} AND state = 'dead')
    {_ONCE}
)
{_RESULT}
"""  # noqa: S608 - too


class Stranded(StrEnum):
    """What may wait for a job that is not there."""

    REFUND = "refund"
    WEBHOOK = "webhook"
    PAYMENT_METHOD = "payment_method"
    UNKNOWN_CALL = "unknown_call"
    """A payment with a call to Paystack whose outcome nobody is finding out."""


_STATEMENTS: Mapping[Stranded, tuple[LiteralString, Mapping[str, object]]] = {
    Stranded.REFUND: (
        _REVIVE_REFUNDS,
        {
            "send": JobKind.SEND_REFUND,
            "check": JobKind.CHECK_REFUND,
            "queue": QUEUE_OF[JobKind.SEND_REFUND],
            "mismatch": ReviewReason.REFUND_MISMATCH,
        },
    ),
    Stranded.WEBHOOK: (
        _REVIVE_WEBHOOKS,
        {"kind": JobKind.APPLY_WEBHOOK, "queue": QUEUE_OF[JobKind.APPLY_WEBHOOK]},
    ),
    Stranded.PAYMENT_METHOD: (
        _REVIVE_METHODS,
        {"kind": JobKind.CHECK_PAYMENT_METHOD, "queue": QUEUE_OF[JobKind.CHECK_PAYMENT_METHOD]},
    ),
    Stranded.UNKNOWN_CALL: (
        _LOOK_AT_UNKNOWN,
        {
            "kind": JobKind.VERIFY_PAYMENT,
            "queue": QUEUE_OF[JobKind.VERIFY_PAYMENT],
            "unknown_seconds": 2 * ON_ITS_WAY_SECONDS,
        },
    ),
}


class Page(NamedTuple):
    """One page of what is open: its last id, None behind the end, and how many on it got their jobs again."""

    last: UUID | None
    revived: int


def revive_page(connection: Connection, kind: Stranded, *, after: UUID, limit: int, correlation_id: str) -> Page:
    """Give what is stranded on the page after an id its jobs again; in autocommit mode, at once."""
    sql, parameters = _STATEMENTS[kind]
    given = {**parameters, "after": after, "limit": limit, "correlation_id": correlation_id}
    return Page(*connection.execute(sql, given).fetchall()[0])
