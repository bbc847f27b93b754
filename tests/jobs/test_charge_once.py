"""A saved method is charged once for each intention, whatever is lost, repeated or dies on the way."""

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import pytest

from domain.errors import ErrorCode
from domain.ids import reference_of
from jobs import transactions
from jobs.charge import charge_payment_methods
from jobs.context import JobContext
from jobs.transactions import LEASE_SECONDS
from jobs.webhooks import apply_webhooks
from tests.jobs.charging import (
    CARD,
    S,
    charge,
    charges,
    is_over,
    outcomes,
    run,
    run_later,
    verifications,
)
from tests.jobs.scripted_paystack import Held, ScriptedPaystack, charges_and_resets, resets
from tests.stories import (
    EMAIL,
    accept,
    event_body,
    event_types,
    job_ids,
    payment_now,
    rows,
    save_method,
    store_webhook,
    transaction_data,
)


@pytest.fixture(autouse=True)
def a_card_at_paystack(paystack: ScriptedPaystack) -> None:
    paystack.authorizations[EMAIL] = [CARD]


def test_after_a_lost_answer_a_charge_that_was_made_is_found_and_not_made_again(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(charges_and_resets)
    run(context)
    assert payment_now(context.database, payment.id).status is S.PENDING
    run_later(context)
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert charges(paystack) == [payment.reference]
    assert outcomes(context.database) == ["done", "not_sent"]
    assert is_over(context)


def test_after_a_lost_answer_a_charge_that_was_not_made_is_sent_again_under_the_same_reference(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(resets)
    run(context)
    run_later(context)
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert charges(paystack) == [payment.reference] * 2
    assert len(paystack.transactions) == 1


def test_after_a_lost_answer_a_decline_is_found_and_not_tried_again(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status="failed", gateway_response="Declined")
    run_later(context)
    assert payment_now(context.database, payment.id).failure_code == ErrorCode.PAYMENT_DECLINED
    assert charges(paystack) == [payment.reference]


def test_after_a_lost_answer_a_charge_still_under_way_is_asked_about_later(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status="processing")
    run_later(context)
    assert payment_now(context.database, payment.id).status is S.PROCESSING
    assert len(verifications(context.database)) == 1
    assert charges(paystack) == [payment.reference]


def test_a_charge_that_paystack_is_slow_to_make_is_waited_for(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = charge(context.database)
    paystack.next(resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status="abandoned")  # not paid yet
    for _ in range(3):
        run_later(context, 50)
    assert rows(context.database, "SELECT state::text, failures FROM jobs") == [("ready", 1)], "waiting is no failure"
    paystack.transactions[payment.reference] = transaction_data(payment)
    run_later(context, 50)
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert charges(paystack) == [payment.reference], "charged once"


def test_a_charge_that_waits_for_a_customer_who_cannot_be_sent_to_it_is_made_anew(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment, status="abandoned")  # challenged, URL lost
    run_later(context)
    run(context)
    second = reference_of(payment.id, 2)
    assert charges(paystack) == [payment.reference, second]
    after = payment_now(context.database, payment.id)
    assert (after.status, after.reference) == (S.SUCCESS, second)


def test_a_duplicate_reference_is_looked_into_before_anything_else(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.transactions[payment.reference] = transaction_data(payment)  # an earlier call arrived late
    run(context)
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert paystack.asked == [("charge_authorization", payment.reference), ("verify", payment.reference)]


def test_a_charge_that_landed_unnoticed_is_given_its_time_from_then_on(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.transactions[payment.reference] = transaction_data(payment, status="abandoned")
    run(context)
    run_later(context, 100)
    assert charges(paystack) == [payment.reference]
    assert outcomes(context.database) == ["unknown", "not_sent"]
    run_later(context)
    run(context)
    assert charges(paystack) == [payment.reference, reference_of(payment.id, 2)]


@contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, place: str) -> Generator[None]:
    class CrashError(BaseException):
        """The process dies here."""

    def die(*_: object, **__: object) -> None:
        raise CrashError

    with monkeypatch.context() as patch, pytest.raises(CrashError):
        patch.setattr(transactions, place, die)
        yield


@pytest.mark.parametrize("place", ["partial", "settle_together"])
def test_a_process_that_dies_before_or_after_the_call_leaves_one_charge(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    payment = charge(context.database)
    with crashing(monkeypatch, place):
        run(context)
    run(context)
    assert len(charges(paystack)) <= 1, "the lease still holds"
    run_later(context, LEASE_SECONDS + 1)
    assert payment_now(context.database, payment.id).status is S.SUCCESS
    assert charges(paystack) == [payment.reference]
    assert is_over(context)


def test_the_same_message_twice_charges_once(context: JobContext, paystack: ScriptedPaystack) -> None:
    charge(context.database)
    ids = job_ids(context.database, "charge_payment_method")
    held = Held()
    paystack.next(held)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(charge_payment_methods, context, ids)
        assert held.arrived.wait(10)
        charge_payment_methods(context, ids)
        held.release.set()
        first.result()
    charge_payment_methods(context, ids)
    assert len(charges(paystack)) == 1


def test_two_processes_with_the_same_jobs_charge_each_payment_once(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    method = save_method(context.database)
    some = [accept(context.database, payment_method_id=method.id) for _ in range(12)]
    ids = job_ids(context.database, "charge_payment_method")
    start = threading.Barrier(2)

    def process(order: Sequence[UUID]) -> None:
        start.wait(10)
        charge_payment_methods(context, order)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(process, [ids, ids[::-1]]))
    assert sorted(charges(paystack)) == sorted(payment.reference for payment in some)
    assert {payment_now(context.database, payment.id).status for payment in some} == {S.SUCCESS}


def test_a_webhook_that_outruns_the_answer_pays_the_payment_once(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = charge(context.database)
    paystack.next(charges_and_resets)
    run(context)
    store_webhook(context.database, event_body("charge.success", paystack.transactions[payment.reference]))
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))
    run_later(context)
    assert event_types(context.database) == ["payment.succeeded"]
    assert charges(paystack) == [payment.reference]
    assert is_over(context)
