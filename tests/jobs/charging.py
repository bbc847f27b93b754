"""The sentences that tests of charging saved methods are told in."""

from datetime import timedelta
from typing import Any

from db.clock import advance_test_clock
from db.connection import Database
from domain.payment import Payment, PaymentStatus
from jobs.charge import charge_payment_methods
from jobs.context import JobContext
from tests.jobs.scripted_paystack import ScriptedPaystack, Step, says
from tests.stories import (
    AUTHORIZATION_CODE,
    accept,
    job_ids,
    rows,
    save_method,
    settings_for,
)

CARD = {"authorization_code": AUTHORIZATION_CODE, "reusable": True, "signature": "SIG_ada", "last4": "4081"}
S = PaymentStatus


def charge(database: Database, **changes: Any) -> Payment:
    """Accept a payment with the saved card of user-1."""
    method = save_method(database)
    return accept(database, payment_method_id=method.id, **changes)


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def run(context: JobContext) -> None:
    charge_payment_methods(context, job_ids(context.database, "charge_payment_method"))


def run_later(context: JobContext, seconds: float = 400) -> None:
    pass_time(context.database, seconds)
    run(context)


def is_over(context: JobContext) -> bool:
    return job_ids(context.database, "charge_payment_method") == []


def verifications(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "SELECT payload->>'payment_id', dedupe_key FROM jobs WHERE kind = 'verify_payment'")


def answers(payment: Payment, **data: Any) -> Step:
    """Paystack attempts the charge, and says this of it."""
    return says(200, {"status": True, "message": "Charge attempted", "data": {"reference": payment.reference, **data}})


def outcomes(database: Database) -> list[str]:
    return [row[0] for row in rows(database, "SELECT outcome::text FROM payment_attempts ORDER BY sent_at, token")]


def charges(paystack: ScriptedPaystack) -> list[str]:
    return [reference for what, reference in paystack.asked if what == "charge_authorization"]
