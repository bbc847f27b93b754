"""The refund: its states, and when it is searched for and looked at; what it does to payments is in `refunding`.

Paystack's states: https://paystack.com/docs/payments/refunds/. Its calls carry no key of ours, so the merchant's note
holds our refund id, and at most one call per transaction may be without a known outcome (see `jobs/refunds.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from domain.ids import Prefix, show

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from domain.errors import ErrorCode
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


def add_working_days(start: datetime, days: int) -> datetime:
    """Count working days from Monday to Friday; public holidays are not known here."""
    weeks, rest = divmod(days, _WORKING_DAYS_A_WEEK)
    end = start + timedelta(weeks=weeks)
    while rest or end.weekday() >= _WORKING_DAYS_A_WEEK:
        end += timedelta(days=1)
        rest -= rest > 0 and end.weekday() < _WORKING_DAYS_A_WEEK
    return end
