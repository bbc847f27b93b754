"""Verifying payments: what Paystack says of a transaction, and what becomes of the payment."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from db import payments, verifications
from db.clock import advance_test_clock
from db.connection import Database
from domain.errors import ErrorCode
from domain.ids import reference_of
from domain.payment import Payment, PaymentStatus
from jobs import calls, verify
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.verify import LEASE_SECONDS, verify_payments
from jobs.webhooks import apply_webhooks
from tests.jobs.scripted_paystack import (
    Held,
    ScriptedPaystack,
    Step,
    does_it_and_resets,
    refuses,
    resets,
    says,
)
from tests.patience import eventually
from tests.stories import (
    accept,
    event_body,
    event_types,
    history_of,
    job_ids,
    payment_now,
    rows,
    settings_for,
    store_webhook,
    transaction_data,
)

S = PaymentStatus
UNPAID: dict[str, Any] = {"paid_at": None, "authorization": {}, "channel": None}


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def opened(context: JobContext, **changes: Any) -> Payment:
    """A payment whose customer has a page to pay on."""
    payment = accept(context.database, **changes)
    initialize_payments(context, job_ids(context.database))
    return payment_now(context.database, payment.id)


def ask(database: Database, payment: Payment) -> None:
    with database.connection() as connection:
        verifications.request_look(connection, payment.id, correlation_id="req_ask")


def run(context: JobContext) -> None:
    verify_payments(context, job_ids(context.database, "verify_payment"))


def verified(context: JobContext, payment: Payment) -> Payment:
    """Look once, and read the payment."""
    ask(context.database, payment)
    run(context)
    return payment_now(context.database, payment.id)


def job_state(database: Database) -> tuple[Any, ...]:
    (row,) = rows(database, "SELECT state::text, failures, last_error FROM jobs WHERE kind = 'verify_payment'")
    return row


def test_a_paid_transaction_makes_the_payment_succeed(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment)
    after = verified(context, payment)
    assert after.status is S.SUCCESS
    assert after.instrument.card_last4 == "4081"
    assert after.gateway_status == "success"
    assert after.verified_at is not None
    assert after.verification_error is None
    assert job_ids(context.database, "verify_payment") == []
    assert history_of(context.database, payment.id)[-1] == ("payment.succeeded", "SUCCESS")
    assert rows(
        context.database,
        "SELECT source, correlation_id FROM payment_history WHERE payment_id = %s AND version = 3",
        payment.id,
    ) == [("paystack.verify", "req_ask")]
    assert event_types(context.database) == ["payment.initiated", "payment.succeeded"]


@pytest.mark.parametrize(
    ("word", "in_time", "too_late"),
    [
        ("success", S.SUCCESS, S.SUCCESS),
        ("failed", S.FAILED, S.FAILED),
        ("abandoned", S.PENDING, S.ABANDONED),
        ("ongoing", S.PROCESSING, S.PROCESSING),
        ("pending", S.PROCESSING, S.PROCESSING),
        ("processing", S.PROCESSING, S.PROCESSING),
        ("queued", S.PROCESSING, S.PROCESSING),
        ("reversed", S.SUCCESS, S.SUCCESS),
        ("reversal-pending", S.SUCCESS, S.SUCCESS),
        ("sleeping", S.PENDING, S.PENDING),
    ],
)
@pytest.mark.parametrize("expired", [False, True])
def test_each_word_of_paystack_has_its_meaning(
    context: JobContext,
    paystack: ScriptedPaystack,
    word: str,
    in_time: PaymentStatus,
    too_late: PaymentStatus,
    expired: bool,
) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status=word)
    if expired:
        assert payment.expires_at is not None
        pass_time(context.database, 3600)
    after = verified(context, payment)
    assert after.status is (too_late if expired else in_time)
    assert after.gateway_status == word
    assert after.review_reason == ("reversed" if word == "reversed" else None)
    assert job_ids(context.database, "verify_payment") == [], "what is not final is not asked about for ever"


@pytest.mark.parametrize("changes", [{"amount": 49_999}, {"requested_amount": 1}, {"currency": "USD"}])
def test_money_that_is_not_what_was_asked_is_flagged_and_does_not_pay(
    context: JobContext, paystack: ScriptedPaystack, changes: dict[str, Any]
) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment, **changes)
    after = verified(context, payment)
    assert after.status is S.PENDING
    assert after.review_reason == "amount_mismatch"
    again = verified(context, payment)
    assert again.version == after.version, "flagged once"


def test_a_decline_says_why_and_a_later_success_on_the_same_page_is_found(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = opened(context)
    declined = transaction_data(payment, status="failed", gateway_response="Insufficient Funds", **UNPAID)
    paystack.transactions[payment.reference] = declined
    after = verified(context, payment)
    assert (after.status, after.failure_code) == (S.FAILED, "INSUFFICIENT_FUNDS")
    paystack.transactions[payment.reference] = transaction_data(payment)
    after = verified(context, payment)
    assert (after.status, after.failure_code) == (S.SUCCESS, None)


def test_an_abandoned_payment_that_is_paid_late_succeeds(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = opened(context)
    pass_time(context.database, 3600)
    assert verified(context, payment).status is S.ABANDONED
    assert rows(context.database, "SELECT count(*) FROM live_orders") == [(0,)], "the order may be paid anew"
    paystack.transactions[payment.reference] = transaction_data(payment)
    assert verified(context, payment).status is S.SUCCESS


def test_the_same_answer_twice_is_no_news(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment)
    first = verified(context, payment)
    second = verified(context, payment)
    assert second.version == first.version
    assert event_types(context.database).count("payment.succeeded") == 1
    assert second.verified_at is not None
    assert first.verified_at is not None
    assert second.verified_at > first.verified_at


def given_up(context: JobContext, paystack: ScriptedPaystack) -> Payment:
    """A payment whose first transaction was opened, and its URL lost on the way."""
    paystack.next(does_it_and_resets)
    payment = opened(context)
    pass_time(context.database, 10)
    initialize_payments(context, job_ids(context.database))
    initialize_payments(context, job_ids(context.database))
    payment = payment_now(context.database, payment.id)
    assert payment.reference == reference_of(payment.id, 2)
    paystack.calls.clear()
    return payment


def test_references_given_up_are_asked_about_too_when_the_newest_is_not_paid(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = given_up(context, paystack)
    first = reference_of(payment.id, 1)
    paystack.transactions[first] = transaction_data(payment, reference=first)
    after = verified(context, payment)
    assert after.status is S.SUCCESS
    assert after.gateway_status == "success"
    assert paystack.asked == [("verify", payment.reference), ("verify", first)]


def test_when_the_newest_is_paid_no_older_one_is_asked_about(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = given_up(context, paystack)
    paystack.transactions[payment.reference] = transaction_data(payment, reference=payment.reference)
    assert verified(context, payment).status is S.SUCCESS
    assert paystack.asked == [("verify", payment.reference)]


def test_what_became_of_an_older_reference_does_not_fail_the_payment(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = given_up(context, paystack)
    first = reference_of(payment.id, 1)
    paystack.transactions[first] = transaction_data(payment, reference=first, status="failed", **UNPAID)
    after = verified(context, payment)
    assert after.status is S.PENDING
    assert after.gateway_status == "abandoned", "that of the newest"


def test_a_payment_that_paystack_never_heard_of_is_just_not_paid_yet(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    after = verified(context, payment)
    assert (after.status, after.gateway_status, after.verification_error) == (S.PENDING, None, None)
    pass_time(context.database, 3600)
    assert verified(context, payment).status is S.ABANDONED


FAILURES: dict[str, tuple[Step, ErrorCode]] = {
    "gone": (refuses("Transaction reference not found."), ErrorCode.PAYSTACK_TRANSACTION_NOT_FOUND),
    "reset": (resets, ErrorCode.GATEWAY_ERROR),
    "5xx": (says(503, b""), ErrorCode.GATEWAY_ERROR),
    "garbage": (says(200, b"<html>"), ErrorCode.GATEWAY_ERROR),
    "another reference": (
        says(
            200,
            {
                "status": True,
                "data": {"id": 1, "status": "success", "reference": "x", "amount": 1, "currency": "NGN"},
            },
        ),
        ErrorCode.GATEWAY_ERROR,
    ),
    "refused": (refuses("Account suspended", None, 403), ErrorCode.PAYSTACK_API_ERROR),
    "bad key": (refuses("Invalid key", "invalid_Key", 401), ErrorCode.PAYSTACK_API_ERROR),
}


@pytest.mark.parametrize(("step", "code"), FAILURES.values(), ids=FAILURES.keys())
def test_a_look_that_failed_says_why_and_is_made_again(
    context: JobContext, paystack: ScriptedPaystack, step: Step, code: ErrorCode
) -> None:
    payment = opened(context)
    paystack.next(step)
    after = verified(context, payment)
    assert (after.status, after.gateway_status) == (S.PENDING, None)
    assert after.verification_error == code
    assert after.verified_at is not None
    assert job_state(context.database)[:2] == ("ready", 1)
    paystack.transactions[payment.reference] = transaction_data(payment)
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING, "not before its time"
    pass_time(context.database, 2)
    run(context)
    after = payment_now(context.database, payment.id)
    assert (after.status, after.verification_error) == (S.SUCCESS, None)


def test_a_spent_quota_is_no_look_and_asking_again_does_not_go_round_it(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = opened(context)
    paystack.next(says(429, b"", retry_after="40"))
    after = verified(context, payment)
    assert (after.verified_at, after.verification_error) == (None, None)
    assert job_state(context.database) == ("ready", 0, "Paystack's rate limit is reached")
    calls = len(paystack.calls)
    assert verified(context, payment).verified_at is None
    assert len(paystack.calls) == calls
    pass_time(context.database, 61)
    run(context)
    assert payment_now(context.database, payment.id).verified_at is not None


def test_many_requests_at_once_make_one_look(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = opened(context)
    paystack.calls.clear()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ask(context.database, payment), range(16)))
    run(context)
    assert len(paystack.calls) == 1


def test_a_request_during_a_look_has_it_made_again(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = opened(context)
    held = Held()
    paystack.next(held)
    ask(context.database, payment)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(run, context)
        assert held.arrived.wait(10)
        ask(context.database, payment)
        ask(context.database, payment)
        held.release.set()
        first.result()
    seen = payment_now(context.database, payment.id)
    assert seen.gateway_status == "abandoned"
    assert job_state(context.database) == ("ready", 0, None)
    paystack.transactions[payment.reference] = transaction_data(payment)
    run(context)
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert job_ids(context.database, "verify_payment") == []


def test_a_second_delivery_beside_a_slow_first_one_does_nothing(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = opened(context)
    held = Held()
    paystack.next(held)
    ask(context.database, payment)
    calls = len(paystack.calls)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(run, context)
        assert held.arrived.wait(10)
        run(context)
        held.release.set()
        first.result()
    assert len(paystack.calls) == calls + 1


def test_a_run_that_stalled_until_another_took_over_writes_nothing(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = opened(context)
    declined = says(200, {"status": True, "data": transaction_data(payment, status="failed", **UNPAID)})
    held = Held(then=declined)
    paystack.next(held)
    ask(context.database, payment)
    with ThreadPoolExecutor() as threads:
        stalled = threads.submit(run, context)
        assert held.arrived.wait(10)
        pass_time(context.database, LEASE_SECONDS + 1)
        run(context)
        second = payment_now(context.database, payment.id)
        held.release.set()
        stalled.result()
    after = payment_now(context.database, payment.id)
    assert after == second
    assert (after.status, after.gateway_status) == (S.PENDING, "abandoned")


class Crash(BaseException):
    """The process dies here."""


def test_after_a_crash_the_look_is_made_again(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = opened(context)
    paystack.transactions[payment.reference] = transaction_data(payment)
    ask(context.database, payment)

    def die(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(verify, "settle_together", die)
        run(context)
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING, "the lease still holds"
    pass_time(context.database, LEASE_SECONDS + 1)
    run(context)
    assert payment_now(context.database, payment.id).status is S.SUCCESS


def test_a_look_that_raises_harms_only_itself(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, *good = [opened(context) for _ in range(4)]
    really = type(context.paystack).verify

    def breaks_for_one(client: Any, reference: str) -> Any:
        if reference == broken.reference:
            raise RuntimeError("a defect of ours")
        return really(client, reference)

    for payment in [broken, *good]:
        paystack.transactions[payment.reference] = transaction_data(payment, id=hash(payment.id) % 2**62)
        ask(context.database, payment)
    with monkeypatch.context() as patch:
        patch.setattr(type(context.paystack), "verify", breaks_for_one)
        run(context)
    assert all(payment_now(context.database, payment.id).status is S.SUCCESS for payment in good)
    after = payment_now(context.database, broken.id)
    assert (after.status, after.verification_error) == (S.PENDING, ErrorCode.INTERNAL_ERROR)
    assert job_state(context.database) == ("ready", 1, "the look raised RuntimeError")


def test_looks_lock_their_payments_in_the_order_everybody_does(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "GATHER_SECONDS", 30)  # both are settled together
    first, second = sorted((opened(context) for _ in range(2)), key=lambda payment: payment.id)
    paystack.always(first.reference, resets)  # it has no fact, only its note
    for payment in (first, second):
        ask(context.database, payment)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as threads:
        with context.database.transaction() as tx:
            payments.lock_payments(tx, [first.id])
            looking = threads.submit(run, context)
            eventually(lambda: rows(context.database, waiting) == [(1,)])
            payments.lock_payments(tx, [second.id])
        looking.result()
    assert payment_now(context.database, first.id).verification_error == ErrorCode.GATEWAY_ERROR
    assert payment_now(context.database, second.id).gateway_status == "abandoned"


def test_a_job_without_its_payment_is_parked(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = opened(context)
    ask(context.database, payment)
    rows(context.database, "DELETE FROM payments WHERE id = %s", payment.id)
    run(context)
    assert job_state(context.database) == ("dead", 1, "its payment does not exist")
    ask(context.database, payment)
    assert len(job_ids(context.database, "verify_payment")) == 2, "a dead job holds nobody up"


def test_webhook_and_look_at_once_pay_the_payment_once(context: JobContext, paystack: ScriptedPaystack) -> None:
    some = [opened(context) for _ in range(12)]
    for number, payment in enumerate(some, 1):
        data = transaction_data(payment, id=number)
        paystack.transactions[payment.reference] = data
        store_webhook(context.database, event_body("charge.success", data))
        ask(context.database, payment)
    webhooks = job_ids(context.database, "apply_webhook")
    start = threading.Barrier(3)

    def apply(ids: list[UUID]) -> None:
        start.wait()
        apply_webhooks(context, ids)

    def look() -> None:
        start.wait()
        run(context)

    with ThreadPoolExecutor() as threads:
        done = [threads.submit(apply, webhooks[::-1]), threads.submit(apply, webhooks), threads.submit(look)]
        for each in done:
            each.result()
    assert all(payment_now(context.database, payment.id).status is S.SUCCESS for payment in some)
    assert event_types(context.database).count("payment.succeeded") == len(some)
    assert rows(context.database, "SELECT count(*) FROM jobs") == [(0,)]
