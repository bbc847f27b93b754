"""Giving back money that came twice, where ENABLE_DUPLICATE_REFUND says so; otherwise it is held for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import refunds
from db.refunds import NewRefund
from domain.payment import FactName, Source
from domain.refund import refundable_amount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.connection import Connection
    from db.payments import SourcedChange
    from domain.payment import Change, Payment

REQUESTED_BY = "payfleet"
_REASON = "This order was paid twice."


def refund_duplicates(tx: Connection, written: Sequence[SourcedChange]) -> None:
    """Open a refund for each change that tells of money that came twice, in the transaction that wrote the change."""
    standing = {sourced.change.after.id: sourced.change.after for sourced in written}
    for sourced in written:
        payment = standing[sourced.change.after.id]
        new = _refund_of(sourced.change, payment)
        if new is not None:
            opened = refunds.accept_refund(
                tx, payment, new, source=Source.PAYFLEET, correlation_id=sourced.correlation_id
            )
            standing[payment.id] = opened.payment.after


def _refund_of(change: Change, payment: Payment) -> NewRefund | None:
    """Say what goes back: a second payment of an order whole, of a second transaction what the customer paid."""
    if change.name is FactName.DUPLICATE:
        return NewRefund(amount=refundable_amount(payment, None), requested_by=REQUESTED_BY, reason=_REASON)
    if change.surplus is not None:
        return NewRefund(
            amount=change.surplus.received,
            requested_by=REQUESTED_BY,
            reason=_REASON,
            surplus_transaction_id=change.surplus.transaction_id,
        )
    return None
