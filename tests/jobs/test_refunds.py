"""Sending refunds to a Paystack that misbehaves: each is sent once, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from db import payments
from db import refunds as refunds_table
from db.connection import Database
from domain.errors import ErrorCode, UnavailableError
from domain.refund import RefundNews, RefundStatus
from domain.retry import Failure, FailureKind
from jobs import refunds
from jobs.context import JobContext
from jobs.paystack.answers import Done
from jobs.refunds import LEASE_SECONDS, send_refunds
from tests.jobs.scripted_paystack import Held, ScriptedPaystack, refunds_and_resets, refuses, resets, says
from tests.patience import eventually
from tests.refunding import ask_refund, is_unsettled, pass_time, pay, refund_now
from tests.stories import event_types, history_of, job_ids, payment_now, rows

ELEVEN_MINUTES = 660


def send(context: JobContext) -> None:
    """Deliver all jobs there are that send refunds."""
    send_refunds(context, job_ids(context.database, "send_refund"))


def send_after(context: JobContext, seconds: float) -> None:
    pass_time(context.database, seconds)
    send(context)


def bring_forward(database: Database) -> None:
    """Let what waits for its time be due at once."""
    rows(database, "UPDATE jobs SET run_at = payfleet_now() WHERE state = 'ready'")


def job_of_sending(database: Database) -> tuple[Any, ...]:
    (row,) = rows(database, "SELECT state::text, failures, last_error FROM jobs WHERE kind = 'send_refund'")
    return row


def posts(paystack: ScriptedPaystack) -> int:
    return sum(call.method == "POST" for call in paystack.calls)


def test_a_refund_is_sent_with_the_number_of_its_transaction_its_amount_and_our_id_in_the_note(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    refund = ask_refund(context.database, payment, 20_000, reason="broken")
    send(context)
    assert [call.body for call in paystack.calls] == [
        {
            "transaction": 7001,
            "amount": 20_000,
            "currency": "NGN",
            "merchant_note": refund.note,
            "customer_note": "broken",
        }
    ]
    after = refund_now(context.database, refund.id)
    assert (after.status, after.gateway_refund_id, after.version) == (RefundStatus.PROCESSING, 900, 2)
    assert not is_unsettled(context.database, refund)
    assert job_ids(context.database, "send_refund") == []
    assert len(job_ids(context.database, "check_refund")) == 1
    assert history_of(context.database, payment.id)[2:] == [
        ("refund.requested", "SUCCESS"),
        ("refund.processing", "SUCCESS"),
    ]
    assert event_types(context.database) == ["payment.succeeded", "refund.initiated"]


def test_of_the_answer_nothing_personal_is_kept(context: JobContext) -> None:
    ask_refund(context.database, pay(context.database), reason="for ada.lovelace@example.com")
    send(context)
    ((kept,),) = rows(context.database, "SELECT gateway_response FROM refunds")
    assert kept == {"id": 900, "domain": "test", "status": "pending", "amount": 50_000, "currency": "NGN"}


def test_the_call_is_on_record_before_it_is_made(context: JobContext, paystack: ScriptedPaystack) -> None:
    refund = ask_refund(context.database, pay(context.database))
    on_record: list[bool] = []
    paystack.next(lambda exchange: (on_record.append(is_unsettled(context.database, refund)), resets(exchange))[0])
    send(context)
    assert on_record == [True]


def test_a_second_delivery_of_the_same_job_does_nothing(context: JobContext, paystack: ScriptedPaystack) -> None:
    ask_refund(context.database, pay(context.database))
    ids = job_ids(context.database, "send_refund")
    send_refunds(context, ids)
    send_refunds(context, ids)
    assert posts(paystack) == 1


def test_a_second_delivery_beside_a_slow_first_one_does_nothing(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    ids = job_ids(context.database, "send_refund")
    held = Held()
    paystack.next(held)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(send_refunds, context, ids)
        assert held.arrived.wait(10)
        send_refunds(context, ids)
        held.release.set()
        first.result()
    assert posts(paystack) == 1
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING


def test_after_a_lost_answer_the_list_is_searched_and_what_is_found_is_adopted(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    for _ in range(3):  # refunds of others, so that ours is on the second page
        paystack.refund({"transaction": 7001, "amount": 100, "currency": "NGN", "merchant_note": "by hand"})
    refund = ask_refund(context.database, payment, 20_000)
    paystack.next(refunds_and_resets)
    send(context)
    assert refund_now(context.database, refund.id).status is RefundStatus.PENDING
    assert is_unsettled(context.database, refund)
    send_after(context, 5)
    after = refund_now(context.database, refund.id)
    assert (after.status, after.gateway_refund_id) == (RefundStatus.PROCESSING, 903)
    assert posts(paystack) == 1
    assert not is_unsettled(context.database, refund)
    assert [call.path for call in paystack.calls[1:]] == [
        f"/refund?transaction=7001&perPage=100&page={page}" for page in (1, 2, 3)
    ]


def test_a_run_that_dies_before_its_call_is_searched_for_and_sent_again_only_after_ten_minutes(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    refunds._begin(context, job_ids(context.database, "send_refund"))  # and then the process dies
    for _ in range(6):
        send_after(context, 95)
        bring_forward(context.database)
    assert len(paystack.calls) == 6  # searches, in nine and a half minutes
    assert is_unsettled(context.database, refund)
    send_after(context, 95)
    assert not is_unsettled(context.database, refund)
    assert posts(paystack) == 0
    send_after(context, 2)
    assert posts(paystack) == 1
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING


def test_three_searches_are_needed_however_late_they_come(context: JobContext, paystack: ScriptedPaystack) -> None:
    ask_refund(context.database, pay(context.database))
    paystack.next(resets)
    send(context)
    for searches in (1, 2, 3):
        send_after(context, ELEVEN_MINUTES)
        assert (posts(paystack), len(paystack.calls)) == (1, 1 + searches)
    send_after(context, 2)
    assert posts(paystack) == 2


def test_a_run_that_dies_after_its_call_finds_what_it_did(context: JobContext, paystack: ScriptedPaystack) -> None:
    refund = ask_refund(context.database, pay(context.database))
    for work in refunds._begin(context, job_ids(context.database, "send_refund")):
        refunds.send_one(context, work)  # and then the process dies
    send_after(context, LEASE_SECONDS + 1)
    assert posts(paystack) == 1
    assert refund_now(context.database, refund.id).gateway_refund_id == 900


def test_a_second_sending_that_is_lost_too_needs_its_own_searches(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    ask_refund(context.database, pay(context.database))
    paystack.next(resets)
    send(context)
    for _ in range(3):
        send_after(context, ELEVEN_MINUTES)
    paystack.next(resets)
    send_after(context, 2)
    for _ in range(3):
        assert posts(paystack) == 2
        send_after(context, ELEVEN_MINUTES)
    send_after(context, 2)
    assert posts(paystack) == 3


def test_a_stalled_run_that_wakes_up_late_changes_nothing_by_its_answer(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    stalled = refunds._begin(context, job_ids(context.database, "send_refund"))
    paystack.refund({"transaction": 7001, "amount": 50_000, "currency": "NGN", "merchant_note": refund.note})
    send_after(context, LEASE_SECONDS + 1)
    refusal = RefundNews(status=RefundStatus.FAILED, code=ErrorCode.PAYSTACK_API_ERROR)
    with context.database.transaction() as tx:
        refunds._settle(context, tx, [refunds.Settlement(work, refusal) for work in stalled])
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING


def test_a_stalled_run_that_wakes_up_late_writes_nothing(context: JobContext, paystack: ScriptedPaystack) -> None:
    refund = ask_refund(context.database, pay(context.database))
    stalled = refunds._begin(context, job_ids(context.database, "send_refund"))
    not_now = Failure(FailureKind.UNAVAILABLE, "not now", 1)
    late = [refunds.Settlement(work, refunds.Unfinished(failure=not_now, not_sent=True)) for work in stalled]
    paystack.next(resets)
    send_after(context, LEASE_SECONDS + 1)
    with context.database.transaction() as tx:
        refunds._settle(context, tx, late)
    assert is_unsettled(context.database, refund)


def test_without_the_switch_a_person_is_called_instead(context: JobContext, paystack: ScriptedPaystack) -> None:
    careful = replace(context, resend_refunds=False)
    payment = pay(context.database)
    refund = ask_refund(context.database, payment)
    paystack.next(resets)
    send(careful)
    for _ in range(3):
        send_after(careful, ELEVEN_MINUTES)
    state, _, error = job_of_sending(context.database)
    assert state == "dead"
    assert "ENABLE_REFUND_RESEND" in error
    assert payment_now(context.database, payment.id).review_reason == "refund_unsettled"
    assert "payment.flagged" in event_types(context.database)
    assert posts(paystack) == 1
    assert is_unsettled(context.database, refund)


@pytest.mark.parametrize("trouble", [says(500, b"<html>"), refuses("Not now", status=403), says(200, {"status": True})])
def test_a_search_that_fails_proves_nothing(context: JobContext, paystack: ScriptedPaystack, trouble: Any) -> None:
    ask_refund(context.database, pay(context.database))
    paystack.next(resets, trouble, trouble, trouble, trouble)
    send(context)
    for _ in range(4):
        send_after(context, ELEVEN_MINUTES)
    assert posts(paystack) == 1


def test_what_was_surely_not_sent_is_sent_again_soon(context: JobContext, paystack: ScriptedPaystack) -> None:
    refund = ask_refund(context.database, pay(context.database))
    paystack.next(says(429, {"status": False, "message": "Rate limit exceeded!"}, retry_after="3"))
    send(context)
    assert not is_unsettled(context.database, refund)
    assert job_of_sending(context.database)[:2] == ("ready", 0)
    send_after(context, 10)
    assert posts(paystack) == 2
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (refuses("Transaction has been fully reversed", "transaction_reversed"), ErrorCode.REFUND_NOT_ALLOWED),
        (
            refuses("Total refund amount cannot exceed original transaction amount"),
            ErrorCode.PARTIAL_REFUND_EXCEEDS,
        ),
        (refuses("Insufficient balance to fulfill this refund."), ErrorCode.PAYSTACK_API_ERROR),
    ],
)
def test_a_refused_refund_fails_with_paystacks_words_and_lets_go_of_its_money(
    context: JobContext, paystack: ScriptedPaystack, refusal: Any, code: ErrorCode
) -> None:
    payment = pay(context.database)
    refund = ask_refund(context.database, payment)
    paystack.next(refusal)
    send(context)
    after = refund_now(context.database, refund.id)
    assert (after.status, after.failure_code) == (RefundStatus.FAILED, code)
    assert after.failure_message
    assert payment_now(context.database, payment.id).refundable == 50_000
    assert job_ids(context.database, "send_refund") == job_ids(context.database, "check_refund") == []
    assert event_types(context.database)[-1] == "refund.initiated"
    assert "refund.failed" in event_types(context.database)


def test_a_refusal_for_want_of_money_that_an_earlier_call_of_ours_took_is_no_failure(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = ask_refund(context.database, pay(context.database))
    paystack.next(resets)
    send(context)
    for _ in range(3):
        send_after(context, ELEVEN_MINUTES)
    paystack.refund({"transaction": 7001, "amount": 50_000, "currency": "NGN", "merchant_note": refund.note})
    paystack.next(refuses("Transaction has been fully reversed", "transaction_reversed"))
    send_after(context, 2)
    after = refund_now(context.database, refund.id)
    assert (after.status, after.gateway_refund_id) == (RefundStatus.PROCESSING, 900)


def test_while_one_refund_of_a_transaction_is_unsettled_no_other_is_sent(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    both = [ask_refund(context.database, payment, amount) for amount in (10_000, 20_000)]
    paystack.next(refunds_and_resets)
    send(context)
    (waiting,) = [refund for refund in both if not is_unsettled(context.database, refund)]
    state = "SELECT failures, last_error FROM jobs WHERE id = %s"
    assert rows(context.database, state, waiting.id) == [(0, "another refund of its payment goes first")]
    send_after(context, 5)
    send_after(context, 30)
    assert posts(paystack) == 2
    assert sorted(r["amount"] for r in paystack.refunds) == [10_000, 20_000]


def test_nothing_is_sent_beside_a_refund_that_another_process_searches_for(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    ask_refund(context.database, payment, 10_000)
    paystack.next(refunds_and_resets)
    send(context)
    second = ask_refund(context.database, payment, 20_000)
    send_refunds(context, [second.id])
    assert (posts(paystack), is_unsettled(context.database, second)) == (1, False)


def test_which_refund_goes_first_is_decided_under_the_lock_of_the_payment(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    ask_refund(context.database, payment)
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor() as threads:
        with context.database.transaction() as tx:
            payments.lock_payments(tx, [payment.id])
            sending = threads.submit(send, context)
            eventually(lambda: rows(context.database, waiting))
            assert paystack.calls == []
        sending.result()
    assert posts(paystack) == 1


def test_a_list_that_shows_refunds_of_other_transactions_is_filtered(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    of_two = [{"id": n, "transaction": n, "status": "pending", "amount": "100", "currency": "NGN"} for n in (1, 2)]
    paystack.next(*[says(200, {"status": True, "message": "Refunds retrieved", "data": of_two})] * 2)
    answer = context.paystack.list_refunds(2)
    assert isinstance(answer, Done)
    assert [found.refund.id for found in answer.data] == [2]


def test_two_jobs_of_one_refund_send_it_once(context: JobContext, paystack: ScriptedPaystack) -> None:
    refund = ask_refund(context.database, pay(context.database))
    rows(
        context.database,
        """
        INSERT INTO jobs (id, kind, queue, payload, run_at, correlation_id, created_at)
        SELECT gen_random_uuid(), kind, queue, payload, run_at, correlation_id, created_at FROM jobs WHERE id = %s
        """,
        refund.id,
    )
    send(context)
    send_after(context, 5)
    assert posts(paystack) == 1
    assert job_ids(context.database, "send_refund") == []


def test_one_refund_that_cannot_be_written_does_not_harm_its_neighbours(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (ask_refund(context.database, pay(context.database, transaction_id=n)) for n in (7001, 7002))
    write = refunds_table.write_refunds

    def fail_for_one(tx: Any, changes: Any) -> None:
        assert all(change.after.id != bad.id for change in changes)
        write(tx, changes)

    monkeypatch.setattr(refunds_table, "write_refunds", fail_for_one)
    send(context)
    assert refund_now(context.database, good.id).status is RefundStatus.PROCESSING
    assert refund_now(context.database, bad.id).status is RefundStatus.PENDING
    monkeypatch.undo()
    send_after(context, 5)
    assert refund_now(context.database, bad.id).status is RefundStatus.PROCESSING
    assert posts(paystack) == 2


def test_a_database_that_goes_away_after_the_call_costs_a_search_not_a_second_refund(
    context: JobContext, paystack: ScriptedPaystack, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = ask_refund(context.database, pay(context.database))

    def gone(*_: object) -> None:
        raise UnavailableError("gone")

    monkeypatch.setattr(refunds, "_settle", gone)
    with pytest.raises(UnavailableError):
        send(context)
    monkeypatch.undo()
    send_after(context, LEASE_SECONDS + 1)
    assert posts(paystack) == 1
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING
