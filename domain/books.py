"""The books: what must hold of everything Payfleet has written down, and what a look through them found.

Each check names a state that must not be. Most are held by the code, under locks; what Postgres itself refuses to store
needs no check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

FINDINGS_MAX = 1_000
"""How many findings of one check are counted; beyond that it is enough to know that there are more."""


class Check(StrEnum):
    """What is looked for; the names of `docs/books.md`."""

    PAYMENT_STUCK = "payment_stuck"
    PAYMENT_PAID_ONCE = "payment_paid_once"
    PAYMENT_MONEY = "payment_money"
    TRANSACTION_OF_LINE = "transaction_of_line"
    TRANSACTION_SHARED = "transaction_shared"
    HISTORY_GAP = "history_gap"
    HISTORY_STEP = "history_step"
    HISTORY_BEHIND = "history_behind"
    EVENT_MISSING = "event_missing"
    EVENT_UNFOUNDED = "event_unfounded"
    EVENT_UNPUBLISHED = "event_unpublished"
    ORDER_PAYER = "order_payer"
    ORDER_BLOCKED = "order_blocked"
    REFUND_SUMS = "refund_sums"
    REFUND_STATUS = "refund_status"
    REFUND_LINES = "refund_lines"
    REFUND_SOURCE = "refund_source"
    REFUND_STUCK = "refund_stuck"
    REFUND_BLOCKING = "refund_blocking"
    ATTEMPT_UNKNOWN = "attempt_unknown"
    WEBHOOK_UNREAD = "webhook_unread"
    JOB_OVERDUE = "job_overdue"
    JOB_DEAD = "job_dead"

    GATEWAY_UNPAID = "gateway_unpaid"
    GATEWAY_MONEY = "gateway_money"
    GATEWAY_SECOND = "gateway_second"
    GATEWAY_MISSING = "gateway_missing"
    GATEWAY_REFUND_UNKNOWN = "gateway_refund_unknown"
    GATEWAY_REFUND_DIFFERS = "gateway_refund_differs"
    GATEWAY_REFUND_MISSING = "gateway_refund_missing"


AT_PAYSTACK = frozenset(check for check in Check if check.startswith("gateway_"))
"""What can only be seen by asking Paystack."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold, and what a person does where it does not."""

    meaning: str
    remedy: str


_HOLD_HISTORY = "hold `GET /payments/{paymentId}/history` against Paystack's dashboard"
_HOLD_REFUNDS = "hold its refunds against Paystack's dashboard"
_DEFECT = "A defect, or a row changed by hand"

RULES: Mapping[Check, Rule] = {
    Check.PAYMENT_STUCK: Rule(
        "A payment that waits for its customer or its bank has a live job, or a look at Paystack to come.",
        "Ask with `GET /payments/verify`; where there are many, see that `payfleet scheduler` runs.",
    ),
    Check.PAYMENT_PAID_ONCE: Rule(
        "A payment that was paid has one line of success in its history, and any other has none.",
        f"{_DEFECT}: {_HOLD_HISTORY} before anything is shipped or given back.",
    ),
    Check.PAYMENT_MONEY: Rule(
        "What Paystack reported of a payment that counts as paid is what was asked, in amount and currency.",
        f"Ship nothing for it: {_HOLD_HISTORY}.",
    ),
    Check.TRANSACTION_OF_LINE: Rule(
        "A paid payment holds the transaction that its line of success names.",
        f"{_DEFECT}: {_HOLD_HISTORY} before it is refunded.",
    ),
    Check.TRANSACTION_SHARED: Rule(
        "No two payments made in the window hold the same transaction of Paystack's.",
        "One of them was not paid: find its reference in Paystack's dashboard, and ship nothing for it.",
    ),
    Check.HISTORY_GAP: Rule(
        "A payment's history has each version from 1 to the payment's own.",
        f"{_DEFECT}: what the missing line told is in the events and in the logs.",
    ),
    Check.HISTORY_STEP: Rule(
        "A history begins with PENDING, and each of its steps is one that the state machine allows.",
        f"{_DEFECT}: {_HOLD_HISTORY}.",
    ),
    Check.HISTORY_BEHIND: Rule(
        "A payment stands as the newest line of its history says.",
        f"{_DEFECT}: {_HOLD_HISTORY}.",
    ),
    Check.EVENT_MISSING: Rule(
        "Each line of a history that downstream is told of has its event.",
        "Downstream has not heard of it: tell it, and report the defect.",
    ),
    Check.EVENT_UNFOUNDED: Rule(
        "Each event has its payment, and the line of history that it tells.",
        "Downstream was told of something that is not on record: set it right there, and report the defect.",
    ),
    Check.EVENT_UNPUBLISHED: Rule(
        "No event waits for RabbitMQ longer than the quiet time.",
        "See that `payfleet relay` runs, and that it reaches RabbitMQ.",
    ),
    Check.ORDER_PAYER: Rule(
        "An order that was paid is held by the one payment that paid it; another that was paid too was told as such.",
        "The order was paid twice, or is open to be: refund the payment that came second.",
    ),
    Check.ORDER_BLOCKED: Rule(
        "A payment that is over has let go of its order.",
        "The order takes no payment: delete its row in live_orders, and report the defect.",
    ),
    Check.REFUND_SUMS: Rule(
        "What a payment has promised and given back are the sums of its refunds.",
        "Refund nothing of it by hand before its refunds were held against Paystack's dashboard.",
    ),
    Check.REFUND_STATUS: Rule(
        "A payment is refunded, in part or in whole, by as much as it has given back.",
        f"{_DEFECT}: {_HOLD_REFUNDS}.",
    ),
    Check.REFUND_LINES: Rule(
        "Each refund has its lines in its payment's history.",
        f"{_DEFECT}: {_HOLD_REFUNDS}.",
    ),
    Check.REFUND_SOURCE: Rule(
        "A refund gives back its payment's own transaction, or one that was flagged as money on top.",
        "Money may go to the wrong customer: look at the refund in Paystack's dashboard at once.",
    ),
    Check.REFUND_STUCK: Rule(
        "A refund that is not at its end has a live job.",
        "Look at it in Paystack's dashboard; a dead job is the usual reason.",
    ),
    Check.REFUND_BLOCKING: Rule(
        "A refund that is known at Paystack, or failed, does not keep others of its transaction waiting.",
        f"{_DEFECT}: set is_unsettled to false once Paystack's list was looked at.",
    ),
    Check.ATTEMPT_UNKNOWN: Rule(
        "No call for a payment that is decided was left without an outcome.",
        "Look its reference up in Paystack's dashboard: a transaction may have been paid there beside the payment's.",
    ),
    Check.WEBHOOK_UNREAD: Rule(
        "No event of Paystack's lies unread for longer than the quiet time.",
        "See that `payfleet worker` serves the queue webhooks, and that no dead job names the event.",
    ),
    Check.JOB_OVERDUE: Rule(
        "No job is due, or sent and not taken up, for longer than the quiet time.",
        "See that `payfleet relay`, `payfleet worker` and `payfleet scheduler` run; many mean a backlog.",
    ),
    Check.JOB_DEAD: Rule(
        "No job is dead.",
        "Read its last error: somebody has to decide whether it is run again.",
    ),
    Check.GATEWAY_UNPAID: Rule(
        "Money that Paystack took under one of our references is paid here, or a person was called to it.",
        "Ask with `GET /payments/verify`; a payment that is not here belongs to another database on this account.",
    ),
    Check.GATEWAY_MONEY: Rule(
        "Paystack has a payment with the amount and currency that it has here.",
        f"Ship nothing for it: {_HOLD_HISTORY}.",
    ),
    Check.GATEWAY_SECOND: Rule(
        "Money that Paystack took twice for one payment was flagged.",
        "Ask with `GET /payments/verify`; refund the second transaction in Paystack's dashboard if it stays unflagged.",
    ),
    Check.GATEWAY_MISSING: Rule(
        "A payment that is paid here is paid at Paystack, and its money has not left without a refund of ours.",
        f"Ship nothing for it: {_HOLD_HISTORY}; a reversal is a chargeback, or a refund made there.",
    ),
    Check.GATEWAY_REFUND_UNKNOWN: Rule(
        "Each refund that Paystack has of a transaction of ours is one of ours, made once.",
        "It was made in Paystack's dashboard, or twice: set right by hand what the payment still has to give back.",
    ),
    Check.GATEWAY_REFUND_DIFFERS: Rule(
        "A refund has the amount, the currency and the end here that it has at Paystack.",
        "Believe Paystack: it may have failed after its success, or have been paid out after it was given up here.",
    ),
    Check.GATEWAY_REFUND_MISSING: Rule(
        "Paystack knows each refund that came to its end here.",
        "The customer has not got the money: look at the transaction in Paystack's dashboard, and refund it there.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is looked through: payments made or changed this long ago, and no longer than `quiet` ago left alone."""

    since: timedelta
    quiet: timedelta


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be: the shown id of what it is about, and what is wrong with it."""

    subject: str
    detail: str


@dataclass(slots=True)
class Report:
    """What a look through the books found, and how much was looked at; bounded, however bad the books are."""

    findings: dict[Check, dict[str, str]] = field(default_factory=dict[Check, dict[str, str]])
    looked_at: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, check: Check, found: Iterable[Finding]) -> None:
        """Add what a check found, be it nothing; one subject counts once."""
        known = self.findings.setdefault(check, {})
        for finding in found:
            if self.is_full(check):
                return
            known.setdefault(finding.subject, finding.detail)

    def is_full(self, check: Check) -> bool:
        """Whether a check has as many findings as are counted."""
        return len(self.findings.get(check, {})) == FINDINGS_MAX

    def count(self, what: str, number: int) -> None:
        """Say how much more of something was looked at."""
        self.looked_at[what] = self.looked_at.get(what, 0) + number

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not any(self.findings.values())
