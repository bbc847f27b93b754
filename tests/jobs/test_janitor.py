"""The janitor: what was lost is found, once, by however many look for it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from db import jobs as ledger
from db import looks, methods, orders, verifications
from db.connection import Connection, Database
from db.methods import NewMethod
from domain.jobs import JobKind
from domain.method import MethodStatus
from domain.payment import ChargeFailed, Payment, PaymentStatus, Source
from domain.refund import Refund, RefundStatus
from jobs import janitor
from jobs.applying import Learned, apply_facts
from jobs.charge import charge_payment_methods
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.methods import check_methods
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.verify import verify_payments
from jobs.webhooks import apply_webhooks
from tests.jobs.charging import CARD, answers, charge, charges, outcomes
from tests.jobs.scripted_paystack import ScriptedPaystack, charges_and_resets, refunds_and_resets, resets, says
from tests.patience import eventually
from tests.refunding import ask_refund, pay, refund_now
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
    accept,
    event_body,
    job_ids,
    method_now,
    pass_time,
    payment_now,
    rows,
    seal,
    store_webhook,
    transaction_data,
)

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


def test_a_janitor_that_stood_still_does_not_bring_forward_what_another_has_moved_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(database)
    rows(database, "DELETE FROM jobs")
    pass_time(database, minutes=5)
    request = verifications.request_look

    def stall(connection: Connection, payment_id: UUID, **arguments: Any) -> datetime:
        monkeypatch.setattr(verifications, "request_look", request)
        pass_time(database, minutes=10)
        assert look(database) == 1, "the other one"
        return request(connection, payment_id, **arguments)

    monkeypatch.setattr(verifications, "request_look", stall)
    look(database)
    assert rows(database, "SELECT look_at > payfleet_now() + interval '29 minutes' FROM live_orders") == [(True,)]


def test_a_payment_that_is_just_being_settled_keeps_no_other_from_its_look(database: Database) -> None:
    settled, other = accept(database), accept(database)
    rows(database, "DELETE FROM jobs")
    pass_time(database, minutes=5)
    with database.transaction() as tx:
        orders.release_orders(tx, [settled])
        assert look(database) == 2
        assert rows(database, "SELECT look_at > payfleet_now() FROM live_orders ORDER BY payment_id") == [
            (False,),
            (True,),
        ]
    assert rows(database, "SELECT payment_id FROM live_orders") == [(other.id,)]


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


# What waits for a job that is not there.


def revive(database: Database) -> dict[str, int]:
    return {kind: count for kind, count in janitor.revive_once(database).items() if count}


def kinds(database: Database) -> list[str]:
    """The kinds of the jobs there are."""
    return [row[0] for row in rows(database, "SELECT kind FROM jobs ORDER BY kind")]


def forget_jobs(database: Database) -> None:
    """Lose every job, and let enough time pass for that to be noticed."""
    rows(database, "DELETE FROM jobs")
    pass_time(database, minutes=6)


def stranded_refund(context: JobContext) -> Refund:
    """A refund that was never sent, and has no job."""
    refund = ask_refund(context.database, pay(context.database))
    forget_jobs(context.database)
    return refund


def test_a_refund_that_was_never_sent_is_sent_once(context: JobContext, paystack: ScriptedPaystack) -> None:
    refund = stranded_refund(context)
    assert revive(context.database) == {"refund": 1}
    assert kinds(context.database) == ["send_refund"]
    send_refunds(context, [refund.id])
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING
    assert len(paystack.refunds) == 1


def test_a_refund_whose_answer_was_lost_is_searched_for_and_not_sent_twice(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    paystack.next(refunds_and_resets)
    send_refunds(context, [refund.id])
    forget_jobs(context.database)
    assert revive(context.database) == {"refund": 1}
    send_refunds(context, job_ids(context.database, "send_refund"))
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING
    assert len(paystack.refunds) == 1


@pytest.mark.parametrize("status", ["pending", "needs-attention"])
def test_a_refund_that_paystack_has_is_followed_again(
    context: JobContext, paystack: ScriptedPaystack, status: str
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    send_refunds(context, [refund.id])
    paystack.refunds[0]["status"] = status
    pass_time(context.database, minutes=2)
    check_refunds(context, job_ids(context.database, "check_refund"))
    forget_jobs(context.database)
    assert revive(context.database) == {"refund": 1}
    paystack.refunds[0]["status"] = "processed"
    check_refunds(context, job_ids(context.database, "check_refund"))
    assert refund_now(context.database, refund.id).status is RefundStatus.SUCCESS
    forget_jobs(context.database)
    assert revive(context.database) == {}, "and what is done is done"


def test_a_refund_about_which_paystack_tells_something_else_is_a_persons(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    paystack.next(
        says(200, {"status": True, "data": {"id": 900, "transaction": 7001, "amount": 1, "status": "pending"}})
    )
    send_refunds(context, [refund.id])
    assert payment_now(context.database, refund.payment_id).review_reason == "refund_mismatch"
    assert kinds(context.database) == ["initialize_payment"]
    pass_time(context.database, minutes=6)
    assert revive(context.database) == {}


def stranded_webhook(database: Database) -> Payment:
    """An event of a payment's success that was stored, and has no job."""
    payment = accept(database)
    store_webhook(database, event_body("charge.success", transaction_data(payment)))
    forget_jobs(database)
    return payment


def test_an_event_that_was_stored_is_applied(context: JobContext) -> None:
    payment = stranded_webhook(context.database)
    assert revive(context.database) == {"webhook": 1}
    assert rows(context.database, "SELECT correlation_id FROM jobs") == [("req_webhook",)], "as part of its request"
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    pass_time(context.database, minutes=6)
    assert revive(context.database) == {}


def stranded_method(database: Database) -> UUID:
    """A method that was added by its code, and has no job."""
    with database.connection() as connection:
        method = methods.accept_method(
            connection,
            new=NewMethod(
                user_id="user-1",
                authorization_sealed=seal().seal(AUTHORIZATION_CODE.encode()),
                email_sealed=seal().seal(EMAIL.encode()),
                card_type=None,
            ),
            caller="user-1",
            key=None,
            fingerprint=b"",
            correlation_id="req_method",
            trace_context=None,
        )
    assert method is not None
    forget_jobs(database)
    return method.id


def test_a_method_that_was_added_is_checked(context: JobContext, paystack: ScriptedPaystack) -> None:
    method_id = stranded_method(context.database)
    paystack.authorizations[EMAIL] = [{"authorization_code": AUTHORIZATION_CODE, "reusable": True}]
    assert revive(context.database) == {"payment_method": 1}
    check_methods(context, job_ids(context.database, "check_payment_method"))
    assert method_now(context.database, method_id).status is MethodStatus.ACTIVE
    pass_time(context.database, minutes=6)
    assert revive(context.database) == {}


def unknown_charge(context: JobContext, paystack: ScriptedPaystack) -> Payment:
    """A payment that failed while the outcome of a charge is unknown: no look of its own is to come."""
    payment = charge(context.database)
    paystack.authorizations[EMAIL] = [CARD]
    paystack.next(charges_and_resets)
    charge_payment_methods(context, [payment.id])
    with context.database.transaction() as tx:
        failed = ChargeFailed(reference=payment.reference, reason="Declined", transaction_id=None)
        apply_facts(context, tx, [Learned(payment.id, failed, Source.WEBHOOK, "req_webhook")])
    return payment


def test_a_call_whose_outcome_nobody_finds_out_is_looked_at(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = unknown_charge(context, paystack)
    rows(context.database, "UPDATE jobs SET state = 'dead'")
    assert revive(context.database) == {}, "it may be on its way"
    pass_time(context.database, minutes=11)
    rows(context.database, "UPDATE jobs SET state = 'ready'")
    assert revive(context.database) == {}, "its own job does"
    rows(context.database, "UPDATE jobs SET state = 'dead'")
    assert revive(context.database) == {"unknown_call": 1}
    assert revive(context.database) == {}, "once"
    rows(context.database, "UPDATE jobs SET state = 'dead'")
    assert revive(context.database) == {}, "and another look would end like the dead one"
    rows(context.database, "UPDATE jobs SET state = 'ready' WHERE kind = 'verify_payment'")
    verify_payments(context, job_ids(context.database, "verify_payment"))
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert outcomes(context.database) == ["done"]
    assert revive(context.database) == {}, "and it is known"


@pytest.mark.parametrize(
    ("minutes", "its_job", "outcome"),
    [(0, "dead", "unknown"), (6, "ready", "unknown"), (6, "dead", "done")],
    ids=["on its way", "its job is at work", "nobody finds out"],
)
def test_a_call_is_settled_by_a_look_only_where_it_is_over_and_nobody_else_finds_out(
    context: JobContext, paystack: ScriptedPaystack, minutes: int, its_job: str, outcome: str
) -> None:
    payment = unknown_charge(context, paystack)
    rows(context.database, "UPDATE jobs SET state = %s::job_state", its_job)
    pass_time(context.database, minutes=minutes)
    assert look_now(context, payment) is S.SUCCESS
    assert outcomes(context.database) == [outcome]


def look_now(context: JobContext, payment: Payment) -> PaymentStatus:
    with context.database.connection() as connection:
        verifications.request_look(connection, payment.id, correlation_id="req_now")
    verify_payments(context, job_ids(context.database, "verify_payment"))
    return payment_now(context.database, payment.id).status


def test_a_call_that_never_arrived_is_known_after_a_look(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    paystack.next(resets)
    initialize_payments(context, [payment.id])
    rows(context.database, "DELETE FROM jobs")
    pass_time(context.database, minutes=11)
    assert revive(context.database) == {"unknown_call": 1}
    verify_payments(context, job_ids(context.database, "verify_payment"))
    assert outcomes(context.database) == ["not_sent"]
    assert revive(context.database) == {}


def test_every_unknown_call_is_asked_about_also_where_a_newer_reference_is_paid(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    paystack.next(resets)
    initialize_payments(context, [payment.id])
    rows(context.database, "DELETE FROM jobs")
    rows(context.database, "UPDATE payments SET reference_sequence = 2")
    paystack.transactions[f"{payment.reference}.2"] = transaction_data(payment, reference=f"{payment.reference}.2")
    pass_time(context.database, minutes=11)
    revive(context.database)
    verify_payments(context, job_ids(context.database, "verify_payment"))
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert revive(context.database) == {}


def test_a_charge_that_a_look_has_found_is_not_sent_again_by_a_person_who_retries_its_job(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(charges_and_resets)
    paystack.authorizations[EMAIL] = [CARD]
    charge_payment_methods(context, [payment.id])
    rows(context.database, "UPDATE jobs SET state = 'dead'")
    paystack.transactions[payment.reference]["status"] = "abandoned"
    pass_time(context.database, minutes=11)
    revive(context.database)
    verify_payments(context, job_ids(context.database, "verify_payment"))
    assert outcomes(context.database) == ["done"]
    rows(context.database, "UPDATE jobs SET state = 'ready'")
    paystack.transactions[payment.reference]["status"] = "success"
    charge_payment_methods(context, [payment.id])
    assert charges(paystack) == [payment.reference]
    assert payment_now(context.database, payment.id).status is S.SUCCESS


STRANDED: list[Callable[[JobContext], Any]] = [
    stranded_refund,
    lambda context: stranded_webhook(context.database),
    lambda context: stranded_method(context.database),
]


@pytest.mark.parametrize("strand", STRANDED)
def test_of_two_janitors_at_once_one_revives(context: JobContext, strand: Callable[[JobContext], Any]) -> None:
    strand(context)
    with ThreadPoolExecutor(4) as threads:
        counts = [sum(revived.values()) for revived in threads.map(revive, [context.database] * 8)]
    assert sorted(counts) == [0] * 7 + [1]
    assert len(kinds(context.database)) == 1


@pytest.mark.parametrize("strand", STRANDED)
def test_a_dead_job_is_a_persons(context: JobContext, strand: Callable[[JobContext], Any]) -> None:
    strand(context)
    revive(context.database)
    rows(context.database, "UPDATE jobs SET state = 'dead'")
    assert revive(context.database) == {}


@pytest.mark.parametrize("strand", STRANDED)
def test_a_job_at_work_gets_no_twin_neither_before_nor_after_its_commit(
    context: JobContext, strand: Callable[[JobContext], Any]
) -> None:
    strand(context)
    revive(context.database)
    ((job_id, kind),) = rows(context.database, "SELECT id, kind FROM jobs")
    with context.database.transaction() as tx:
        (job,) = ledger.claim_jobs(tx, kind=JobKind(kind), ids=[job_id], lease_seconds=60)
        assert revive(context.database) == {}
        ledger.finish_jobs(tx, [job])
        tx.execute("UPDATE refunds SET status = 'FAILED'")
        tx.execute("UPDATE webhook_events SET verdict = 'ignored', handled_at = payfleet_now()")
        tx.execute("UPDATE payment_methods SET status = 'INACTIVE'")
        assert revive(context.database) == {}, "its end is not committed yet"
    assert revive(context.database) == {}


@pytest.mark.parametrize("strand", STRANDED)
def test_what_has_just_begun_is_left_alone(context: JobContext, strand: Callable[[JobContext], Any]) -> None:
    strand(context)
    pass_time(context.database, minutes=-2)
    assert revive(context.database) == {}


def test_what_is_stranded_is_found_behind_pages_of_what_is_not(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "_PAGE_ROWS", 2)
    for number in range(5):
        store_webhook(context.database, event_body("charge.success", number))
    rows(context.database, "DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY id DESC LIMIT 1)")
    pass_time(context.database, minutes=6)
    assert revive(context.database) == {"webhook": 1}
    assert len(kinds(context.database)) == 5


def test_a_round_revives_so_many_and_the_next_one_goes_on(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(janitor, "_PAGE_ROWS", 2)
    monkeypatch.setattr(janitor, "_REVIVED_MAX", 2)
    for number in range(5):
        store_webhook(context.database, event_body("charge.success", number))
    forget_jobs(context.database)
    rounds = [revive(context.database).get("webhook", 0) for _ in range(4)]
    assert rounds == [2, 2, 1, 0]
