"""Payments: accepted in one statement, changed under their lock, each change with its history line and its event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb

from db.cache import CacheKind, Stale
from db.orders import release_orders
from domain.errors import PayfleetError
from domain.jobs import QUEUE_OF, JobKind
from domain.money import Currency, Money
from domain.payment import LIVE, Change, FactName, Instrument, Payment, PaymentStatus, Source
from domain.rendering import render_payment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from uuid import UUID

    from db.connection import Connection

# One round trip, one commit: the key, the order, the payment, the first line of its history and the job that will serve
# it, which bears the payment's id. Nothing is inserted when the key is taken, or when the currency does not take this
# amount; an order that has a live payment already breaks the whole statement.
_ACCEPT = """
WITH fresh AS MATERIALIZED (
    SELECT at, payfleet_uuid7(at) AS payment_id
    FROM (SELECT payfleet_now() AS at) AS clock
    WHERE EXISTS (
        SELECT FROM supported_currencies
        WHERE code = %(currency)s AND is_active AND %(amount)s BETWEEN min_amount AND max_amount
    )
), claimed AS (
    INSERT INTO idempotency_keys (caller, key, fingerprint, payment_id, created_at)
    SELECT %(caller)s, %(key)s, %(fingerprint)s, payment_id, at FROM fresh WHERE %(key)s::text IS NOT NULL
    ON CONFLICT (caller, key) DO NOTHING
    RETURNING payment_id
), accepted AS (
    INSERT INTO payments (id, user_id, order_id, amount, currency, email_sealed, channels, callback_url, metadata,
        payment_method_id, save_payment_method, created_at, updated_at, expires_at)
    SELECT payment_id, %(user_id)s, %(order_id)s, %(amount)s, %(currency)s, %(email_sealed)s, %(channels)s,
        %(callback_url)s, %(metadata)s, %(payment_method_id)s, %(save_payment_method)s, at, at, at + %(patience)s
    FROM fresh WHERE %(key)s::text IS NULL OR EXISTS (SELECT FROM claimed)
    RETURNING id, created_at, expires_at
), live AS (
    INSERT INTO live_orders (order_id, payment_id, look_at)
    SELECT %(order_id)s, id, created_at + %(first_look)s FROM accepted
), history AS (
    INSERT INTO payment_history (payment_id, version, fact, status, source, correlation_id, created_at)
    SELECT id, 1, %(fact)s, 'PENDING', %(source)s, %(correlation_id)s, created_at FROM accepted
), job AS (
    INSERT INTO jobs (id, kind, queue, payload, run_at, correlation_id, trace_context, created_at)
    SELECT id, %(job_kind)s, %(job_queue)s, jsonb_build_object('payment_id', id), created_at,
        %(correlation_id)s, %(trace_context)s, created_at
    FROM accepted
)
SELECT id, created_at, expires_at FROM accepted
"""
COLUMNS = """
    p.id, p.user_id, p.order_id, p.amount, p.currency, p.status, p.version, p.reference_sequence, p.created_at,
    p.access_code, p.authorization_url, p.gateway_transaction_id, p.channel, p.card_type, p.card_brand, p.card_last4,
    p.card_exp_month, p.card_exp_year, p.failure_code, p.failure_message, p.review_reason, p.paid_at, p.metadata,
    p.expires_at, p.next_action, p.payment_method_id, p.save_payment_method, p.refunds_reserved, p.refunded,
    p.flagged_transactions, p.verified_at, p.gateway_status, p.verification_error
"""
_GET = f"SELECT {COLUMNS} FROM payments p WHERE p.id = %(id)s"  # noqa: S608 - made of constants
# With their span beside them, a prepared plan looks only into the partitions that sorted ids can be in. (A join to
# unnest finds the partitions too, but its plan walks whole indexes if it was made while they were empty.)
_AMONG_SORTED = """
p.id = ANY(%(ids)s::uuid[])
AND p.id >= (%(ids)s::uuid[])[1] AND p.id <= (%(ids)s::uuid[])[cardinality(%(ids)s::uuid[])]
"""
_GET_MANY = f"SELECT {COLUMNS} FROM payments p WHERE {_AMONG_SORTED}"  # noqa: S608 - too
_LOCK_MANY = f"{_GET_MANY} ORDER BY p.id FOR UPDATE OF p"
_GET_ORDERS = f"SELECT p.id, p.email_sealed, p.channels, p.callback_url FROM payments p WHERE {_AMONG_SORTED}"  # noqa: S608 - too
_NEXT_REFERENCE = """
UPDATE payments SET reference_sequence = reference_sequence + 1, updated_at = payfleet_now()
WHERE id = %(id)s AND reference_sequence = %(sequence)s AND authorization_url IS NULL
"""
_WRITE_CHANGES = f"""
WITH change AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(changes)s) AS c (
        id uuid, status payment_status, version integer, access_code text, authorization_url text,
        gateway_transaction_id numeric, gateway_response jsonb, channel text, card_type text, card_brand text,
        card_last4 text, card_exp_month smallint, card_exp_year smallint, failure_code text, failure_message text,
        review_reason text, paid_at timestamptz, next_action jsonb, refunds_reserved bigint, refunded bigint,
        flagged_transactions jsonb,
        fact text, source text, details jsonb, correlation_id text, event text, data jsonb)
), moved AS (
    UPDATE payments p SET status = c.status, version = c.version, access_code = c.access_code,
        authorization_url = c.authorization_url, gateway_transaction_id = c.gateway_transaction_id,
        gateway_response = coalesce(c.gateway_response, p.gateway_response), channel = c.channel,
        card_type = c.card_type, card_brand = c.card_brand, card_last4 = c.card_last4,
        card_exp_month = c.card_exp_month, card_exp_year = c.card_exp_year, failure_code = c.failure_code,
        failure_message = c.failure_message, review_reason = c.review_reason, next_action = c.next_action,
        refunds_reserved = c.refunds_reserved, refunded = c.refunded, flagged_transactions = c.flagged_transactions,
        -- Some answers about paid transactions carry no time: then it is when we heard of it.
        paid_at = CASE WHEN c.status = 'SUCCESS' THEN coalesce(c.paid_at, payfleet_now()) ELSE c.paid_at END,
        updated_at = payfleet_now()
    -- Several changes of one payment are several lines of history; its row takes the newest.
    FROM (SELECT DISTINCT ON (id) * FROM change ORDER BY id, version DESC) c WHERE p.id = c.id AND {_AMONG_SORTED}
), history AS (
    INSERT INTO payment_history (payment_id, version, fact, status, source, details, correlation_id, created_at)
    SELECT id, version, fact, status, source, details, correlation_id, payfleet_now() FROM change
)
INSERT INTO events (id, type, subject, data, correlation_id, created_at)
SELECT payfleet_uuid7(payfleet_now()), event, id, data, correlation_id, payfleet_now()
FROM change WHERE event IS NOT NULL
"""  # noqa: S608 - too


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """A payment to accept: checked, its e-mail address sealed, not stored yet.

    `patience` is the time its customer has, `first_look` when Paystack is first asked about it without being asked.
    """

    user_id: str
    order_id: str
    money: Money
    email_sealed: bytes
    channels: Sequence[str]
    callback_url: str | None
    metadata: Mapping[str, Any]
    patience: timedelta
    first_look: timedelta
    payment_method_id: UUID | None = None
    save_payment_method: bool = False


class LiveOrderError(PayfleetError):
    """The order has a payment already that waits for its customer, or has paid it."""


@dataclass(frozen=True, slots=True)
class OrderDetails:
    """What initialization needs beyond the payment itself."""

    email_sealed: bytes
    channels: Sequence[str]
    callback_url: str | None


def accept_payment(
    connection: Connection,
    *,
    new: NewPayment,
    caller: str,
    key: str | None,
    fingerprint: bytes,
    correlation_id: str,
    trace_context: str | None,
) -> Payment | None:
    """Store a payment with its job, its history and its idempotency key, all or nothing.

    Returns:
        The payment, or None when nothing was stored: the caller used the key before, or the currency is not active
        or does not take this amount (`get_idempotency_key` and `get_currency_limits` tell which).

    Raises:
        LiveOrderError: the order has a live payment (`db.orders.get_live_payment` tells which).
        ContendedError: a request with the same key, or for the same order, has been under way for too long.

    """
    kind = JobKind.INITIALIZE_PAYMENT if new.payment_method_id is None else JobKind.CHARGE_PAYMENT_METHOD
    parameters = {
        "caller": caller,
        "key": key,
        "fingerprint": fingerprint,
        "user_id": new.user_id,
        "order_id": new.order_id,
        "amount": new.money.amount,
        "currency": new.money.currency,
        "email_sealed": new.email_sealed,
        "channels": list(new.channels),
        "callback_url": new.callback_url,
        "metadata": Jsonb(new.metadata),
        "patience": new.patience,
        "first_look": new.first_look,
        "payment_method_id": new.payment_method_id,
        "save_payment_method": new.save_payment_method,
        "fact": FactName.ACCEPTED,
        "source": Source.CLIENT,
        "job_kind": kind,
        "job_queue": QUEUE_OF[kind],
        "correlation_id": correlation_id,
        "trace_context": trace_context,
    }
    try:
        row = connection.execute(_ACCEPT, parameters).fetchone()
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "live_orders_pkey":
            raise LiveOrderError(new.order_id) from None
        raise
    if row is None:
        return None
    connection.stale.add(Stale(CacheKind.HISTORY, new.user_id))
    return Payment(
        id=row[0],
        user_id=new.user_id,
        order_id=new.order_id,
        money=new.money,
        status=PaymentStatus.PENDING,
        version=1,
        reference_sequence=1,
        created_at=row[1],
        metadata=new.metadata,
        expires_at=row[2],
        payment_method_id=new.payment_method_id,
        save_payment_method=new.save_payment_method,
    )


def get_payment(connection: Connection, payment_id: UUID) -> Payment | None:
    """Read one payment by its primary key."""
    row = connection.execute(_GET, {"id": payment_id}).fetchone()
    return None if row is None else payment_of_row(row)


def get_payments(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Payment]:
    """Read payments; those that do not exist are missing from the answer."""
    return {row[0]: payment_of_row(row) for row in connection.execute(_GET_MANY, {"ids": sorted(ids)}).fetchall()}


def lock_payments(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Payment]:
    """Read payments and lock them until the transaction ends, by ascending id, so that batches cannot deadlock."""
    return {row[0]: payment_of_row(row) for row in tx.execute(_LOCK_MANY, {"ids": sorted(set(ids))}).fetchall()}


def get_order_details(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, OrderDetails]:
    """Read what initialization sends to Paystack beside amount and reference."""
    rows = connection.execute(_GET_ORDERS, {"ids": sorted(ids)}).fetchall()
    return {row[0]: OrderDetails(bytes(row[1]), row[2], row[3]) for row in rows}


def take_next_reference(tx: Connection, payment: Payment) -> None:
    """Give up the payment's reference for a new one: Paystack holds a transaction under it whose URL is lost."""
    tx.execute(_NEXT_REFERENCE, {"id": payment.id, "sequence": payment.reference_sequence})


@dataclass(frozen=True, slots=True)
class SourcedChange:
    """A change with who told it and in answer to which request; `event_data` where the event shows not the payment."""

    change: Change
    source: Source
    correlation_id: str
    event_data: Mapping[str, Any] | None = None


def write_changes(tx: Connection, changes: Sequence[SourcedChange]) -> None:
    """Write the changes of payments locked in this transaction, each with its history line and its event.

    Several changes of one payment come in their order.
    """
    if not changes:
        return
    ids = sorted({sourced.change.after.id for sourced in changes})
    tx.execute(_WRITE_CHANGES, {"ids": ids, "changes": Jsonb(_records(changes))})
    tx.stale.update(Stale(CacheKind.HISTORY, sourced.change.after.user_id) for sourced in changes)
    # As they stand in the end: one that failed and succeeded within a batch keeps the order it has paid.
    standing = {sourced.change.after.id: sourced.change.after for sourced in changes}
    over = [payment for payment in standing.values() if payment.status not in LIVE]
    if over:
        release_orders(tx, over)


def _records(changes: Sequence[SourcedChange]) -> list[dict[str, Any]]:
    """Make the rows to write; a change that brings no answer of the gateway's keeps the one before it in the batch."""
    responses: dict[UUID, Mapping[str, Any]] = {}
    for sourced in changes:
        if sourced.change.response is not None:
            responses[sourced.change.after.id] = sourced.change.response
    return [_record(sourced, responses.get(sourced.change.after.id)) for sourced in changes]


def _record(sourced: SourcedChange, response: Mapping[str, Any] | None) -> dict[str, Any]:
    change, after = sourced.change, sourced.change.after
    instrument = after.instrument
    return {
        "id": after.id,
        "status": after.status,
        "version": after.version,
        "access_code": after.access_code,
        "authorization_url": after.authorization_url,
        "gateway_transaction_id": after.gateway_transaction_id,
        "gateway_response": response,
        "channel": instrument.channel,
        "card_type": instrument.card_type,
        "card_brand": instrument.card_brand,
        "card_last4": instrument.card_last4,
        "card_exp_month": instrument.card_exp_month,
        "card_exp_year": instrument.card_exp_year,
        "failure_code": after.failure_code,
        "failure_message": after.failure_message,
        "review_reason": after.review_reason,
        "paid_at": after.paid_at,
        "next_action": after.next_action,
        "refunds_reserved": after.refunds_reserved,
        "refunded": after.refunded,
        "flagged_transactions": after.flagged_transactions,
        "fact": change.name,
        "source": sourced.source,
        "details": change.details,
        "correlation_id": sourced.correlation_id,
        "event": change.event,
        "data": None if change.event is None else sourced.event_data or render_payment(after),
    }


def payment_of_row(row: tuple[Any, ...]) -> Payment:
    return Payment(
        id=row[0],
        user_id=row[1],
        order_id=row[2],
        money=Money(row[3], Currency(row[4])),
        status=PaymentStatus(row[5]),
        version=row[6],
        reference_sequence=row[7],
        created_at=row[8],
        access_code=row[9],
        authorization_url=row[10],
        gateway_transaction_id=None if row[11] is None else int(row[11]),
        instrument=Instrument(*row[12:18]),
        failure_code=row[18],
        failure_message=row[19],
        review_reason=row[20],
        paid_at=row[21],
        metadata=row[22],
        expires_at=row[23],
        next_action=row[24],
        payment_method_id=row[25],
        save_payment_method=row[26],
        refunds_reserved=row[27],
        refunded=row[28],
        flagged_transactions=tuple(row[29]),
        verified_at=row[30],
        gateway_status=row[31],
        verification_error=row[32],
    )
