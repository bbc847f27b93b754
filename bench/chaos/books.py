"""The two books that are held against each other: our Postgres, and what the sandbox wrote down by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from domain.ids import MalformedIdError, Prefix, payment_of, show

PAID = frozenset({"SUCCESS", "PARTIALLY_REFUNDED", "REFUNDED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OurPayment:
    """A payment in our book."""

    id: str
    order_id: str
    amount: int
    currency: str
    status: str
    transaction_id: int | None
    review_reason: str | None
    refunded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OurRefund:
    """A refund in our book."""

    id: str
    payment_id: str
    amount: int
    status: str
    refund_id: int | None

    @property
    def note(self) -> str:
        """What marks it at Paystack."""
        return f"Payfleet {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that is not finished, and when something is going to happen to it by itself (None: never)."""

    what: str
    subject: str
    state: str
    next_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our book: all of it that counts. `keys` leads from an Idempotency-Key to what it made, `broken` names rows that
    contradict each other."""

    payments: Mapping[str, OurPayment]
    refunds: Mapping[str, OurRefund]
    keys: Mapping[str, str]
    events: Mapping[str, datetime | None]
    leftovers: Sequence[Leftover]
    broken: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirTransaction:
    """A transaction in Paystack's book; `payment_id` is the payment its reference was made from."""

    id: int
    reference: str
    payment_id: str | None
    asked: int
    amount: int
    currency: str
    paid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TheirRefund:
    """A refund in Paystack's book."""

    id: int
    transaction_id: int
    amount: int
    status: str
    note: str

    @property
    def alive(self) -> bool:
        """Whether its money went back, or may yet."""
        return self.status != "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """Paystack's book."""

    transactions: Mapping[int, TheirTransaction]
    refunds: Sequence[TheirRefund]
    undelivered: int


_PAYMENTS = """
SELECT id, order_id, amount, currency, status::text, gateway_transaction_id, review_reason, refunded FROM payments
"""
_REFUNDS = "SELECT id, payment_id, amount, status::text, gateway_refund_id FROM refunds"
_KEYS = "SELECT key, payment_id, refund_id FROM idempotency_keys"
_EVENTS = "SELECT id, published_at FROM events"
_LEFTOVERS: LiteralString = """
SELECT 'job', concat_ws(' ', kind, payload->>'payment_id', payload->>'refund_id', payload->>'webhook_id'), state::text,
    CASE state WHEN 'dead' THEN NULL WHEN 'sent' THEN coalesce(lease_until, sent_at) ELSE run_at END, last_error
FROM jobs
UNION ALL
SELECT 'refund', id::text, status::text, NULL, 'unsettled: ' || is_unsettled FROM refunds
WHERE status IN ('PENDING', 'PROCESSING') OR is_unsettled
UNION ALL
SELECT 'payment', id::text, status::text, NULL, CASE WHEN status = 'PENDING' THEN 'nobody can pay it' END FROM payments
WHERE status = 'PROCESSING' OR (status = 'PENDING' AND authorization_url IS NULL AND next_action IS NULL)
UNION ALL
SELECT 'webhook', id::text, verdict::text, NULL, NULL FROM webhook_events WHERE verdict = 'received'
UNION ALL
SELECT 'event', id::text, 'unpublished', leased_until, NULL FROM events WHERE published_at IS NULL
UNION ALL
SELECT 'call', job_id::text, outcome::text, NULL, detail FROM payment_attempts WHERE outcome = 'unknown'
"""
# Each finds rows that must not exist, whatever happened.
_NEVER: Mapping[str, LiteralString] = {
    "a version that is not the number of its history": """
        SELECT p.id FROM payments p
        WHERE p.version <> (SELECT count(*) FROM payment_history h WHERE h.payment_id = p.id)
    """,
    "a gap in a history": """
        SELECT payment_id FROM payment_history GROUP BY payment_id HAVING max(version) <> count(*) OR min(version) <> 1
    """,
    "a status that is not the last of its history": """
        SELECT p.id FROM payments p JOIN payment_history h ON h.payment_id = p.id AND h.version = p.version
        WHERE h.status <> p.status
    """,
    "a history without its payment": """
        SELECT DISTINCT h.payment_id FROM payment_history h
        WHERE NOT EXISTS (SELECT FROM payments p WHERE p.id = h.payment_id)
    """,
    "two successes of one payment": """
        SELECT subject FROM events WHERE type = 'payment.succeeded' GROUP BY subject HAVING count(*) > 1
    """,
    "sums of refunds that are not the payment's": """
        SELECT p.id FROM payments p LEFT JOIN refunds r ON r.payment_id = p.id AND NOT r.is_surplus GROUP BY p.id
        HAVING p.refunded <> coalesce(sum(r.amount) FILTER (WHERE r.status = 'SUCCESS'), 0)
            OR p.refunds_reserved <> coalesce(sum(r.amount) FILTER (WHERE r.status <> 'FAILED'), 0)
    """,
    "an order that two payments have paid": """
        SELECT order_id FROM payments WHERE status IN ('SUCCESS', 'PARTIALLY_REFUNDED') AND review_reason IS NULL
        GROUP BY order_id HAVING count(*) > 1
    """,
}


def read_ours(database_url: str) -> Ours:
    """Read our book as it stands, in one snapshot."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        payments = [_our_payment(row) for row in connection.execute(_PAYMENTS)]
        refunds = [_our_refund(row) for row in connection.execute(_REFUNDS)]
        return Ours(
            payments={payment.id: payment for payment in payments},
            refunds={refund.id: refund for refund in refunds},
            keys={row[0]: _made(row) for row in connection.execute(_KEYS)},
            events={show(Prefix.EVENT, row[0]): row[1] for row in connection.execute(_EVENTS)},
            leftovers=_leftovers(connection),
            broken=[(name, str(row[0])) for name, sql in _NEVER.items() for row in connection.execute(sql)],
        )


def read_leftovers(database_url: str) -> Sequence[Leftover]:
    """Read only what is not finished."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        return _leftovers(connection)


def _leftovers(connection: psycopg.Connection) -> list[Leftover]:
    names = ("what", "subject", "state", "next_at", "reason")
    return [Leftover(**dict(zip(names, row, strict=True))) for row in connection.execute(_LEFTOVERS)]


def _our_payment(row: tuple[Any, ...]) -> OurPayment:
    return OurPayment(
        id=show(Prefix.PAYMENT, row[0]),
        order_id=row[1],
        amount=row[2],
        currency=row[3],
        status=row[4],
        transaction_id=None if row[5] is None else int(row[5]),
        review_reason=row[6],
        refunded=row[7],
    )


def _our_refund(row: tuple[Any, ...]) -> OurRefund:
    return OurRefund(
        id=show(Prefix.REFUND, row[0]),
        payment_id=show(Prefix.PAYMENT, row[1]),
        amount=row[2],
        status=row[3],
        refund_id=None if row[4] is None else int(row[4]),
    )


def _made(row: tuple[str, UUID | None, UUID | None]) -> str:
    _, payment_id, refund_id = row
    if payment_id is not None:
        return show(Prefix.PAYMENT, payment_id)
    return "" if refund_id is None else show(Prefix.REFUND, refund_id)


def read_theirs(book: Mapping[str, Any]) -> Theirs:
    """Read the sandbox's book as its control API shows it."""
    transactions = [_their_transaction(row) for row in book["transactions"]]
    return Theirs(
        transactions={transaction.id: transaction for transaction in transactions},
        refunds=[_their_refund(row) for row in book["refunds"]],
        undelivered=_undelivered(book["deliveries"]),
    )


def _their_transaction(row: Mapping[str, Any]) -> TheirTransaction:
    try:
        payment_id = show(Prefix.PAYMENT, payment_of(row["reference"])[0])
    except MalformedIdError:
        payment_id = None
    return TheirTransaction(
        id=row["id"],
        reference=row["reference"],
        payment_id=payment_id,
        asked=row["requested_amount"],
        amount=row["amount"],
        currency=row["currency"],
        paid=row["paid_at"] is not None,
    )


def _their_refund(row: Mapping[str, Any]) -> TheirRefund:
    transaction = row["transaction"]
    return TheirRefund(
        id=row["id"],
        transaction_id=transaction["id"] if isinstance(transaction, dict) else int(transaction),
        amount=int(row["amount"]),
        status=row["status"],
        note=row["merchant_note"] or "",
    )


def _undelivered(deliveries: Iterable[Mapping[str, Any]]) -> int:
    """Events of which no copy has arrived."""
    arrived: dict[str, bool] = {}
    for row in deliveries:
        event = row["copy_of"] or row["id"]
        arrived[event] = arrived.get(event, False) or row["status"] == "delivered"
    return sum(not some for some in arrived.values())
