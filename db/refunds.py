"""Refunds: promised under their payment's lock, and what is known of the calls that send them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from db import payments
from db.jobs import NewJob, enqueue_jobs
from db.payments import SourcedChange
from domain.events import EventType
from domain.jobs import JobKind, dedupe_key
from domain.money import Currency, Money
from domain.refund import Refund, RefundChange, RefundStatus, open_refund
from domain.rendering import render_refund_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from db.connection import Connection
    from domain.payment import Payment, Source

_INSERT = """
INSERT INTO refunds (id, payment_id, amount, currency, reason, metadata, requested_by, gateway_transaction_id,
    is_surplus, created_at, updated_at)
SELECT payfleet_uuid7(at), %(payment_id)s, %(amount)s, %(currency)s, %(reason)s, %(metadata)s, %(requested_by)s,
    %(gateway_transaction_id)s, %(is_surplus)s, at, at
FROM (SELECT payfleet_now() AS at) AS clock
RETURNING id, created_at
"""
_COLUMNS = """
    id, payment_id, amount, currency, status, version, requested_by, gateway_transaction_id, created_at, reason,
    metadata, is_surplus, gateway_refund_id, failure_code, failure_message, processed_at
"""
_GET = f"SELECT {_COLUMNS} FROM refunds WHERE id = ANY(%(ids)s::uuid[])"  # noqa: S608 - made of constants
_GET_AT_GATEWAY = f"SELECT {_COLUMNS} FROM refunds WHERE gateway_refund_id = ANY(%(numbers)s::numeric[])"  # noqa: S608 - too
_GET_OF_PAYMENTS = f"SELECT {_COLUMNS} FROM refunds WHERE payment_id = ANY(%(ids)s::uuid[]) ORDER BY payment_id, id"  # noqa: S608 - too
_GET_SENDINGS = f"SELECT {_COLUMNS}, is_unsettled, sent_at, searches FROM refunds WHERE id = ANY(%(ids)s::uuid[])"  # noqa: S608 - too
_GET_UNSETTLED = """
SELECT gateway_transaction_id, id, sent_at FROM refunds
WHERE gateway_transaction_id = ANY(%(transactions)s::numeric[]) AND is_unsettled
"""
_MARK_SENT = """
UPDATE refunds SET is_unsettled = true, sent_at = payfleet_now(), searches = 0, updated_at = payfleet_now()
WHERE id = ANY(%(ids)s::uuid[])
"""
_MARK_NOT_SENT = "UPDATE refunds SET is_unsettled = false, updated_at = payfleet_now() WHERE id = ANY(%(ids)s::uuid[])"
_MARK_SEARCHED = "UPDATE refunds SET searches = searches + 1 WHERE id = ANY(%(ids)s::uuid[])"
_WRITE = """
UPDATE refunds r SET status = c.status, version = c.version, gateway_refund_id = c.gateway_refund_id,
    gateway_response = coalesce(c.gateway_response, r.gateway_response), failure_code = c.failure_code,
    failure_message = c.failure_message, processed_at = c.processed_at,
    -- Whatever is known of a refund settles the call that sent it.
    is_unsettled = r.is_unsettled AND c.status = 'PENDING', updated_at = payfleet_now()
FROM (
    SELECT DISTINCT ON (id) * FROM jsonb_to_recordset(%(changes)s) AS given (
        id uuid, status refund_status, version integer, gateway_refund_id numeric, gateway_response jsonb,
        failure_code text, failure_message text, processed_at timestamptz)
    ORDER BY id, version DESC
) c
WHERE r.id = ANY(%(ids)s::uuid[]) AND r.id = c.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefund:
    """A refund to accept: checked against its payment, not stored yet.

    `surplus_transaction_id` is the second transaction of a payment, where it is that one's money that goes back.
    """

    amount: int
    requested_by: str
    reason: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    surplus_transaction_id: int | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """A refund, how the newest call that sends it stands, and how often it was searched for in vain since."""

    refund: Refund
    is_unsettled: bool
    sent_at: datetime | None
    searches: int


@dataclass(frozen=True, slots=True)
class UnsettledRefund:
    """The refund of a transaction whose call may be under way, or was lost."""

    refund_id: UUID
    sent_at: datetime


def accept_refund(
    tx: Connection, payment: Payment, new: NewRefund, *, source: Source, correlation_id: str
) -> RefundChange:
    """Store a refund with the job that sends it, and promise its money; `payment` is locked in this transaction."""
    is_surplus = new.surplus_transaction_id is not None
    transaction_id = new.surplus_transaction_id if is_surplus else payment.gateway_transaction_id
    if transaction_id is None:
        message = "a payment without a transaction has no money to give back"
        raise ValueError(message)
    parameters = {
        "payment_id": payment.id,
        "amount": new.amount,
        "currency": payment.money.currency,
        "reason": new.reason,
        "metadata": Jsonb(new.metadata),
        "requested_by": new.requested_by,
        "gateway_transaction_id": transaction_id,
        "is_surplus": is_surplus,
    }
    ((refund_id, created_at),) = tx.execute(_INSERT, parameters).fetchall()
    refund = Refund(
        id=refund_id,
        payment_id=payment.id,
        money=Money(new.amount, payment.money.currency),
        status=RefundStatus.PENDING,
        version=1,
        requested_by=new.requested_by,
        gateway_transaction_id=transaction_id,
        created_at=created_at,
        reason=new.reason,
        metadata=new.metadata,
        is_surplus=is_surplus,
    )
    change = open_refund(payment, refund)
    payments.write_changes(tx, [sourced(change, source, correlation_id)])
    enqueue_jobs(tx, [refund_job(JobKind.SEND_REFUND, refund, correlation_id, job_id=refund.id)])
    return change


def sourced(change: RefundChange, source: Source, correlation_id: str) -> SourcedChange:
    """Take the change of a refund's payment, to be told as an event about the refund; a flag tells of the payment."""
    is_flag = change.payment.event is EventType.PAYMENT_FLAGGED
    event_data = None if is_flag else render_refund_event(change.after, change.payment.after)
    return SourcedChange(change.payment, source, correlation_id, event_data)


def refund_job(
    kind: JobKind, refund: Refund, correlation_id: str, *, job_id: UUID | None = None, delay_seconds: float = 0.0
) -> NewJob:
    """Name the one live job of its kind that a refund may have."""
    return NewJob(
        kind=kind,
        payload={"payment_id": str(refund.payment_id), "refund_id": str(refund.id)},
        correlation_id=correlation_id,
        id=job_id,
        dedupe_key=dedupe_key(kind, refund.id),
        delay_seconds=delay_seconds,
    )


def get_refund(connection: Connection, refund_id: UUID) -> Refund | None:
    """Read one refund."""
    return get_refunds(connection, [refund_id]).get(refund_id)


def get_refunds(connection: Connection, ids: Iterable[UUID]) -> dict[UUID, Refund]:
    """Read refunds; those that do not exist are missing from the answer."""
    return {row[0]: _refund(row) for row in connection.execute(_GET, {"ids": list(ids)}).fetchall()}


def get_refunds_at_gateway(connection: Connection, numbers: Iterable[int]) -> dict[int, Refund]:
    """Read refunds by Paystack's numbers for them; numbers that are no refund of ours are missing from the answer."""
    found = [_refund(row) for row in connection.execute(_GET_AT_GATEWAY, {"numbers": list(numbers)}).fetchall()]
    return {refund.gateway_refund_id: refund for refund in found if refund.gateway_refund_id is not None}


def get_refunds_of(connection: Connection, payment_ids: Iterable[UUID]) -> list[Refund]:
    """Read the refunds of payments, oldest first."""
    rows = connection.execute(_GET_OF_PAYMENTS, {"ids": list(payment_ids)}).fetchall()
    return [_refund(row) for row in rows]


def get_sendings(tx: Connection, ids: Iterable[UUID]) -> dict[UUID, Sending]:
    """Read refunds and how their calls stand; their payments are locked in this transaction."""
    rows = tx.execute(_GET_SENDINGS, {"ids": list(ids)}).fetchall()
    return {row[0]: Sending(_refund(row), *row[-3:]) for row in rows}


def get_unsettled(tx: Connection, transactions: Iterable[int]) -> dict[int, UnsettledRefund]:
    """Find the one refund of each transaction whose call may be under way, or was lost."""
    rows = tx.execute(_GET_UNSETTLED, {"transactions": list(transactions)}).fetchall()
    return {int(row[0]): UnsettledRefund(*row[1:]) for row in rows}


def mark_sent(tx: Connection, ids: Sequence[UUID]) -> None:
    """Record that refunds will be sent now; to be committed before they are."""
    tx.execute(_MARK_SENT, {"ids": ids})


def mark_not_sent(tx: Connection, ids: Sequence[UUID]) -> None:
    """Record that Paystack has not got these refunds: they may be sent (again)."""
    tx.execute(_MARK_NOT_SENT, {"ids": ids})


def mark_searched(tx: Connection, ids: Sequence[UUID]) -> None:
    """Count one more search of Paystack's list that did not find these refunds."""
    tx.execute(_MARK_SEARCHED, {"ids": ids})


def write_refunds(tx: Connection, changes: Sequence[RefundChange]) -> None:
    """Write refunds as they stand after their changes; those of their payments are written by `write_changes`."""
    if changes:
        records = [_record(change) for change in changes]
        tx.execute(_WRITE, {"ids": [change.after.id for change in changes], "changes": Jsonb(records)})


def _record(change: RefundChange) -> dict[str, Any]:
    after = change.after
    return {
        "id": after.id,
        "status": after.status,
        "version": after.version,
        "gateway_refund_id": after.gateway_refund_id,
        "gateway_response": change.response,
        "failure_code": after.failure_code,
        "failure_message": after.failure_message,
        "processed_at": after.processed_at,
    }


def _refund(row: tuple[Any, ...]) -> Refund:
    return Refund(
        id=row[0],
        payment_id=row[1],
        money=Money(row[2], Currency(row[3])),
        status=RefundStatus(row[4]),
        version=row[5],
        requested_by=row[6],
        gateway_transaction_id=int(row[7]),
        created_at=row[8],
        reason=row[9],
        metadata=row[10],
        is_surplus=row[11],
        gateway_refund_id=None if row[12] is None else int(row[12]),
        failure_code=row[13],
        failure_message=row[14],
        processed_at=row[15],
    )
