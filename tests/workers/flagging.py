"""A change that comes with an event, made without a gateway."""

from db import payments
from db.connection import Database
from db.payments import SourcedChange
from domain.payment import Charged, Instrument, Payment, Source
from domain.state_machine import apply


def flag(database: Database, payment: Payment) -> None:
    """Hear of money that does not fit the payment."""
    fact = Charged(
        reference=payment.reference,
        asked=1,
        received=1,
        currency="NGN",
        transaction_id=7,
        paid_at=None,
        instrument=Instrument(),
        response={},
    )
    with database.transaction() as tx:
        change = apply(payments.lock_payments(tx, [payment.id])[payment.id], fact)
        assert change is not None
        payments.write_changes(tx, [SourcedChange(change, Source.WEBHOOK, "req_flag")])
