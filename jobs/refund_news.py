"""Holding what was learned of refunds against them: the one way in which an accepted refund changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import orders, payments, refunds
from db.clock import get_now
from db.jobs import enqueue_jobs
from db.payments import SourcedChange
from domain.ids import Prefix, show
from domain.jobs import JobKind
from domain.payment import LIVE, ReviewReason, Source
from domain.refund import UNDER_WAY, apply_news, flag_refund, holds_its_order_again, next_look_after

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from db.connection import Connection
    from domain.payment import Payment
    from domain.refund import Refund, RefundChange, RefundNews


@dataclass(frozen=True, slots=True)
class LearnedOfRefund:
    """What was learned of a refund, in answer to which request, and who told."""

    payment_id: UUID
    refund_id: UUID
    news: RefundNews
    correlation_id: str
    source: Source = Source.REFUND


def apply_refund_news(tx: Connection, learned: Sequence[LearnedOfRefund]) -> None:
    """Lock the payments, hold the news against their refunds in the order given, and write what follows.

    What Paystack has not finished is looked at again later, whether its webhooks come or not.
    """
    if not learned:
        return
    correlation_of = {item.refund_id: item.correlation_id for item in learned}
    now = get_now(tx)
    locked = payments.lock_payments(tx, [item.payment_id for item in learned])
    standing = refunds.get_refunds(tx, correlation_of)
    written: list[tuple[RefundChange, Source]] = []
    came_back: dict[UUID, Refund] = {}
    for item in learned:
        before, refund = locked[item.payment_id], standing[item.refund_id]
        change = apply_news(before, refund, item.news, now)
        if change is not None:
            written.append((change, item.source))
            locked[before.id], standing[refund.id] = change.payment.after, change.after
            if holds_its_order_again(before, change.payment.after):
                came_back[before.id] = change.after
    payments.write_changes(
        tx, [refunds.sourced(change, source, correlation_of[change.after.id]) for change, source in written]
    )
    refunds.write_refunds(tx, [change for change, _ in written])
    _hold_orders_again(tx, [(locked[id_], refund) for id_, refund in came_back.items()], correlation_of)
    enqueue_jobs(
        tx,
        [
            refunds.refund_job(
                JobKind.CHECK_REFUND,
                refund,
                correlation_of[refund.id],
                delay_seconds=next_look_after(now - refund.created_at).total_seconds(),
            )
            for refund in standing.values()
            if refund.status in UNDER_WAY
        ],
    )


def _hold_orders_again(
    tx: Connection, came_back: Sequence[tuple[Payment, Refund]], correlation_of: Mapping[UUID, str]
) -> None:
    """Let payments whose whole refund came to nothing have their orders again; where another has paid, tell a person.

    A payment that was refunded anew within the same batch stays without its order.
    """
    paid = [(payment, refund) for payment, refund in came_back if payment.status in LIVE]
    order_paid_by = orders.pay_orders(tx, [payment for payment, _ in paid])
    for payment, refund in paid:
        if payment.id in order_paid_by:
            details = {"orderPaidBy": show(Prefix.PAYMENT, order_paid_by[payment.id])}
            flag = flag_refund(payment, refund, ReviewReason.DUPLICATE_ORDER, details)
            if flag is not None:
                payments.write_changes(tx, [SourcedChange(flag, Source.REFUND, correlation_of[refund.id])])
