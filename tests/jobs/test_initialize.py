"""Initializing payments against a real Postgres and a Paystack that misbehaves."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from db import payments as payments_table
from db.clock import advance_test_clock
from db.connection import Database
from domain.errors import ErrorCode, UnavailableError
from domain.ids import reference_of
from domain.payment import Payment, PaymentStatus
from jobs import calls, transactions
from jobs.calls import GatewayThreads
from jobs.context import JobContext
from jobs.initialize import initialize_payments
from jobs.transactions import LEASE_SECONDS
from tests.jobs.scripted_paystack import (
    Held,
    ScriptedPaystack,
    Step,
    does_it_and_resets,
    keeps_book,
    refuses,
    resets,
    says,
)
from tests.patience import eventually
from tests.stories import (
    AUTHORIZATION_CODE,
    EMAIL,
    accept,
    event_types,
    history_of,
    job_ids,
    payment_now,
    rows,
    settings_for,
    transaction_data,
)


def pass_time(database: Database, seconds: float) -> None:
    with database.connection() as connection:
        advance_test_clock(connection, settings=settings_for("postgresql://"), by=timedelta(seconds=seconds))


def run(context: JobContext) -> None:
    """Deliver all jobs there are."""
    initialize_payments(context, job_ids(context.database))


def run_later(context: JobContext) -> None:
    """Deliver all jobs again once their delays are over."""
    pass_time(context.database, 1000)
    run(context)


def job_state(database: Database) -> tuple[Any, ...]:
    (row,) = rows(database, "SELECT state::text, failures, last_error FROM jobs")
    return row


def attempts(database: Database) -> list[tuple[int, str, str]]:
    sql = "SELECT token, reference, outcome::text FROM payment_attempts ORDER BY sent_at, token"
    return [(row[0], row[1].partition(".")[2], row[2]) for row in rows(database, sql)]


def is_payable(database: Database, payment: Payment) -> bool:
    return payment_now(database, payment.id).authorization_url is not None


def test_a_payment_gets_the_url_where_the_customer_pays(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database, metadata={"cart": "7"}, channels=("card",))
    run(context)
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.PENDING
    assert after.authorization_url == f"https://checkout.example/{payment.reference}"
    assert after.access_code == f"ac_{payment.reference}"
    assert after.version == 2
    assert job_ids(context.database) == []
    assert history_of(context.database, payment.id) == [
        ("payment.accepted", "PENDING"),
        ("payment.initialized", "PENDING"),
    ]
    assert event_types(context.database) == ["payment.initiated"]
    assert attempts(context.database) == [(1, "", "done")]
    assert paystack.calls[0].body["email"] == EMAIL
    assert paystack.calls[0].body["callback_url"] == "https://shop.example/thanks"


def test_the_customer_comes_back_through_us_and_else_to_the_payments_own_address(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    for ours in (context.callback_url, None):
        accept(context.database, callback_url="https://mine.example/")
        run(replace(context, callback_url=ours))
    told = [call.body["callback_url"] for call in paystack.calls]
    assert told == ["https://shop.example/thanks", "https://mine.example/"]


def test_a_second_delivery_of_the_same_job_does_nothing(context: JobContext, paystack: ScriptedPaystack) -> None:
    accept(context.database)
    ids = job_ids(context.database)
    initialize_payments(context, ids)
    initialize_payments(context, ids)
    assert len(paystack.calls) == 1
    assert event_types(context.database) == ["payment.initiated"]


def test_a_second_delivery_beside_a_slow_first_one_does_nothing(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    ids = job_ids(context.database)
    held = Held()
    paystack.next(held)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(initialize_payments, context, ids)
        assert held.arrived.wait(10)
        initialize_payments(context, ids)
        held.release.set()
        first.result()
    assert len(paystack.calls) == 1
    assert is_payable(context.database, payment)


def test_after_a_lost_answer_paystack_is_asked_and_what_it_did_gets_a_new_reference(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    paystack.next(does_it_and_resets)
    run(context)
    assert payment_now(context.database, payment.id).status is PaymentStatus.PENDING
    assert job_state(context.database)[:2] == ("ready", 1)
    assert attempts(context.database) == [(1, "", "unknown")]
    run_later(context)
    assert attempts(context.database) == [(1, "", "done"), (2, "", "not_sent")]
    run(context)
    second = reference_of(payment.id, 2)
    assert paystack.asked == [
        ("initialize", payment.reference),
        ("verify", payment.reference),
        ("initialize", second),
    ]
    after = payment_now(context.database, payment.id)
    assert after.authorization_url == f"https://checkout.example/{second}"
    assert after.reference == second
    assert job_ids(context.database) == []


def test_after_a_lost_answer_what_paystack_did_not_do_is_sent_again_under_the_same_reference(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    paystack.next(resets)
    run(context)
    run_later(context)
    assert paystack.asked == [
        ("initialize", payment.reference),
        ("verify", payment.reference),
        ("initialize", payment.reference),
    ]
    assert is_payable(context.database, payment)
    assert attempts(context.database) == [(1, "", "not_sent"), (2, "", "done")]


def test_after_a_lost_answer_a_customer_who_paid_already_has_paid(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    paystack.next(does_it_and_resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment)
    run_later(context)
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.SUCCESS
    assert after.instrument.card_last4 == "4081"
    assert event_types(context.database) == ["payment.succeeded"]
    assert job_ids(context.database) == []


def test_while_verify_gives_no_answer_nothing_is_sent_again(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    paystack.next(resets, resets, says(502, b"<html>"), refuses("Account suspended", None, 403))
    run(context)
    for _ in range(3):
        run_later(context)
    assert [what for what, _ in paystack.asked] == ["initialize", "verify", "verify", "verify"]
    assert attempts(context.database)[0] == (1, "", "unknown")
    run_later(context)
    assert is_payable(context.database, payment)


def test_a_duplicate_reference_means_that_an_earlier_call_landed(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    paystack.transactions[payment.reference] = {"status": "abandoned"}
    run(context)
    run(context)
    assert payment_now(context.database, payment.id).reference == reference_of(payment.id, 2)
    assert is_payable(context.database, payment)


def test_a_duplicate_that_cannot_be_found_is_tried_again(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    paystack.next(refuses("Duplicate Transaction Reference"))
    run(context)
    assert job_state(context.database)[:2] == ("ready", 1)
    run_later(context)
    assert is_payable(context.database, payment)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (refuses("Invalid Email Address Passed"), ErrorCode.PAYSTACK_API_ERROR),
        (refuses("Currency not supported by merchant"), ErrorCode.CURRENCY_NOT_SUPPORTED),
        (refuses("No", "unsupported_currency"), ErrorCode.CURRENCY_NOT_SUPPORTED),
    ],
)
def test_a_refusal_ends_in_a_failed_payment_with_its_code(
    context: JobContext, paystack: ScriptedPaystack, step: Step, code: ErrorCode
) -> None:
    payment = accept(context.database)
    paystack.next(step)
    run(context)
    after = payment_now(context.database, payment.id)
    assert after.status is PaymentStatus.FAILED
    assert after.failure_code == code
    assert event_types(context.database) == ["payment.failed"]
    assert attempts(context.database) == [(1, "", "refused")]
    assert job_ids(context.database) == []


def test_a_spent_quota_postpones_without_counting_a_failure(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    paystack.next(says(429, b"", retry_after="40"))
    run(context)
    assert job_state(context.database) == ("ready", 0, "Paystack's rate limit is reached")
    pass_time(context.database, 39)
    run(context)
    assert len(paystack.calls) == 1
    pass_time(context.database, 25)
    run(context)
    assert [what for what, _ in paystack.asked] == ["initialize", "initialize"], "nothing to ask about"
    assert is_payable(context.database, payment)


def test_a_refused_key_is_tried_again_and_counted(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    paystack.next(refuses("Invalid key", "invalid_Key", 401))
    run(context)
    assert job_state(context.database) == ("ready", 1, "Paystack refuses the secret key")
    run_later(context)
    assert is_payable(context.database, payment)


def test_a_job_that_never_works_is_parked_with_its_last_error(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    paystack.always(payment.reference, refuses("Invalid key", None, 401))
    run(context)
    for _ in range(20):
        run_later(context)
    assert job_state(context.database) == ("dead", 14, "Paystack refuses the secret key")
    assert len(paystack.calls) == 14


def test_an_answer_that_names_another_reference_is_not_believed(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    data = {"authorization_url": "https://x.example", "access_code": "a", "reference": "pf-other"}
    paystack.next(says(200, {"status": True, "data": data}))
    run(context)
    assert not is_payable(context.database, payment)
    assert attempts(context.database) == [(1, "", "unknown")]


def test_a_call_that_raises_harms_only_itself(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, *good = [accept(context.database) for _ in range(4)]
    really = type(context.paystack).initialize

    def breaks_for_one(client: Any, request: Any) -> Any:
        if request.reference == broken.reference:
            raise RuntimeError("a defect of ours")
        return really(client, request)

    with monkeypatch.context() as patch:
        patch.setattr(type(context.paystack), "initialize", breaks_for_one)
        run(context)
    assert all(is_payable(context.database, payment) for payment in good)
    assert job_state(context.database) == ("ready", 1, "initialize_payment: the call raised RuntimeError")
    run_later(context)
    assert is_payable(context.database, broken)


def test_a_settlement_that_raises_harms_only_itself(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "GATHER_SECONDS", 30)  # all four are settled together
    broken, *good = [accept(context.database) for _ in range(4)]
    odd = {"authorization_url": "https://x.example", "access_code": "odd", "reference": broken.reference}
    paystack.always(broken.reference, says(200, {"status": True, "data": odd}))
    rows(context.database, "ALTER TABLE payments ADD CONSTRAINT no_odd CHECK (access_code <> 'odd') NOT VALID")
    try:
        run(context)
    finally:
        rows(context.database, "ALTER TABLE payments DROP CONSTRAINT no_odd")
    assert all(is_payable(context.database, payment) for payment in good)
    assert not is_payable(context.database, broken)
    state, failures, error = job_state(context.database)
    assert (state, failures) == ("ready", 1)
    assert error.startswith("settlement raised ")


def test_a_payment_that_cannot_be_read_harms_only_itself(context: JobContext, paystack: ScriptedPaystack) -> None:
    broken, *good = [accept(context.database) for _ in range(4)]
    # Sealed with a key that was thrown away too early.
    rows(context.database, "UPDATE payments SET email_sealed = 'nonsense' WHERE id = %s", broken.id)
    run(context)
    assert all(is_payable(context.database, payment) for payment in good)
    assert job_state(context.database)[0] in {"ready", "dead"}
    assert broken.reference not in [reference for _, reference in paystack.asked]


def test_a_job_without_its_payment_is_parked(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = accept(context.database)
    rows(context.database, "DELETE FROM payments WHERE id = %s", payment.id)
    run(context)
    assert job_state(context.database) == ("dead", 1, "its payment does not exist")
    assert paystack.calls == []


def test_a_slow_call_delays_no_other_payment_of_its_batch_nor_other_batches(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    slow, *quick = [accept(context.database) for _ in range(8)]
    held = Held()
    paystack.always(slow.reference, held)
    with ThreadPoolExecutor() as threads:
        batch = threads.submit(run, context)
        eventually(lambda: all(is_payable(context.database, payment) for payment in quick))
        others = [accept(context.database) for _ in range(7)]
        initialize_payments(context, job_ids(context.database)[1:])
        assert all(is_payable(context.database, payment) for payment in others)
        assert not batch.done()
        assert not is_payable(context.database, slow)
        held.release.set()
        batch.result()
    assert is_payable(context.database, slow)


def test_a_batch_with_little_left_to_do_keeps_no_seats_it_does_not_use(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    small = replace(context, gateway=GatewayThreads(2))
    done, slow = accept(context.database), accept(context.database)
    ids = job_ids(context.database)
    initialize_payments(small, ids[:1])
    held = Held()
    paystack.always(slow.reference, held)
    with ThreadPoolExecutor() as threads:
        redelivered = threads.submit(initialize_payments, small, ids)  # one of the two is done already
        assert held.arrived.wait(10)
        other = accept(context.database)
        beside = threads.submit(initialize_payments, small, job_ids(context.database)[1:])
        try:
            eventually(lambda: is_payable(context.database, other), seconds=5)
        finally:
            held.release.set()
        beside.result()
        redelivered.result()
    assert is_payable(context.database, done)
    small.gateway.close()


def test_more_jobs_than_threads_are_all_done(context: JobContext, paystack: ScriptedPaystack) -> None:
    some = [accept(context.database) for _ in range(20)]
    run(context)
    assert all(is_payable(context.database, payment) for payment in some)


class Crash(BaseException):
    """The process dies here."""


@contextmanager
def crashing(monkeypatch: pytest.MonkeyPatch, place: str) -> Any:
    def die(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(transactions, place, die)
        yield


def test_after_a_crash_between_the_transactions_the_next_run_asks_first(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = accept(context.database)
    with crashing(monkeypatch, "settle_together"):
        run(context)
    assert attempts(context.database) == [(1, "", "unknown")]
    run(context)
    assert len(paystack.calls) == 1, "the lease still holds"
    pass_time(context.database, LEASE_SECONDS + 1)
    run(context)
    run(context)
    assert [what for what, _ in paystack.asked] == ["initialize", "verify", "initialize"]
    assert payment_now(context.database, payment.id).reference == reference_of(payment.id, 2)
    assert is_payable(context.database, payment)
    assert job_ids(context.database) == []


def test_after_a_crash_before_the_call_the_same_reference_is_sent(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = accept(context.database)
    with crashing(monkeypatch, "partial"):
        run(context)
    assert paystack.calls == []
    pass_time(context.database, LEASE_SECONDS + 1)
    run(context)
    assert paystack.asked == [("verify", payment.reference), ("initialize", payment.reference)]
    assert is_payable(context.database, payment)


@pytest.mark.parametrize("late", [keeps_book, refuses("Invalid Email Address Passed"), resets])
def test_a_run_that_stalled_past_its_lease_writes_nothing(
    context: JobContext, paystack: ScriptedPaystack, late: Step
) -> None:
    payment = accept(context.database)
    ids = job_ids(context.database)
    held = Held(then=late)
    paystack.next(held)
    with ThreadPoolExecutor() as threads:
        stalled = threads.submit(initialize_payments, context, ids)
        assert held.arrived.wait(10)
        pass_time(context.database, LEASE_SECONDS + 1)
        initialize_payments(context, ids)
        before = payment_now(context.database, payment.id)
        assert before.authorization_url is not None
        held.release.set()
        stalled.result()
    assert payment_now(context.database, payment.id) == before
    assert event_types(context.database) == ["payment.initiated"]
    assert job_ids(context.database) == []


def test_while_postgres_is_away_a_settlement_is_not_mistaken_for_a_failure(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = accept(context.database)

    def away(*_: object, **__: object) -> None:
        raise UnavailableError("gone")

    with monkeypatch.context() as patch, pytest.raises(UnavailableError):
        patch.setattr(payments_table, "write_changes", away)
        run(context)
    assert job_state(context.database) == ("sent", 0, None)
    pass_time(context.database, LEASE_SECONDS + 1)
    run(context)
    run(context)
    assert is_payable(context.database, payment)


def test_two_processes_with_the_same_jobs_call_once_each(context: JobContext, paystack: ScriptedPaystack) -> None:
    some = [accept(context.database) for _ in range(16)]
    ids = job_ids(context.database)
    start = threading.Barrier(2)

    def process(order: Sequence[UUID]) -> None:
        start.wait(10)
        initialize_payments(context, order)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(process, [ids, ids[::-1]]))
    assert sorted(reference for _, reference in paystack.asked) == sorted(p.reference for p in some)
    assert all(is_payable(context.database, payment) for payment in some)


def test_a_run_without_anything_to_do_calls_nobody(context: JobContext, paystack: ScriptedPaystack) -> None:
    initialize_payments(context, [])
    accept(context.database)
    initialize_payments(context, [UUID(int=1)])
    assert paystack.calls == []


def test_nobodys_authorization_code_is_kept_of_a_verified_transaction(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = accept(context.database)
    paystack.next(does_it_and_resets)
    run(context)
    paystack.transactions[payment.reference] = transaction_data(payment)
    run_later(context)
    (kept,) = rows(context.database, "SELECT gateway_response::text FROM payments")[0]
    assert "4081" in kept
    assert AUTHORIZATION_CODE not in kept
    assert EMAIL not in kept
