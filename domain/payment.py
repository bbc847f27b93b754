"""The payment and its state machine: the only place that decides whether a payment's status moves.

A *fact* is something that was learned (the gateway answered, a webhook came). `apply` holds a fact against the payment
as it stands and returns the *change* to write, or nothing when the fact is no news. Facts may come twice, late, out of
order or contradict each other; no fact moves a payment backwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from domain.errors import ErrorCode
from domain.events import EventType
from domain.ids import Prefix, reference_of, show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from domain.method import Authorization
    from domain.money import Money


class PaymentStatus(StrEnum):
    """Where a payment stands."""

    PENDING = "PENDING"
    """Accepted; the customer has not paid yet."""
    PROCESSING = "PROCESSING"
    """The customer acted, and the bank or the mobile network has not answered yet."""
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    """Not final: on the hosted page the customer may try again, and succeed."""
    ABANDONED = "ABANDONED"
    """Given up waiting; not final either."""
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    PARTIALLY_REFUNDED = "PARTIALLY_REFUNDED"


_S = PaymentStatus

MOVES: Mapping[PaymentStatus, frozenset[PaymentStatus]] = {
    _S.PENDING: frozenset({_S.PROCESSING, _S.SUCCESS, _S.FAILED, _S.ABANDONED, _S.CANCELLED}),
    _S.PROCESSING: frozenset({_S.SUCCESS, _S.FAILED, _S.ABANDONED}),
    _S.FAILED: frozenset({_S.SUCCESS}),
    _S.ABANDONED: frozenset({_S.SUCCESS}),
    _S.CANCELLED: frozenset(),
    _S.SUCCESS: frozenset({_S.PARTIALLY_REFUNDED, _S.REFUNDED}),
    # A refund that fails after all gives the money back to the merchant: the payment steps back.
    _S.PARTIALLY_REFUNDED: frozenset({_S.REFUNDED, _S.SUCCESS}),
    _S.REFUNDED: frozenset({_S.PARTIALLY_REFUNDED, _S.SUCCESS}),
}
"""Every move there is; whatever is not listed is refused."""

PAID = frozenset({_S.SUCCESS, _S.PARTIALLY_REFUNDED, _S.REFUNDED})
"""The statuses that say: the customer's money arrived."""

LIVE = frozenset({_S.PENDING, _S.PROCESSING, _S.SUCCESS, _S.PARTIALLY_REFUNDED})
"""The statuses in which a payment holds its order: no other payment of that order is accepted."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the customer paid with, as far as it may be shown. Never a card number, never an authorization code."""

    channel: str | None = None
    card_type: str | None = None
    card_brand: str | None = None
    card_last4: str | None = None
    card_exp_month: int | None = None
    card_exp_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as its row holds it. `money` is what was asked for, in subunits.

    `refunds_reserved` is promised to refunds that have not failed, `refunded` was really given back; both in subunits.
    `verified_at`, `gateway_status` and `verification_error` tell of the newest look at Paystack, which is no change.
    """

    id: UUID
    user_id: str
    order_id: str
    money: Money
    status: PaymentStatus
    version: int
    reference_sequence: int
    created_at: datetime
    access_code: str | None = None
    authorization_url: str | None = None
    gateway_transaction_id: int | None = None
    instrument: Instrument = field(default_factory=Instrument)
    failure_code: str | None = None
    failure_message: str | None = None
    review_reason: str | None = None
    paid_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    expires_at: datetime | None = None
    next_action: Mapping[str, Any] | None = None
    payment_method_id: UUID | None = None
    save_payment_method: bool = False
    refunds_reserved: int = 0
    refunded: int = 0
    flagged_transactions: tuple[int, ...] = ()
    verified_at: datetime | None = None
    gateway_status: str | None = None
    verification_error: str | None = None

    @property
    def refundable(self) -> int:
        """What may still be given back, in subunits."""
        return self.money.amount - self.refunds_reserved if self.status in PAID else 0

    @property
    def reference(self) -> str:
        """The Paystack reference of the transaction the customer is sent to."""
        return reference_of(self.id, self.reference_sequence)


class Source(StrEnum):
    """Who told us a fact."""

    CLIENT = "client"
    PAYFLEET = "payfleet"
    """A rule of Payfleet's own, such as a refund of money that came twice."""
    USER_SERVICE = "user_service"
    ORDER_SERVICE = "order_service"
    INITIALIZE = "paystack.initialize"
    CHARGE = "paystack.charge"
    VERIFY = "paystack.verify"
    REFUND = "paystack.refund"
    WEBHOOK = "paystack.webhook"


@dataclass(frozen=True, slots=True)
class Initialized:
    """Paystack opened a transaction: the customer can pay at `authorization_url`."""

    reference: str
    access_code: str
    authorization_url: str


@dataclass(frozen=True, slots=True)
class Challenged:
    """Charging a saved method needs the customer: at `authorization_url` if there is one, else as `action` says.

    `action` is Paystack's word for it (open_url, send_otp, …) and `message` its text for the customer.
    """

    reference: str
    action: str
    message: str | None = None
    access_code: str | None = None
    authorization_url: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It was never sent to Paystack, or Paystack would not open it; the next time would end the same way."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """Paystack reports money received.

    `asked` is what it says was asked of the customer, `received` what was paid, both in subunits of `currency`, which
    is plain text: Paystack may name one that Payfleet does not know. `reversed` says that the money has left again.
    `authorization` is what the customer could be charged with again.
    """

    reference: str
    asked: int
    received: int
    currency: str
    transaction_id: int
    paid_at: datetime | None
    instrument: Instrument
    response: Mapping[str, Any]
    reversed: bool = False
    authorization: Authorization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFailed:
    """Paystack reports a charge that did not go through; `reason` is its own free text."""

    reference: str
    reason: str
    transaction_id: int | None


@dataclass(frozen=True, slots=True)
class InProgress:
    """The customer acted, and the outcome is not known yet."""

    reference: str


@dataclass(frozen=True, slots=True)
class NotPaid:
    """Nobody has paid so far; `expired` when the customer has had all the time there is."""

    reference: str
    expired: bool


Fact = Initialized | Challenged | Refused | Charged | ChargeFailed | InProgress | NotPaid


class FactName(StrEnum):
    """How a change is named on the payment's timeline."""

    ACCEPTED = "payment.accepted"
    INITIALIZED = "payment.initialized"
    CHALLENGED = "payment.challenged"
    PROCESSING = "payment.processing"
    SUCCEEDED = "payment.succeeded"
    FAILED = "payment.failed"
    ABANDONED = "payment.abandoned"
    DUPLICATE = "payment.duplicate"
    FLAGGED = "payment.flagged"
    REFUND_REQUESTED = "refund.requested"
    REFUND_PROCESSING = "refund.processing"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    REFUND_NEEDS_ATTENTION = "refund.needs_attention"


class ReviewReason(StrEnum):
    """Why a person should look at a payment."""

    AMOUNT_MISMATCH = "amount_mismatch"
    PAID_TWICE = "paid_twice"
    DUPLICATE_ORDER = "duplicate_order"
    REVERSED = "reversed"
    UNEXPECTED_MONEY = "unexpected_money"
    REFUND_CONTRADICTED = "refund_contradicted"
    """Paystack pays out a refund that it had failed or refused."""
    REFUND_MISMATCH = "refund_mismatch"
    """Paystack tells of another amount or currency than the refund's."""
    REFUND_UNSETTLED = "refund_unsettled"
    """Whether Paystack has a refund could not be found out, and it may not be sent again by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to write for one fact: the payment as it will stand, one line of history, and at most one event.

    `response` is the gateway's answer to keep with the payment, without secrets and personal data. `surplus` is money
    that came on top, as Paystack reports it.
    """

    name: FactName
    after: Payment
    details: Mapping[str, Any]
    event: EventType | None
    response: Mapping[str, Any] | None = None
    surplus: Charged | None = None


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
