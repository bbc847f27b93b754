"""The refund and its state machine. A refund's news changes its payment too; both changes are decided here together.

Paystack's states: https://paystack.com/docs/payments/refunds/. Its calls carry no key of ours, so the merchant's note
holds our refund id, and at most one call per transaction may be without a known outcome (see `jobs/refunds.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from domain.errors import ErrorCode, RefusedError
from domain.events import EventType
from domain.ids import Prefix, show
from domain.payment import PAID, Change, FactName, Payment, PaymentStatus, ReviewReason
from domain.state_machine import next_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from domain.money import Money


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
    """Accepted; Paystack has not confirmed that it has it."""
    PROCESSING = "PROCESSING"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    """Paystack needs the customer's bank details to go on."""
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


_S = RefundStatus

MOVES: Mapping[RefundStatus, frozenset[RefundStatus]] = {
    _S.PENDING: frozenset({_S.PROCESSING, _S.NEEDS_ATTENTION, _S.SUCCESS, _S.FAILED}),
    _S.PROCESSING: frozenset({_S.NEEDS_ATTENTION, _S.SUCCESS, _S.FAILED}),
    _S.NEEDS_ATTENTION: frozenset({_S.PROCESSING, _S.SUCCESS, _S.FAILED}),
    # A bank may send the money back after all: then it is the merchant's again.
    _S.SUCCESS: frozenset({_S.FAILED}),
    _S.FAILED: frozenset(),
}
"""Every move there is; whatever is not listed is refused."""

_FACT_OF: Mapping[RefundStatus, tuple[FactName, EventType | None]] = {
    _S.PENDING: (FactName.REFUND_REQUESTED, EventType.REFUND_INITIATED),
    _S.PROCESSING: (FactName.REFUND_PROCESSING, None),
    _S.NEEDS_ATTENTION: (FactName.REFUND_NEEDS_ATTENTION, EventType.REFUND_NEEDS_ATTENTION),
    _S.SUCCESS: (FactName.REFUND_SUCCEEDED, EventType.REFUND_COMPLETED),
    _S.FAILED: (FactName.REFUND_FAILED, EventType.REFUND_FAILED),
}

UNDER_WAY = frozenset({_S.PROCESSING, _S.NEEDS_ATTENTION})
"""The statuses of a refund that Paystack has and has not finished."""

SETTLEMENT_WORKING_DAYS = 10  # the longest that Paystack says a bank takes
_WORKING_DAYS_A_WEEK = 5

# Nobody knows how soon Paystack's list shows a new refund: only what it has not shown for this long is not there.
_SEARCHES_MIN = 3
_SEARCH_SPAN = timedelta(minutes=10)
SEARCH_PAUSE = _SEARCH_SPAN / (_SEARCHES_MIN - 1)

_LOOK_PAUSE_MIN = timedelta(minutes=1)
_LOOK_PAUSE_MAX = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A refund as its row holds it. `surplus` gives back a second payment of an order that no payment counts."""

    id: UUID
    payment_id: UUID
    money: Money
    status: RefundStatus
    version: int
    requested_by: str
    gateway_transaction_id: int
    created_at: datetime
    reason: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    is_surplus: bool = False
    gateway_refund_id: int | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    processed_at: datetime | None = None

    @property
    def note(self) -> str:
        """What the merchant's note at Paystack says, and how a lost refund is found again."""
        return f"Payfleet {show(Prefix.REFUND, self.id)}"

    @property
    def estimated_settlement(self) -> datetime | None:
        """When the customer has the money at the latest, by Paystack's word; None for a refund that failed."""
        start = self.processed_at or self.created_at
        return None if self.status is _S.FAILED else add_working_days(start, SETTLEMENT_WORKING_DAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundNews:
    """What was learned of a refund at Paystack; amount and currency are None where it was not Paystack who told."""

    status: RefundStatus
    gateway_refund_id: int | None = None
    amount: int | None = None
    currency: str | None = None
    code: ErrorCode | None = None
    message: str | None = None
    processed_at: datetime | None = None
    response: Mapping[str, Any] | None = None


GIVEN_UP = RefundNews(
    status=RefundStatus.FAILED,
    code=ErrorCode.GATEWAY_ERROR,
    message="It was given up before it reached Paystack. It may be asked for again.",
)
"""What becomes of a refund that a person gives up; only of one that `never_left`."""


@dataclass(frozen=True, slots=True)
class RefundChange:
    """What to write for one piece of news: the refund as it will stand, and the change of its payment.

    News that does not fit leaves the refund as it is, and the change flags the payment.
    """

    after: Refund
    payment: Change
    response: Mapping[str, Any] | None = None


def refundable_amount(payment: Payment, amount: int | None) -> int:
    """Decide how much a new refund gives back, in subunits; None asks for all that is left.

    Raises:
        RefusedError: REFUND_NOT_ALLOWED when the payment was not paid or nothing is left, PARTIAL_REFUND_EXCEEDS when
            more is asked than is left.

    """
    if payment.status not in PAID or payment.gateway_transaction_id is None:
        status = payment.status.lower()
        raise RefusedError(ErrorCode.REFUND_NOT_ALLOWED, f"A payment that is {status} cannot be refunded.")
    left = payment.refundable
    if left == 0:
        raise RefusedError(
            ErrorCode.REFUND_NOT_ALLOWED, "The whole payment is refunded, or promised to refunds under way."
        )
    if amount is not None and amount > left:
        raise RefusedError(
            ErrorCode.PARTIAL_REFUND_EXCEEDS,
            f"At most {left} can still be refunded.",
            details=f"Of {payment.money.amount}, {payment.refunds_reserved} are refunded or under way.",
            field="amount",
        )
    return amount or left


def open_refund(payment: Payment, refund: Refund) -> RefundChange:
    """Promise a refund's money: from now on no other refund can have it."""
    reserved = payment.refunds_reserved + (0 if refund.is_surplus else refund.money.amount)
    return _change(refund, next_version(payment, refunds_reserved=reserved))


def apply_news(payment: Payment, refund: Refund, news: RefundNews, now: datetime) -> RefundChange | None:
    """Hold news against a refund and its payment as they stand, both locked.

    Returns:
        What to write, or None when it is no news: said before, or overtaken.

    """
    if not _is_its_money(refund, news):
        told = {"amount": news.amount, "currency": news.currency}
        return _hold_for_review(payment, refund, ReviewReason.REFUND_MISMATCH, told)
    if refund.status is _S.FAILED and news.status is not _S.FAILED:
        # Its money is promised to others again, or gone: whether it was given back twice is for a person to see.
        return _hold_for_review(payment, refund, ReviewReason.REFUND_CONTRADICTED, {"told": news.status})
    if news.status not in MOVES[refund.status]:
        return None
    after = replace(
        refund,
        status=news.status,
        version=refund.version + 1,
        gateway_refund_id=news.gateway_refund_id or refund.gateway_refund_id,
        failure_code=news.code,
        failure_message=news.message,
        processed_at=(news.processed_at or now) if news.status is _S.SUCCESS else None,
    )
    return _change(after, _repay(payment, refund, after), news.response)


def _is_its_money(refund: Refund, news: RefundNews) -> bool:
    return news.amount in {None, refund.money.amount} and news.currency in {None, refund.money.currency}


def _hold_for_review(
    payment: Payment, refund: Refund, reason: ReviewReason, told: Mapping[str, Any]
) -> RefundChange | None:
    change = flag_refund(payment, refund, reason, told)
    return None if change is None else RefundChange(refund, change)


def flag_refund(
    payment: Payment, refund: Refund, reason: ReviewReason, details: Mapping[str, Any] | None = None
) -> Change | None:
    """Call a person to a payment because of its refund; None while one is called for the same reason."""
    if payment.review_reason == reason:
        return None
    return Change(
        name=FactName.FLAGGED,
        after=next_version(payment, review_reason=reason),
        details={"reason": reason, "refundId": show(Prefix.REFUND, refund.id), **(details or {})},
        event=EventType.PAYMENT_FLAGGED,
    )


def holds_its_order_again(before: Payment, after: Payment) -> bool:
    """Whether a refund that came back made a payment, which had let go of its order, one that has paid it."""
    return before.status is PaymentStatus.REFUNDED and after.status is not PaymentStatus.REFUNDED


def never_left(refund: Refund, *, is_unsettled: bool) -> bool:
    """Whether Paystack certainly has not got a refund: no call for it is under way, or was lost."""
    return refund.status is _S.PENDING and not is_unsettled


def is_searched_enough(searches: int, since_sent: timedelta) -> bool:
    """Whether a refund that this many searches did not find can be taken for one that Paystack never got."""
    return searches >= _SEARCHES_MIN and since_sent >= _SEARCH_SPAN


def next_look_after(age: timedelta) -> timedelta:
    """How long to wait before Paystack is asked again about a refund this old: each wait doubles its age."""
    return min(max(age, _LOOK_PAUSE_MIN), _LOOK_PAUSE_MAX)


def is_worth_asking(refund: Refund, told: RefundStatus) -> bool:
    """Whether an event that tells `told` about some refund of a payment could mean this one, and something new."""
    if refund.status is _S.FAILED:
        return told is _S.SUCCESS and refund.gateway_refund_id is not None
    return told in MOVES[refund.status]


def _repay(payment: Payment, before: Refund, after: Refund) -> Payment:
    """Move the payment's two sums, and its status with them, by what a change of a refund means."""
    amount = 0 if after.is_surplus else after.money.amount
    refunded, reserved = payment.refunded, payment.refunds_reserved
    if after.status is _S.SUCCESS:
        refunded += amount
    if after.status is _S.FAILED:
        reserved -= amount
        refunded -= amount if before.status is _S.SUCCESS else 0
    status = _status_of(refunded, payment.money.amount)
    return next_version(payment, status=status, refunded=refunded, refunds_reserved=reserved)


def _status_of(refunded: int, amount: int) -> PaymentStatus:
    if refunded == 0:
        return PaymentStatus.SUCCESS
    return PaymentStatus.REFUNDED if refunded == amount else PaymentStatus.PARTIALLY_REFUNDED


def _change(after: Refund, payment: Payment, response: Mapping[str, Any] | None = None) -> RefundChange:
    name, event = _FACT_OF[after.status]
    details: dict[str, Any] = {"refundId": show(Prefix.REFUND, after.id), "amount": after.money.amount}
    if after.failure_code or after.failure_message:
        details |= {"code": after.failure_code, "message": after.failure_message}
    change = Change(name=name, after=payment, details=details, event=event)
    return RefundChange(after, change, response)


def add_working_days(start: datetime, days: int) -> datetime:
    """Count working days from Monday to Friday; public holidays are not known here."""
    weeks, rest = divmod(days, _WORKING_DAYS_A_WEEK)
    end = start + timedelta(weeks=weeks)
    while rest or end.weekday() >= _WORKING_DAYS_A_WEEK:
        end += timedelta(days=1)
        rest -= rest > 0 and end.weekday() < _WORKING_DAYS_A_WEEK
    return end
