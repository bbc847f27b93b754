"""The janitor: what was lost is found, once, by however many look for it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from db import looks, orders, verifications
from db.connection import Connection, Database
from domain.payment import Payment, PaymentStatus
from jobs import janitor
from jobs.charge import charge_payment_methods
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.verify import verify_payments
from tests.jobs.charging import answers, charge
from tests.jobs.scripted_paystack import ScriptedPaystack
from tests.patience import eventually
from tests.stories import accept, job_ids, pass_time, payment_now, rows, transaction_data

S = PaymentStatus


def opened(context: JobContext, **changes: Any) -> Payment:
    """A payment whose customer has a page to pay on, and an hour to do so."""
    payment = accept(context.database, **changes)
    initialize_payments(context, job_ids(context.database))
    return payment_now(context.database, payment.id)


def look(database: Database, limit: int = 100) -> int:
    return janitor.look_once(database, limit=limit)


def asked(database: Database) -> int:
    """How many looks wait to be made."""
    return len(job_ids(database, "verify_payment"))


def look_and_verify(context: JobContext, payment: Payment) -> Payment:
    look(context.database)
    verify_payments(context, job_ids(context.database, "verify_payment"))
    return payment_now(context.database, payment.id)


# Payments.


def test_a_payment_whose_webhook_was_lost_is_found_paid_within_minutes(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment)
    pass_time(context.database, minutes=3, seconds=59)
    assert look_and_verify(context, payment).status is S.PENDING
    pass_time(context.database, seconds=1)
    assert look_and_verify(context, payment).status is S.SUCCESS


def looks_made(paystack: ScriptedPaystack) -> int:
    return [what for what, _ in paystack.asked].count("verify")


def minutes_of_looks(context: JobContext, payment: Payment, *, minutes: int) -> list[int]:
    """Let time pass minute by minute; returns those in which the payment was looked at."""
    seen: list[int] = []
    for minute in range(1, minutes + 1):
        pass_time(context.database, minutes=1)
        if look(context.database):
            seen.append(minute)
            verify_payments(context, job_ids(context.database, "verify_payment"))
    return seen


def test_a_payment_that_nobody_pays_is_looked_at_a_few_times_and_then_abandoned(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = opened(context)
    first, *more = minutes_of_looks(context, payment, minutes=59)
    assert (first, len(more)) == (4, 2)
    assert payment_now(context.database, payment.id).status is S.PENDING
    assert minutes_of_looks(context, payment, minutes=1) == [1]
    assert payment_now(context.database, payment.id).status is S.ABANDONED
    assert looks_made(paystack) == 4
    pass_time(context.database, days=30)
    assert look(context.database) == 0, "what has ended is not looked at"
    again = accept(context.database, order_id=payment.order_id)
    assert again.id != payment.id, "its order may be paid anew"


@pytest.mark.parametrize("word", ["pending", "ongoing", "never heard of"])
def test_what_stays_unfinished_is_looked_at_a_few_times_more_and_given_up_after_a_week(
    context: JobContext, paystack: ScriptedPaystack, word: str
) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status=word)
    for _ in range(7 * 6):
        pass_time(context.database, hours=4)
        assert look_and_verify(context, payment).status in {S.PENDING, S.PROCESSING}
    pass_time(context.database, days=1)
    assert look_and_verify(context, payment).status is S.ABANDONED
    assert looks_made(paystack) <= 14
    paystack.transactions[payment.reference] = transaction_data(payment)
    with context.database.connection() as connection:
        verifications.request_look(connection, payment.id, correlation_id="req_late")
    assert look_and_verify(context, payment).status is S.SUCCESS, "and late money still counts"


def test_a_saved_card_whose_bank_takes_its_time_is_looked_at_until_there_is_an_answer(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(answers(payment, status="pending"))
    charge_payment_methods(context, [payment.id])
    paystack.transactions[payment.reference] = transaction_data(payment, status="pending")
    pass_time(context.database, seconds=10)
    assert look_and_verify(context, payment).status is S.PROCESSING
    assert len(minutes_of_looks(context, payment, minutes=30)) == 2
    paystack.transactions[payment.reference] = transaction_data(payment)
    assert len(minutes_of_looks(context, payment, minutes=20)) == 1
    assert payment_now(context.database, payment.id).status is S.SUCCESS


@pytest.mark.parametrize("lost", ["DELETE FROM jobs", "UPDATE jobs SET state = 'dead'"])
def test_a_payment_whose_first_job_is_dead_or_gone_ends_and_frees_its_order(context: JobContext, lost: str) -> None:
    payment = accept(context.database)
    rows(context.database, lost)
    pass_time(context.database, minutes=59)
    assert look_and_verify(context, payment).status is S.PENDING
    pass_time(context.database, minutes=1)
    assert look_and_verify(context, payment).status is S.ABANDONED
    assert accept(context.database, order_id=payment.order_id).status is S.PENDING


def test_as_long_as_a_transaction_is_being_opened_nobody_asks_about_it_until_its_time_is_over(
    database: Database,
) -> None:
    accept(database)
    pass_time(database, minutes=4)
    assert (look(database), asked(database)) == (1, 0)
    assert look(database) == 0, "its turn has passed"
    pass_time(database, minutes=56)
    assert (look(database), asked(database)) == (1, 1)


def test_a_look_that_was_given_up_is_made_anew_in_its_turn(context: JobContext) -> None:
    payment = opened(context)
    pass_time(context.database, minutes=4)
    look(context.database)
    rows(context.database, "UPDATE jobs SET state = 'dead', last_error = 'Invalid key'")
    pass_time(context.database, minutes=9)
    look(context.database)
    assert rows(context.database, "SELECT state::text, last_error FROM jobs") == [("ready", None)], "in its place"
    assert look_and_verify(context, payment).status is S.PENDING


def test_a_look_that_waits_after_a_failure_is_joined(database: Database) -> None:
    accept(database)
    rows(database, "DELETE FROM jobs")
    pass_time(database, minutes=4)
    look(database)
    later = "UPDATE jobs SET failures = 3, last_error = 'HTTP 502', run_at = payfleet_now() + interval '1 day'"
    rows(database, later)
    pass_time(database, minutes=9)
    assert look(database) == 1
    assert rows(database, "SELECT failures, run_at > payfleet_now() FROM jobs") == [(3, True)]


def test_what_is_paid_or_over_is_not_looked_at(database: Database) -> None:
    paid, over = accept(database), accept(database)
    with database.transaction() as tx:
        orders.pay_orders(tx, [paid])
        orders.release_orders(tx, [over])
    pass_time(database, hours=2)
    assert look(database) == 0


def test_a_late_janitor_does_not_touch_the_time_of_the_next_payment_of_the_order(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = accept(database, order_id="order-shared")
    pass_time(database, minutes=30)
    request = verifications.request_look

    def stall(connection: Connection, payment_id: UUID, **arguments: Any) -> datetime:
        with database.transaction() as tx:
            orders.release_orders(tx, [first])
        accept(database, order_id="order-shared")
        return request(connection, payment_id, **arguments)

    rows(database, "DELETE FROM jobs")
    monkeypatch.setattr(verifications, "request_look", stall)
    look(database)
    assert rows(database, "SELECT look_at - payfleet_now() <= interval '4 minutes' FROM live_orders") == [(True,)]


def test_two_janitors_at_once_make_one_look_of_each_payment(database: Database) -> None:
    for _ in range(20):
        accept(database)
    rows(database, "DELETE FROM jobs")
    pass_time(database, hours=2)
    with ThreadPoolExecutor(4) as threads:
        eventually(lambda: not any(threads.map(lambda _: look(database, limit=5), range(4))))
    assert asked(database) == 20


def test_no_more_are_looked_at_in_a_round_than_may_be_and_the_oldest_first(database: Database) -> None:
    payments = [accept(database) for _ in range(3)]
    rows(database, "DELETE FROM jobs")
    pass_time(database, hours=2)
    assert look(database, limit=2) == 2
    waiting = {row[0] for row in rows(database, "SELECT payload->>'payment_id' FROM jobs")}
    assert waiting == {str(payment.id) for payment in payments[:2]}


def test_a_janitor_that_died_before_it_was_done_loses_no_look(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(database)
    rows(database, "DELETE FROM jobs")
    pass_time(database, hours=2)

    with monkeypatch.context() as patch, pytest.raises(psycopg.errors.SyntaxError):
        patch.setattr(looks, "_LOOK_LATER", "die")
        look(database)
    assert (look(database), asked(database)) == (1, 1)


def test_an_order_without_its_payment_does_not_keep_the_others_from_their_looks(database: Database) -> None:
    orphan, other = accept(database), accept(database)
    rows(database, "DELETE FROM jobs")
    rows(database, "DELETE FROM payments WHERE id = %s", orphan.id)
    pass_time(database, minutes=4)
    assert (look(database), asked(database)) == (2, 2)
    assert look(database) == 0
    assert payment_now(database, other.id).status is S.PENDING
