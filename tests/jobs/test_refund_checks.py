"""Looking at refunds that Paystack has: the payment follows what it says, and nothing is waited for in vain."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from db.connection import Database
from db.jobs import enqueue_jobs
from db.refunds import refund_job
from domain.ids import Prefix, show
from domain.jobs import JobKind
from domain.money import Currency
from domain.payment import Payment, PaymentStatus
from domain.refund import Refund, RefundStatus
from jobs import refund_checks
from jobs.context import JobContext
from jobs.refund_checks import LEASE_SECONDS, check_refunds
from jobs.refunds import send_refunds
from tests.jobs.scripted_paystack import ScriptedPaystack, refuses, resets, says
from tests.refunding import ask_refund, pass_time, pay, receive_money, refund_now
from tests.stories import accept, event_types, history_of, job_ids, payment_now, rows, try_to_accept


def send(context: JobContext) -> None:
    send_refunds(context, job_ids(context.database, "send_refund"))


def look(context: JobContext, after: float = 61) -> None:
    pass_time(context.database, after)
    check_refunds(context, job_ids(context.database, "check_refund"))


def at_paystack(context: JobContext, payment: Payment, amount: int | None = None) -> Refund:
    """A refund that Paystack has."""
    refund = ask_refund(context.database, payment, amount)
    send(context)
    return refund_now(context.database, refund.id)


def says_of(paystack: ScriptedPaystack, refund: Refund, **told: Any) -> None:
    (noted,) = [r for r in paystack.refunds if r["id"] == refund.gateway_refund_id]
    noted.update(told)


def sums(database: Database, payment: Payment) -> tuple[PaymentStatus, int, int]:
    now = payment_now(database, payment.id)
    return now.status, now.refunded, now.refunds_reserved


def test_a_payment_is_refunded_once_paystack_has_processed_it(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="processed", refunded_at="2026-03-02T10:00:00.000Z", amount="50000")
    look(context)
    after = refund_now(context.database, refund.id)
    assert after.status is RefundStatus.SUCCESS
    assert after.processed_at == datetime.fromisoformat("2026-03-02T10:00:00Z")
    assert sums(context.database, payment) == (PaymentStatus.REFUNDED, 50_000, 50_000)
    assert job_ids(context.database, "check_refund") == []
    assert event_types(context.database) == ["payment.succeeded", "refund.completed", "refund.initiated"]
    assert try_to_accept(context.database, order_id=payment.order_id) is not None


def test_a_processed_refund_of_a_part_leaves_the_rest_and_holds_its_order(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    first, second = (at_paystack(context, payment, amount) for amount in (20_000, 10_000))
    says_of(paystack, first, status="processed")
    look(context)
    assert sums(context.database, payment) == (PaymentStatus.PARTIALLY_REFUNDED, 20_000, 30_000)
    assert refund_now(context.database, first.id).processed_at is not None
    says_of(paystack, second, status="failed")
    look(context, after=600)
    assert sums(context.database, payment) == (PaymentStatus.PARTIALLY_REFUNDED, 20_000, 20_000)
    assert rows(context.database, "SELECT payment_id, paid FROM live_orders") == [(payment.id, True)]


def test_a_refund_whose_webhooks_never_come_is_looked_at_ever_more_seldom_until_it_is_over(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    refund = at_paystack(context, pay(context.database))
    waits: list[float] = []
    for _ in range(12):
        ((wait,),) = rows(
            context.database, "SELECT extract(epoch FROM run_at - payfleet_now()) FROM jobs WHERE kind = 'check_refund'"
        )
        waits.append(round(float(wait), -1))
        look(context, after=waits[-1] + 10)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (60, 6 * 3600)
    assert rows(context.database, "SELECT max(failures) FROM jobs") == [(0,)]
    says_of(paystack, refund, status="processed")
    look(context, after=6 * 3600)
    assert refund_now(context.database, refund.id).status is RefundStatus.SUCCESS
    assert job_ids(context.database, "check_refund") == []


def test_a_refund_that_needs_attention_calls_for_it_once_and_can_still_go_either_way(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="needs-attention")
    look(context)
    look(context, after=600)
    assert refund_now(context.database, refund.id).status is RefundStatus.NEEDS_ATTENTION
    assert event_types(context.database).count("refund.needs_attention") == 1
    says_of(paystack, refund, status="processing")
    look(context, after=3600)
    says_of(paystack, refund, status="processed")
    look(context, after=3600 * 3)
    assert sums(context.database, payment)[0] is PaymentStatus.REFUNDED
    assert [fact for fact, _ in history_of(context.database, payment.id)][2:] == [
        "refund.requested",
        "refund.processing",
        "refund.needs_attention",
        "refund.processing",
        "refund.succeeded",
    ]


def look_again(context: JobContext, refund: Refund) -> None:
    """Look at a refund that was thought to be over, as an event makes us."""
    with context.database.transaction() as tx:
        enqueue_jobs(tx, [refund_job(JobKind.CHECK_REFUND, refund, "req_event")])
    check_refunds(context, job_ids(context.database, "check_refund"))


def come_back(context: JobContext, paystack: ScriptedPaystack, refund: Refund) -> None:
    """Have the bank return what was processed."""
    says_of(paystack, refund, status="failed")
    look_again(context, refund)


def test_money_that_comes_back_after_all_makes_the_payment_hold_its_order_again(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="processed")
    look(context)
    assert rows(context.database, "SELECT * FROM live_orders") == []
    come_back(context, paystack, refund)
    assert sums(context.database, payment) == (PaymentStatus.SUCCESS, 0, 0)
    assert rows(context.database, "SELECT payment_id, paid FROM live_orders") == [(payment.id, True)]
    after = refund_now(context.database, refund.id)
    assert (after.status, after.processed_at) == (RefundStatus.FAILED, None)
    assert payment_now(context.database, payment.id).review_reason is None


def test_if_another_payment_has_paid_the_order_meanwhile_a_person_is_told(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="processed")
    look(context)
    other = accept(context.database, order_id=payment.order_id)
    receive_money(context.database, other, 7002)
    come_back(context, paystack, refund)
    assert rows(context.database, "SELECT payment_id, paid FROM live_orders") == [(other.id, True)]
    assert payment_now(context.database, payment.id).review_reason == "duplicate_order"
    ((details,),) = rows(context.database, "SELECT details FROM payment_history WHERE fact = 'payment.flagged'")
    assert details["orderPaidBy"] == show(Prefix.PAYMENT, other.id)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"amount": 49_999}, "refund_mismatch"),
        ({"currency": "USD"}, "refund_mismatch"),
    ],
)
def test_a_processed_refund_of_other_money_moves_nothing_and_calls_a_person_once(
    context: JobContext, paystack: ScriptedPaystack, told: dict[str, Any], reason: str
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="processed", **told)
    look(context)
    look(context, after=600)
    assert sums(context.database, payment) == (PaymentStatus.SUCCESS, 0, 50_000)
    assert payment_now(context.database, payment.id).review_reason == reason
    assert event_types(context.database).count("payment.flagged") == 1


def test_a_refund_paid_out_after_it_had_failed_moves_nothing_and_calls_a_person_once(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="failed")
    look(context)
    again = ask_refund(context.database, payment, 30_000)
    for _ in range(2):
        says_of(paystack, refund, status="processed")
        look_again(context, refund)
    assert sums(context.database, payment) == (PaymentStatus.SUCCESS, 0, 30_000)
    assert payment_now(context.database, payment.id).review_reason == "refund_contradicted"
    assert event_types(context.database).count("payment.flagged") == 1
    assert refund_now(context.database, refund.id).status is RefundStatus.FAILED
    assert refund_now(context.database, again.id).status is RefundStatus.PENDING


def test_a_word_that_nobody_has_heard_of_decides_nothing(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="escheated")
    look(context)
    assert refund_now(context.database, refund.id) == refund
    assert len(job_ids(context.database, "check_refund")) == 1


@pytest.mark.parametrize(
    "step",
    [
        resets,
        says(502, b"<html>"),
        refuses("Refund not found", status=404),
        says(429, {"message": "Rate limit exceeded!"}),
        says(200, {"status": True, "data": {"id": 900, "status": "processed", "amount": 50_000}}),
    ],
)
def test_a_look_that_fails_changes_nothing_and_is_made_again(
    context: JobContext, paystack: ScriptedPaystack, step: Any
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    says_of(paystack, refund, status="processed")
    paystack.next(step)
    look(context)
    assert refund_now(context.database, refund.id) == refund
    look(context, after=600)
    assert sums(context.database, payment)[0] is PaymentStatus.REFUNDED


def test_a_stalled_look_that_wakes_up_late_writes_nothing(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    pass_time(context.database, 61)
    says_of(paystack, refund, status="processed")
    stale = [
        refund_checks.look_at(context.paystack, one)
        for one in refund_checks._begin(context, job_ids(context.database, "check_refund"))
    ]
    says_of(paystack, refund, status="failed")
    look(context, after=LEASE_SECONDS + 1)
    with context.database.transaction() as tx:
        refund_checks._settle(context, tx, stale)
    assert sums(context.database, payment) == (PaymentStatus.SUCCESS, 0, 0)
    assert payment_now(context.database, payment.id).review_reason is None


def test_news_of_several_refunds_of_one_payment_in_one_batch_add_up(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database, amount=60_000, currency=Currency.GHS)
    three: Sequence[Refund] = [at_paystack(context, payment, 20_000) for _ in range(3)]
    for refund in three:
        says_of(paystack, refund, status="processed")
    look(context)
    assert sums(context.database, payment) == (PaymentStatus.REFUNDED, 60_000, 60_000)
    versions = rows(
        context.database, "SELECT version FROM payment_history WHERE payment_id = %s ORDER BY 1", payment.id
    )
    assert [version for (version,) in versions] == list(range(1, len(versions) + 1))
