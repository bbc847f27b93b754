"""The payment's state machine: the only place that decides whether a payment's status moves.

`apply` holds a fact against the payment as it stands and returns the *change* to write, or nothing when the fact is no
news. No fact moves a payment backwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, assert_never

from domain.errors import ErrorCode
from domain.events import EventType
from domain.ids import Prefix, show
from domain.payment import (
    MOVES,
    PAID,
    Challenged,
    Change,
    Charged,
    ChargeFailed,
    Fact,
    FactName,
    Initialized,
    InProgress,
    NotPaid,
    Payment,
    PaymentStatus,
    Refused,
    ReviewReason,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

_S = PaymentStatus


def apply(payment: Payment, fact: Fact, *, order_paid_by: UUID | None = None) -> Change | None:
    """Hold a fact against the payment as it stands.

    Args:
        payment: as it stands, locked.
        fact: what was learned.
        order_paid_by: another payment that has paid the same order already.

    Returns:
        The change to write under the payment's lock, or None when the fact is no news.

    """
    match fact:
        case Initialized():
            return _initialized(payment, fact)
        case Challenged():
            return _challenged(payment, fact)
        case Refused():
            return _refused(payment, fact)
        case Charged():
            return _charged(payment, fact, order_paid_by)
        case ChargeFailed():
            return _charge_failed(payment, fact)
        case InProgress():
            return _in_progress(payment, fact)
        case NotPaid():
            return _not_paid(payment, fact)
        case _:
            assert_never(fact)


def _initialized(payment: Payment, fact: Initialized) -> Change | None:
    if payment.authorization_url is not None or fact.reference != payment.reference:
        return None
    return Change(
        name=FactName.INITIALIZED,
        after=next_version(payment, access_code=fact.access_code, authorization_url=fact.authorization_url),
        details={"reference": fact.reference},
        event=EventType.PAYMENT_INITIATED,
    )


def _challenged(payment: Payment, fact: Challenged) -> Change | None:
    if payment.status is not _S.PENDING or payment.next_action is not None or fact.reference != payment.reference:
        return None
    next_action = {"type": fact.action, "message": fact.message}
    columns: dict[str, Any] = {"next_action": next_action}
    if fact.authorization_url is not None and fact.access_code is not None:
        columns |= {"access_code": fact.access_code, "authorization_url": fact.authorization_url}
    return Change(
        name=FactName.CHALLENGED,
        after=next_version(payment, **columns),
        details={"reference": fact.reference, **next_action},
        event=EventType.PAYMENT_INITIATED,
    )


def _refused(payment: Payment, fact: Refused) -> Change | None:
    if payment.status is not _S.PENDING:
        return None
    return Change(
        name=FactName.FAILED,
        after=next_version(payment, status=_S.FAILED, failure_code=fact.code, failure_message=fact.message),
        details={"code": fact.code, "message": fact.message},
        event=EventType.PAYMENT_FAILED,
    )


def _charged(payment: Payment, fact: Charged, order_paid_by: UUID | None) -> Change | None:
    if payment.gateway_transaction_id == fact.transaction_id and payment.status in PAID:
        return _reversed(payment, fact)
    money = payment.money
    if (fact.asked, fact.currency) != (money.amount, money.currency) or fact.received < money.amount:
        details = {"asked": fact.asked, "received": fact.received, "currency": fact.currency}
        return _flag(payment, fact, ReviewReason.AMOUNT_MISMATCH, details)
    if payment.status in PAID:
        details = {"firstTransactionId": payment.gateway_transaction_id}
        return _flag(payment, fact, ReviewReason.PAID_TWICE, details, surplus=fact)
    if _S.SUCCESS not in MOVES[payment.status]:
        return _flag(payment, fact, ReviewReason.UNEXPECTED_MONEY, {"status": payment.status})
    return _succeeded(payment, fact, order_paid_by)


def _succeeded(payment: Payment, fact: Charged, order_paid_by: UUID | None) -> Change:
    details: dict[str, Any] = {"reference": fact.reference, "transactionId": fact.transaction_id}
    name, event, reason = FactName.SUCCEEDED, EventType.PAYMENT_SUCCEEDED, payment.review_reason
    if order_paid_by is not None:
        # The money is there, and the order has been paid before: nobody may take this for its payment.
        name, event, reason = FactName.DUPLICATE, EventType.PAYMENT_DUPLICATE, ReviewReason.DUPLICATE_ORDER
        details["orderPaidBy"] = show(Prefix.PAYMENT, order_paid_by)
    elif fact.reversed:
        reason = ReviewReason.REVERSED
    after = next_version(
        payment,
        status=_S.SUCCESS,
        gateway_transaction_id=fact.transaction_id,
        instrument=fact.instrument,
        paid_at=fact.paid_at,
        failure_code=None,
        failure_message=None,
        next_action=None,
        review_reason=reason,
    )
    return Change(name=name, after=after, details=details, event=event, response=fact.response)


def _reversed(payment: Payment, fact: Charged) -> Change | None:
    """Notice money that left again without a refund of ours: a chargeback, or a refund made in Paystack's dashboard."""
    if not fact.reversed or payment.refunds_reserved:
        return None
    return _flag(payment, fact, ReviewReason.REVERSED, {})


def _charge_failed(payment: Payment, fact: ChargeFailed) -> Change | None:
    if _S.FAILED not in MOVES[payment.status] or fact.reference != payment.reference:
        return None
    code = failure_code_of(fact.reason)
    return Change(
        name=FactName.FAILED,
        after=next_version(payment, status=_S.FAILED, failure_code=code, failure_message=fact.reason, next_action=None),
        details={"reference": fact.reference, "code": code, "message": fact.reason},
        event=EventType.PAYMENT_FAILED,
    )


def _in_progress(payment: Payment, fact: InProgress) -> Change | None:
    if payment.status is not _S.PENDING or fact.reference != payment.reference:
        return None
    after = next_version(payment, status=_S.PROCESSING, next_action=None)
    return Change(name=FactName.PROCESSING, after=after, details={"reference": fact.reference}, event=None)


def _not_paid(payment: Payment, fact: NotPaid) -> Change | None:
    if not fact.expired or _S.ABANDONED not in MOVES[payment.status] or fact.reference != payment.reference:
        return None
    return Change(
        name=FactName.ABANDONED,
        after=next_version(payment, status=_S.ABANDONED, next_action=None),
        details={"reference": fact.reference},
        event=EventType.PAYMENT_ABANDONED,
    )


def _flag(
    payment: Payment, fact: Charged, reason: ReviewReason, details: Mapping[str, Any], surplus: Charged | None = None
) -> Change | None:
    """Hold money that does not fit for a person to look at: never counted as paid, never forgotten."""
    if fact.transaction_id in payment.flagged_transactions:
        return None
    flagged = (*payment.flagged_transactions, fact.transaction_id)
    return Change(
        name=FactName.FLAGGED,
        after=next_version(payment, review_reason=reason, flagged_transactions=flagged),
        details={"reason": reason, "reference": fact.reference, "transactionId": fact.transaction_id, **details},
        event=EventType.PAYMENT_DUPLICATE if surplus else EventType.PAYMENT_FLAGGED,
        surplus=surplus,
    )


def next_version(payment: Payment, **columns: Any) -> Payment:
    """Return the payment one version on; a move that `MOVES` does not list is a defect and raises ValueError."""
    status: PaymentStatus = columns.get("status", payment.status)
    if status is not payment.status and status not in MOVES[payment.status]:
        message = f"a payment cannot move from {payment.status} to {status}"
        raise ValueError(message)
    return replace(payment, version=payment.version + 1, **columns)


def failure_code_of(reason: str) -> ErrorCode:
    """Name a decline. Paystack's reasons are free text; only "insufficient funds" is common enough to be told apart."""
    return ErrorCode.INSUFFICIENT_FUNDS if "insufficient funds" in reason.lower() else ErrorCode.PAYMENT_DECLINED
