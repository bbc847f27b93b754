"""The sentences that tests of refunds are told in."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from db import orders, payments, refunds
from db.clock import advance_test_clock
from db.connection import Database
from db.payments import SourcedChange
from db.refunds import NewRefund
from domain.payment import Payment, Source
from domain.refund import Refund, refundable_amount
from domain.state_machine import apply
from jobs.paystack.wire import Transaction, charged_fact
from tests.stories import accept, payment_now, rows, settings_for, transaction_data


def pay(database: Database, *, transaction_id: int = 7001, amount: int = 50_000, **changes: Any) -> Payment:
    """A payment of ₦500.00 whose money is there."""
    payment = accept(database, amount=amount, **changes)
    receive_money(database, payment, transaction_id)
    return payment_now(database, payment.id)


def receive_money(database: Database, payment: Payment, transaction_id: int) -> None:
    """Learn from Paystack that a transaction of a payment was paid."""
    data = transaction_data(payment, id=transaction_id)
    fact = charged_fact(Transaction.model_validate(data), data)
    with database.transaction() as tx:
        change = apply(payments.lock_payments(tx, [payment.id])[payment.id], fact)
        assert change is not None
        orders.pay_orders(tx, [change.after])
        payments.write_changes(tx, [SourcedChange(change, Source.WEBHOOK, "req_webhook")])


def ask_refund(database: Database, payment: Payment, amount: int | None = None, reason: str | None = None) -> Refund:
    """Ask for money back, all that is left unless an amount is named."""
    with database.transaction() as tx:
        locked = payments.lock_payments(tx, [payment.id])[payment.id]
        new = NewRefund(amount=refundable_amount(locked, amount), requested_by="support-1", reason=reason)
        return refunds.accept_refund(tx, locked, new, source=Source.CLIENT, correlation_id="req_refund").after


def refund_now(database: Database, refund_id: UUID) -> Refund:
    with database.connection() as connection:
        refund = refunds.get_refund(connection, refund_id)
    assert refund is not None
    return refund


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def is_unsettled(database: Database, refund: Refund) -> bool:
    ((unsettled,),) = rows(database, "SELECT is_unsettled FROM refunds WHERE id = %s", refund.id)
    return unsettled
