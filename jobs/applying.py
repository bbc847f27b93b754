"""Holding what was learned against payments: the one way in which a payment changes after its acceptance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import orders, payments
from db.payments import SourcedChange
from domain.payment import FactName
from domain.state_machine import apply
from jobs.duplicates import refund_duplicates
from jobs.saving import keep_methods

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from db.connection import Connection
    from domain.payment import Change, Fact, Payment, Source
    from jobs.context import JobContext


@dataclass(frozen=True, slots=True)
class Learned:
    """A fact about a payment, who told it, and in answer to which request."""

    payment_id: UUID
    fact: Fact
    source: Source
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Held:
    """A fact and what it came to: the payment before it, None if there is none; the change, None if it was no news."""

    learned: Learned
    before: Payment | None
    change: Change | None


def apply_facts(context: JobContext, tx: Connection, facts: Sequence[Learned]) -> list[Held]:
    """Lock the payments, hold each fact against its payment in the order given, and write what follows.

    Returns:
        What each fact came to, in the same order.

    """
    locked = payments.lock_payments(tx, [learned.payment_id for learned in facts])
    # First as if no order had been paid before: only money that would make its payment succeed may claim the order.
    succeeding = {
        held.change.after.id: held.change.after
        for held in _hold(locked, facts, {})
        if held.change is not None and held.change.name is FactName.SUCCEEDED
    }
    order_paid_by = orders.pay_orders(tx, succeeding.values())
    results = _hold(locked, facts, order_paid_by)
    written = [
        SourcedChange(held.change, held.learned.source, held.learned.correlation_id)
        for held in results
        if held.change is not None
    ]
    payments.write_changes(tx, written)
    if context.refund_duplicates:
        refund_duplicates(tx, written)
    keep_methods(tx, context.seal, [(held.change, held.learned.fact) for held in results if held.change is not None])
    return results


def _hold(locked: dict[UUID, Payment], facts: Sequence[Learned], order_paid_by: dict[UUID, UUID]) -> list[Held]:
    standing = dict(locked)
    results: list[Held] = []
    for learned in facts:
        before = standing.get(learned.payment_id)
        change = (
            None if before is None else apply(before, learned.fact, order_paid_by=order_paid_by.get(learned.payment_id))
        )
        if change is not None:
            standing[learned.payment_id] = change.after
        results.append(Held(learned, before, change))
    return results
