"""The invariants of the books as SQL: each statement finds rows that must not be, and is to find nothing.

All are bounded. Those about payments and events look at one page of ids at a time, each page in a snapshot of its own:
what one transaction wrote is seen whole or not at all, and no snapshot is old enough to keep vacuum waiting.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, LiteralString

from domain.books import FINDINGS_MAX, Check, Finding
from domain.ids import Prefix, show
from domain.jobs import JobKind
from domain.payment import LIVE, MOVES, PAID, FactName, PaymentStatus, ReviewReason
from domain.refund import UNDER_WAY, RefundStatus

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from datetime import timedelta
    from uuid import UUID

    from db.connection import Connection, Database

_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_SPAN = """
SELECT payfleet_uuid7_floor(at - %(since)s), payfleet_uuid7_floor(at + interval '1 millisecond')
FROM (SELECT payfleet_now() AS at) AS clock
"""
_PAYMENTS_PAGE = """
SELECT id FROM payments WHERE id > %(after)s AND id < %(until)s ORDER BY id LIMIT %(limit)s
"""
_REFUNDS_PAGE = """
SELECT id, CASE WHEN status = 'SUCCESS' THEN gateway_refund_id END FROM refunds
WHERE id > %(after)s AND id < %(until)s ORDER BY id LIMIT %(limit)s
"""
_EVENTS_PAGE = """
SELECT id, subject FROM events WHERE id > %(after)s AND id < %(until)s ORDER BY id LIMIT %(limit)s
"""


def _among(column: LiteralString) -> LiteralString:
    """Say that a column is one of sorted ids; with their span beside them, other partitions are not looked into."""
    given = "%(ids)s::uuid[]"
    return f"{column} = ANY({given}) AND {column} >= ({given})[1] AND {column} <= ({given})[cardinality({given})]"


_PAYMENTS = _among("p.id")
_LINES = _among("h.payment_id")
_REFUNDS = _among("r.payment_id")
_LONG_AGO = "payfleet_now() - %(quiet)s::interval"

# One table of each statement is found by the page's ids, and whatever is joined to it row by row: a kept plan takes a
# page for ten rows, and with ids of its own for each table it would hold every row of one against every row of another.

_PAYMENT_STUCK = f"""
SELECT p.id, p.status || ' since ' || p.updated_at
FROM payments p
LEFT JOIN live_orders o ON o.order_id = p.order_id
WHERE {_PAYMENTS} AND p.status = ANY(%(undecided)s::payment_status[]) AND p.id < payfleet_uuid7_floor({_LONG_AGO})
  AND (o.payment_id = p.id AND NOT o.paid AND o.look_at >= {_LONG_AGO}) IS NOT TRUE
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = p.id AND j.state <> 'dead')
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.dedupe_key = %(verify)s || ':' || p.id AND j.state <> 'dead')
"""  # noqa: S608 - made of constants
_PAYMENT_PAID_ONCE = f"""
SELECT p.id, p.status || ' with ' || count(h.version) || ' lines of success'
FROM payments p
LEFT JOIN payment_history h ON h.payment_id = p.id AND h.fact = ANY(%(success)s::text[])
WHERE {_PAYMENTS}
GROUP BY p.id, p.status
HAVING count(h.version) <> CASE WHEN p.status = ANY(%(paid)s::payment_status[]) THEN 1 ELSE 0 END
"""  # noqa: S608 - too
# Paystack's numbers come as numbers and as text; where customers bear the fees, what was asked stands by itself.
_PAYMENT_MONEY = f"""
SELECT id, 'asked ' || amount || ' ' || currency || ', Paystack reported ' || coalesce(asked || '', 'nothing')
    || ' asked and ' || coalesce(received || '', 'nothing') || ' received in ' || coalesce(reported, 'no currency')
FROM (
    SELECT p.id, p.amount, p.currency, told.received, p.gateway_response ->> 'currency' AS reported,
        coalesce(substring(p.gateway_response ->> 'requested_amount' FROM '^[0-9]+$')::numeric, told.received) AS asked
    FROM payments p, LATERAL (
        SELECT substring(p.gateway_response ->> 'amount' FROM '^([0-9]+)(?:[.]0+)?$')::numeric AS received
    ) AS told
    WHERE {_PAYMENTS} AND p.status = ANY(%(paid)s::payment_status[])
) AS payment
WHERE (asked = amount AND received >= amount AND reported = currency) IS NOT TRUE
"""  # noqa: S608 - too
_TRANSACTION_OF_LINE = f"""
SELECT p.id, 'it holds ' || coalesce(p.gateway_transaction_id || '', 'none') || ', its line of success names '
    || coalesce(h.details ->> 'transactionId', 'none')
FROM payments p
JOIN payment_history h ON h.payment_id = p.id AND h.fact = ANY(%(success)s::text[])
WHERE {_PAYMENTS} AND h.details ->> 'transactionId' IS DISTINCT FROM p.gateway_transaction_id::text
"""  # noqa: S608 - too
_HISTORY_GAP = f"""
SELECT p.id, 'version ' || p.version || ' with ' || count(h.version) || ' lines, the last of them '
    || coalesce(max(h.version), 0)
FROM payments p
LEFT JOIN payment_history h ON h.payment_id = p.id
WHERE {_PAYMENTS}
GROUP BY p.id, p.version
HAVING (count(h.version), min(h.version), max(h.version)) IS DISTINCT FROM (p.version, 1, p.version)
"""  # noqa: S608 - too
_HISTORY_STEP = f"""
SELECT payment_id, 'version ' || version || ' is ' || status || ' after ' || coalesce(before || '', 'nothing')
FROM (
    SELECT h.payment_id, h.version, h.status, lag(h.status) OVER w AS before
    FROM payment_history h WHERE {_LINES} WINDOW w AS (PARTITION BY h.payment_id ORDER BY h.version)
) AS step
WHERE CASE WHEN before IS NULL THEN status <> 'PENDING'
    ELSE before <> status AND before || '>' || status <> ALL(%(moves)s::text[]) END
"""  # noqa: S608 - too
_HISTORY_BEHIND = f"""
SELECT p.id, p.status || ', and its line ' || h.version || ' says ' || h.status
FROM payments p
JOIN payment_history h ON h.payment_id = p.id AND h.version = p.version
WHERE {_PAYMENTS} AND h.status <> p.status
"""  # noqa: S608 - too
# A line and its event are written by one statement, and so at one time, which the event's id carries.
_EVENT_MISSING = f"""
SELECT line.payment_id, line.told || ' lines of ' || line.created_at || ' have ' || event.told || ' events'
FROM (
    SELECT h.payment_id, h.created_at, count(*) AS told, count(*) FILTER (WHERE h.fact = %(succeeded)s) AS succeeded
    FROM payment_history h WHERE {_LINES} AND h.fact <> ALL(%(silent)s::text[])
    GROUP BY h.payment_id, h.created_at
) AS line, LATERAL (
    SELECT count(*) AS told, count(*) FILTER (WHERE e.type = %(succeeded)s) AS succeeded
    FROM events e
    WHERE e.id >= payfleet_uuid7_floor(line.created_at)
      AND e.id < payfleet_uuid7_floor(line.created_at + interval '1 millisecond')
      AND e.subject = line.payment_id AND e.created_at = line.created_at
) AS event
WHERE (line.told, line.succeeded) <> (event.told, event.succeeded)
"""  # noqa: S608 - too
_EVENT_UNFOUNDED = f"""
SELECT e.id, e.type || CASE WHEN p.id IS NULL THEN ' of no payment' ELSE ' without its line' END
FROM events e
LEFT JOIN payments p ON p.id = e.subject
WHERE {_among("e.id")} AND (p.id IS NULL OR NOT EXISTS (
    SELECT FROM payment_history h
    WHERE h.payment_id = e.subject AND h.created_at = e.created_at AND h.fact <> ALL(%(silent)s::text[])))
"""  # noqa: S608 - too
_EVENT_UNPUBLISHED = f"""
SELECT id, type || ' of ' || created_at FROM events
WHERE published_at IS NULL AND id < payfleet_uuid7_floor({_LONG_AGO}) ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - too
_ORDER_PAYER = f"""
SELECT p.id, CASE WHEN o.payment_id IS NULL THEN 'nobody holds its order'
    WHEN o.payment_id = p.id THEN 'its order counts as unpaid' ELSE 'another payment holds its order' END
FROM payments p
LEFT JOIN live_orders o ON o.order_id = p.order_id
WHERE {_PAYMENTS} AND p.status = ANY(%(payers)s::payment_status[])
  AND (o.paid AND o.payment_id = p.id) IS NOT TRUE
  AND NOT EXISTS (
    SELECT FROM payment_history h WHERE h.payment_id = p.id AND (
        h.fact = %(duplicate)s OR h.fact = %(flagged)s AND h.details ->> 'reason' = %(duplicate_order)s))
"""  # noqa: S608 - too
_ORDER_BLOCKED = f"""
SELECT p.id, p.status || ', and it holds its order'
FROM payments p
JOIN live_orders o ON o.order_id = p.order_id AND o.payment_id = p.id
WHERE {_PAYMENTS} AND p.status <> ALL(%(live)s::payment_status[])
"""  # noqa: S608 - too
_REFUND_SUMS = f"""
SELECT id, 'promised ' || refunds_reserved || ' and given back ' || refunded || ', its refunds say ' || promised
    || ' and ' || given
FROM (
    SELECT p.id, p.refunds_reserved, p.refunded,
        coalesce(sum(r.amount) FILTER (WHERE r.status <> 'FAILED'), 0) AS promised,
        coalesce(sum(r.amount) FILTER (WHERE r.status = 'SUCCESS'), 0) AS given
    FROM payments p
    LEFT JOIN refunds r ON r.payment_id = p.id AND NOT r.is_surplus
    WHERE {_PAYMENTS}
    GROUP BY p.id, p.refunds_reserved, p.refunded
) AS payment
WHERE (refunds_reserved, refunded) <> (promised, given)
"""  # noqa: S608 - too
_REFUND_STATUS = f"""
SELECT p.id, p.status || ' with ' || p.refunded || ' of ' || p.amount || ' given back'
FROM payments p
WHERE {_PAYMENTS} AND CASE WHEN p.status = ANY(%(paid)s::payment_status[])
    THEN p.status <> CASE WHEN p.refunded = 0 THEN 'SUCCESS' WHEN p.refunded < p.amount THEN 'PARTIALLY_REFUNDED'
        ELSE 'REFUNDED' END::payment_status
    ELSE p.refunds_reserved > 0 END
"""  # noqa: S608 - too
# A refund that failed after all has a line of success too.
_REFUND_LINES = f"""
SELECT payment_id, coalesce(made.all, 0) || ' refunds, ' || coalesce(made.given, 0) || ' of success and '
    || coalesce(made.failed, 0) || ' failed; the history has ' || coalesce(told.all, 0) || ', '
    || coalesce(told.given, 0) || ' and ' || coalesce(told.failed, 0)
FROM (
    SELECT r.payment_id, count(*) AS all, count(*) FILTER (WHERE r.status = 'SUCCESS') AS given,
        count(*) FILTER (WHERE r.status = 'FAILED') AS failed
    FROM refunds r WHERE {_REFUNDS} GROUP BY r.payment_id
) AS made FULL JOIN (
    SELECT h.payment_id, count(*) FILTER (WHERE h.fact = %(refund_requested)s) AS all,
        count(*) FILTER (WHERE h.fact = %(refund_succeeded)s) AS given,
        count(*) FILTER (WHERE h.fact = %(refund_failed)s) AS failed
    FROM payment_history h
    WHERE {_LINES} AND h.fact IN (%(refund_requested)s, %(refund_succeeded)s, %(refund_failed)s)
    GROUP BY h.payment_id
) AS told USING (payment_id)
WHERE (made.all, made.failed) IS DISTINCT FROM (told.all, told.failed)
   OR told.given NOT BETWEEN made.given AND made.given + made.failed
"""  # noqa: S608 - too
_REFUND_SOURCE = f"""
SELECT r.id, r.amount || ' ' || r.currency || ' of transaction ' || r.gateway_transaction_id || ', its payment holds '
    || coalesce(p.gateway_transaction_id || '', 'none') || ' in ' || p.currency
FROM refunds r
JOIN payments p ON p.id = r.payment_id
WHERE {_REFUNDS} AND (r.currency <> p.currency OR CASE WHEN r.is_surplus
    THEN NOT p.flagged_transactions @> to_jsonb(r.gateway_transaction_id)
    ELSE r.gateway_transaction_id IS DISTINCT FROM p.gateway_transaction_id END)
"""  # noqa: S608 - too
_REFUND_STUCK = f"""
SELECT r.id, r.status || ' since ' || r.updated_at
FROM refunds r
WHERE {_REFUNDS} AND r.status = ANY(%(unfinished)s::refund_status[]) AND r.id < payfleet_uuid7_floor({_LONG_AGO})
  AND NOT EXISTS (
    SELECT FROM jobs j
    WHERE j.dedupe_key IN (%(send)s || ':' || r.id, %(check)s || ':' || r.id) AND j.state <> 'dead')
"""  # noqa: S608 - too
_REFUND_BLOCKING = f"""
SELECT r.id, r.status || ', and its call counts as unsettled'
FROM refunds r WHERE {_REFUNDS} AND r.is_unsettled AND r.status <> 'PENDING'
"""  # noqa: S608 - too
_ATTEMPT_UNKNOWN = f"""
SELECT p.id, p.status || ', and ' || a.kind || ' under ' || a.reference || ' is unknown since ' || a.sent_at
FROM payment_attempts a
JOIN payments p ON p.id = a.payment_id
WHERE {_among("a.payment_id")} AND a.outcome = 'unknown' AND a.sent_at < {_LONG_AGO}
  AND p.status <> ALL(%(undecided)s::payment_status[])
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = a.job_id AND j.state <> 'dead')
"""  # noqa: S608 - too
_WEBHOOK_UNREAD = f"""
SELECT id, 'received ' || received_at FROM webhook_events
WHERE verdict = 'received' AND id < payfleet_uuid7_floor({_LONG_AGO}) ORDER BY id LIMIT %(limit)s
"""  # noqa: S608 - too
_JOB_OVERDUE = f"""
(SELECT id, kind || ' due since ' || run_at FROM jobs
    WHERE state = 'ready' AND run_at < {_LONG_AGO} ORDER BY run_at LIMIT %(limit)s)
UNION ALL
(SELECT id, kind || ' sent ' || sent_at FROM jobs
    WHERE state = 'sent' AND sent_at < {_LONG_AGO} AND (lease_until IS NULL OR lease_until < {_LONG_AGO})
    ORDER BY sent_at LIMIT %(limit)s)
"""  # noqa: S608 - too
_JOB_DEAD = """
SELECT id, kind || ': ' || coalesce(last_error, 'no error on record') FROM jobs
WHERE state = 'dead' ORDER BY id LIMIT %(limit)s
"""
_TRANSACTIONS = f"""
SELECT p.id, p.gateway_transaction_id FROM payments p WHERE {_PAYMENTS} AND p.gateway_transaction_id IS NOT NULL
"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True)
class Invariant:
    """A check as a statement: what it finds must not be, and is shown as ids of this kind."""

    check: Check
    shown_as: Prefix
    sql: LiteralString


OF_PAYMENTS = (
    Invariant(Check.PAYMENT_STUCK, Prefix.PAYMENT, _PAYMENT_STUCK),
    Invariant(Check.PAYMENT_PAID_ONCE, Prefix.PAYMENT, _PAYMENT_PAID_ONCE),
    Invariant(Check.PAYMENT_MONEY, Prefix.PAYMENT, _PAYMENT_MONEY),
    Invariant(Check.TRANSACTION_OF_LINE, Prefix.PAYMENT, _TRANSACTION_OF_LINE),
    Invariant(Check.HISTORY_GAP, Prefix.PAYMENT, _HISTORY_GAP),
    Invariant(Check.HISTORY_STEP, Prefix.PAYMENT, _HISTORY_STEP),
    Invariant(Check.HISTORY_BEHIND, Prefix.PAYMENT, _HISTORY_BEHIND),
    Invariant(Check.EVENT_MISSING, Prefix.PAYMENT, _EVENT_MISSING),
    Invariant(Check.ORDER_PAYER, Prefix.PAYMENT, _ORDER_PAYER),
    Invariant(Check.ORDER_BLOCKED, Prefix.PAYMENT, _ORDER_BLOCKED),
    Invariant(Check.REFUND_SUMS, Prefix.PAYMENT, _REFUND_SUMS),
    Invariant(Check.REFUND_STATUS, Prefix.PAYMENT, _REFUND_STATUS),
    Invariant(Check.REFUND_LINES, Prefix.PAYMENT, _REFUND_LINES),
    Invariant(Check.REFUND_SOURCE, Prefix.REFUND, _REFUND_SOURCE),
    Invariant(Check.REFUND_STUCK, Prefix.REFUND, _REFUND_STUCK),
    Invariant(Check.REFUND_BLOCKING, Prefix.REFUND, _REFUND_BLOCKING),
    Invariant(Check.ATTEMPT_UNKNOWN, Prefix.PAYMENT, _ATTEMPT_UNKNOWN),
)
"""Of a page of payments."""
OF_EVENTS = (Invariant(Check.EVENT_UNFOUNDED, Prefix.EVENT, _EVENT_UNFOUNDED),)
"""Of a page of events."""
OF_WHAT_WAITS = (
    Invariant(Check.EVENT_UNPUBLISHED, Prefix.EVENT, _EVENT_UNPUBLISHED),
    Invariant(Check.WEBHOOK_UNREAD, Prefix.WEBHOOK, _WEBHOOK_UNREAD),
    Invariant(Check.JOB_OVERDUE, Prefix.JOB, _JOB_OVERDUE),
    Invariant(Check.JOB_DEAD, Prefix.JOB, _JOB_DEAD),
)
"""Of everything that waits for somebody, however old it is."""

# What a line is written for without telling anybody.
_SILENT = [FactName.ACCEPTED, FactName.PROCESSING, FactName.REFUND_PROCESSING]
_WORDS: dict[str, Any] = {
    "limit": FINDINGS_MAX,
    "undecided": [PaymentStatus.PENDING, PaymentStatus.PROCESSING],
    "paid": sorted(PAID),
    "live": sorted(LIVE),
    "payers": sorted(PAID & LIVE),
    "moves": sorted(f"{before}>{after}" for before, moves in MOVES.items() for after in moves),
    "unfinished": sorted({RefundStatus.PENDING} | UNDER_WAY),
    "verify": JobKind.VERIFY_PAYMENT,
    "send": JobKind.SEND_REFUND,
    "check": JobKind.CHECK_REFUND,
    "success": [FactName.SUCCEEDED, FactName.DUPLICATE],
    "succeeded": FactName.SUCCEEDED,
    "duplicate": FactName.DUPLICATE,
    "flagged": FactName.FLAGGED,
    "duplicate_order": ReviewReason.DUPLICATE_ORDER,
    "silent": _SILENT,
    "refund_requested": FactName.REFUND_REQUESTED,
    "refund_succeeded": FactName.REFUND_SUCCEEDED,
    "refund_failed": FactName.REFUND_FAILED,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Ids made within a window: later than `after`, earlier than `until`."""

    after: UUID
    until: UUID

    def rest(self, page: Sequence[UUID], *, limit: int) -> Span | None:
        """Say what is left after a page of these many ids at most; None when it was the last one."""
        return replace(self, after=page[-1]) if len(page) == limit else None


@contextmanager
def snapshot(database: Database) -> Generator[Connection]:
    """Lend a connection that sees the books as they stood at one moment, and can write nothing.

    Raises:
        UnavailableError: as `Database.transaction`.

    """
    with database.transaction() as tx:
        tx.execute(_SNAPSHOT)
        yield tx


def get_span(tx: Connection, *, since: timedelta) -> Span:
    """Read which ids were made within this time until now."""
    return Span(*tx.execute(_SPAN, {"since": since}).fetchall()[0])


def get_payments_page(tx: Connection, span: Span, *, limit: int) -> list[UUID]:
    """Read the first ids of payments within a span, in their order."""
    return [row[0] for row in tx.execute(_PAYMENTS_PAGE, _page(span, limit)).fetchall()]


def get_refunds_page(tx: Connection, span: Span, *, limit: int) -> dict[UUID, int | None]:
    """Read the first refunds within a span, in the order of their ids, each that succeeded with Paystack's number."""
    rows = tx.execute(_REFUNDS_PAGE, _page(span, limit)).fetchall()
    return {row[0]: None if row[1] is None else int(row[1]) for row in rows}


def get_events_page(tx: Connection, span: Span, *, limit: int) -> dict[UUID, UUID]:
    """Read the first events within a span, in the order of their ids, each with the payment it is about."""
    return dict(tx.execute(_EVENTS_PAGE, _page(span, limit)).fetchall())


def get_violations(
    tx: Connection,
    invariant: Invariant,
    *,
    quiet: timedelta,
    ids: Sequence[UUID] = (),
) -> list[Finding]:
    """Find what breaks an invariant, among these sorted ids where it is about a page."""
    parameters = {**_WORDS, "quiet": quiet, "ids": list(ids)}
    rows = tx.execute(invariant.sql, parameters).fetchall()
    return [Finding(show(invariant.shown_as, row[0]), row[1]) for row in rows]


def get_transactions(tx: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Read which of Paystack's transactions these payments, sorted, hold; one that was never paid holds none."""
    return {row[0]: int(row[1]) for row in tx.execute(_TRANSACTIONS, {"ids": list(ids)}).fetchall()}


def _page(span: Span, limit: int) -> dict[str, object]:
    return {"after": span.after, "until": span.until, "limit": limit}
