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
from domain.ids import reference_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

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
    """A payment as its row holds it. `money` is what was asked for, in subunits."""

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

    @property
    def reference(self) -> str:
        """The Paystack reference of the transaction the customer is sent to."""
        return reference_of(self.id, self.reference_sequence)


class Source(StrEnum):
    """Who told us a fact."""

    CLIENT = "client"
    INITIALIZE = "paystack.initialize"
    VERIFY = "paystack.verify"
    WEBHOOK = "paystack.webhook"


@dataclass(frozen=True, slots=True)
class Initialized:
    """Paystack opened a transaction: the customer can pay at `authorization_url`."""

    reference: str
    access_code: str
    authorization_url: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Paystack would not open a transaction, and would not the next time either."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """Paystack reports money received.

    `asked` is what it says was asked of the customer, `received` what was paid, both in subunits of `currency`, which
    is plain text: Paystack may name one that Payfleet does not know.
    """

    reference: str
    asked: int
    received: int
    currency: str
    transaction_id: int
    paid_at: datetime | None
    instrument: Instrument
    response: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFailed:
    """Paystack reports a charge that did not go through; `reason` is its own free text."""

    reference: str
    reason: str
    transaction_id: int | None


Fact = Initialized | Refused | Charged | ChargeFailed


class FactName(StrEnum):
    """How a change is named on the payment's timeline."""

    ACCEPTED = "payment.accepted"
    INITIALIZED = "payment.initialized"
    SUCCEEDED = "payment.succeeded"
    FAILED = "payment.failed"
    FLAGGED = "payment.flagged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to write for one fact: the payment as it will stand, one line of history, and at most one event.

    `response` is the gateway's answer to keep with the payment, without secrets and personal data.
    """

    name: FactName
    after: Payment
    details: Mapping[str, Any]
    event: EventType | None
    response: Mapping[str, Any] | None = None


def apply(payment: Payment, fact: Fact) -> Change | None:
    """Hold a fact against the payment as it stands.

    Returns:
        The change to write under the payment's lock, or None when the fact is no news.

    """
    match fact:
        case Initialized():
            return _initialized(payment, fact)
        case Refused():
            return _refused(payment, fact)
        case Charged():
            return _charged(payment, fact)
        case ChargeFailed():
            return _charge_failed(payment, fact)
        case _:
            assert_never(fact)


def _initialized(payment: Payment, fact: Initialized) -> Change | None:
    if payment.authorization_url is not None or fact.reference != payment.reference:
        return None
    return Change(
        name=FactName.INITIALIZED,
        after=_next(payment, access_code=fact.access_code, authorization_url=fact.authorization_url),
        details={"reference": fact.reference},
        event=EventType.PAYMENT_INITIATED,
    )


def _refused(payment: Payment, fact: Refused) -> Change | None:
    if payment.status is not _S.PENDING:
        return None
    return Change(
        name=FactName.FAILED,
        after=_next(payment, status=_S.FAILED, failure_code=fact.code, failure_message=fact.message),
        details={"code": fact.code, "message": fact.message},
        event=EventType.PAYMENT_FAILED,
    )


def _charged(payment: Payment, fact: Charged) -> Change | None:
    if payment.gateway_transaction_id == fact.transaction_id and payment.status in PAID:
        return None
    money = payment.money
    if (fact.asked, fact.currency) != (money.amount, money.currency) or fact.received < money.amount:
        details = {"asked": fact.asked, "received": fact.received, "currency": fact.currency}
        return _flag(payment, fact, "amount_mismatch", details)
    if payment.status in PAID:
        return _flag(payment, fact, "paid_twice", {"firstTransactionId": payment.gateway_transaction_id})
    if _S.SUCCESS not in MOVES[payment.status]:
        return _flag(payment, fact, "unexpected_money", {"status": payment.status})
    return Change(
        name=FactName.SUCCEEDED,
        after=_next(
            payment,
            status=_S.SUCCESS,
            gateway_transaction_id=fact.transaction_id,
            instrument=fact.instrument,
            paid_at=fact.paid_at,
            failure_code=None,
            failure_message=None,
        ),
        details={"reference": fact.reference, "transactionId": fact.transaction_id},
        event=EventType.PAYMENT_SUCCEEDED,
        response=fact.response,
    )


def _charge_failed(payment: Payment, fact: ChargeFailed) -> Change | None:
    if _S.FAILED not in MOVES[payment.status] or fact.reference != payment.reference:
        return None
    code = failure_code_of(fact.reason)
    return Change(
        name=FactName.FAILED,
        after=_next(payment, status=_S.FAILED, failure_code=code, failure_message=fact.reason),
        details={"reference": fact.reference, "code": code, "message": fact.reason},
        event=EventType.PAYMENT_FAILED,
    )


def _flag(payment: Payment, fact: Charged, reason: str, details: Mapping[str, Any]) -> Change | None:
    """Hold money that does not fit for a person to look at: never counted as paid, never forgotten."""
    if payment.review_reason == reason:
        return None
    return Change(
        name=FactName.FLAGGED,
        after=_next(payment, review_reason=reason),
        details={
            "reason": reason,
            "reference": fact.reference,
            "transactionId": fact.transaction_id,
            **details,
        },
        event=EventType.PAYMENT_FLAGGED,
    )


def _next(payment: Payment, **columns: Any) -> Payment:
    """Return the payment one version on; a move that `MOVES` does not list is a defect and raises ValueError."""
    status: PaymentStatus = columns.get("status", payment.status)
    if status is not payment.status and status not in MOVES[payment.status]:
        message = f"a payment cannot move from {payment.status} to {status}"
        raise ValueError(message)
    return replace(payment, version=payment.version + 1, **columns)


def failure_code_of(reason: str) -> ErrorCode:
    """Name a decline. Paystack's reasons are free text; only "insufficient funds" is common enough to be told apart."""
    return ErrorCode.INSUFFICIENT_FUNDS if "insufficient funds" in reason.lower() else ErrorCode.PAYMENT_DECLINED
