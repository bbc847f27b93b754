"""The payment: its statuses, what can be learned about it, and what a change of it consists of.

A *fact* is something that was learned (the gateway answered, a webhook came). `domain/state_machine.py` holds facts
against payments as they stand; facts may come twice, late, out of order or contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from domain.errors import ErrorCode
from domain.events import EventType
from domain.ids import reference_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta
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

UNDECIDED = frozenset({_S.PENDING, _S.PROCESSING})
"""The statuses of a payment whose customer may be about to pay: Paystack is asked about it from time to time."""

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

    @property
    def patience(self) -> timedelta:
        """The time its customer has from its creation."""
        return (self.expires_at or self.created_at) - self.created_at


class Source(StrEnum):
    """Who told us a fact."""

    CLIENT = "client"
    PAYFLEET = "payfleet"
    """A rule of Payfleet's own, such as a refund of money that came twice."""
    OPERATOR = "operator"
    """A person who runs Payfleet, at its command line."""
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
