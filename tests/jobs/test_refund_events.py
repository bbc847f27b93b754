"""Events about refunds: in whatever shape and order they come, Paystack is asked, and only its answer counts."""

from typing import Any

import pytest

from db.connection import Database
from domain.payment import Payment, PaymentStatus
from domain.refund import Refund, RefundStatus
from jobs.context import JobContext
from jobs.refund_checks import check_refunds
from jobs.refunds import send_refunds
from jobs.webhooks import apply_webhooks
from tests.jobs.scripted_paystack import ScriptedPaystack, refunds_and_resets
from tests.refunding import ask_refund, pass_time, pay, refund_now
from tests.stories import event_body, event_types, job_ids, payment_now, rows, store_webhook, transaction_data


def event(name: str, payment: Payment, **changes: Any) -> bytes:
    """An event as Paystack publishes it: no refund id, and an amount that is a text."""
    data = {
        "status": name.partition(".")[2],
        "transaction_reference": payment.reference,
        "refund_reference": None,
        "amount": "50000",
        "currency": "NGN",
        "processor": "instant-transfer",
        "customer": {"first_name": "Ada", "last_name": "Lovelace", "email": "ada.lovelace@example.com"},
        "integration": 412829,
        "domain": "test",
        **changes,
    }
    return event_body(name, data)


def receive(context: JobContext, *bodies: bytes) -> None:
    for body in bodies:
        store_webhook(context.database, body)
    apply_webhooks(context, job_ids(context.database, "apply_webhook"))


def verdicts(database: Database) -> list[tuple[str, str | None]]:
    sql = "SELECT verdict::text, reason FROM webhook_events ORDER BY received_at, id"
    return [(row[0], row[1]) for row in rows(database, sql)]


def look_and_send(context: JobContext) -> None:
    """Run what is due."""
    check_refunds(context, job_ids(context.database, "check_refund"))
    send_refunds(context, job_ids(context.database, "send_refund"))


def at_paystack(context: JobContext, payment: Payment, amount: int | None = None) -> Refund:
    refund = ask_refund(context.database, payment, amount)
    send_refunds(context, job_ids(context.database, "send_refund"))
    return refund_now(context.database, refund.id)


def test_an_event_has_paystack_asked_at_once(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    paystack.refunds[0]["status"] = "processed"
    receive(context, event("refund.processed", payment))
    assert refund_now(context.database, refund.id).status is RefundStatus.PROCESSING
    look_and_send(context)
    assert refund_now(context.database, refund.id).status is RefundStatus.SUCCESS
    assert verdicts(context.database) == [("applied", "Paystack is asked about it")]


def test_an_event_alone_moves_nothing_whatever_it_claims(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    receive(context, event("refund.processed", payment, amount="1", currency="USD"), event("refund.failed", payment))
    look_and_send(context)
    assert refund_now(context.database, refund.id) == refund
    assert payment_now(context.database, payment.id).refunds_reserved == 50_000


@pytest.mark.parametrize(
    "names",
    [
        ["refund.pending", "refund.processing", "refund.processed"],
        ["refund.processed", "refund.processing", "refund.pending"],
        ["refund.processed", "refund.needs-attention", "refund.failed", "transfer.failed", "transfer.success"],
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_in_whatever_order_events_come_the_refund_is_what_paystack_says(
    context: JobContext, paystack: ScriptedPaystack, names: list[str], together: bool
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    paystack.refunds[0]["status"] = "processed"
    bodies = [event(name, payment, n=n) for n, name in enumerate([*names, *names])]  # each of them twice
    for batch in [bodies] if together else [[body] for body in bodies]:
        receive(context, *batch)
        look_and_send(context)
    assert refund_now(context.database, refund.id).status is RefundStatus.SUCCESS
    assert payment_now(context.database, payment.id).status is PaymentStatus.REFUNDED
    assert event_types(context.database) == ["payment.succeeded", "refund.completed", "refund.initiated"]
    assert job_ids(context.database, "check_refund") == []


def test_many_events_make_one_look(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    at_paystack(context, payment)
    receive(context, *(event("refund.processed", payment, n=n) for n in range(10)))
    assert len(job_ids(context.database, "check_refund")) == 1


def test_an_event_brings_the_search_for_a_lost_refund_forward(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    refund = ask_refund(context.database, payment)
    paystack.next(refunds_and_resets)
    send_refunds(context, job_ids(context.database, "send_refund"))
    # As after many fruitless tries: nobody works on it any more.
    rows(context.database, "UPDATE jobs SET state = 'dead' WHERE kind = 'send_refund'")
    receive(context, event("refund.pending", payment))
    look_and_send(context)
    assert refund_now(context.database, refund.id).gateway_refund_id == 900
    assert len(paystack.refunds) == 1


def test_a_failure_after_success_is_looked_at_and_the_money_is_the_merchants_again(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    refund = at_paystack(context, payment)
    for status in ("processed", "failed"):
        paystack.refunds[0]["status"] = status
        receive(context, event(f"refund.{status}", payment))
        look_and_send(context)
    assert refund_now(context.database, refund.id).status is RefundStatus.FAILED
    now = payment_now(context.database, payment.id)
    assert (now.status, now.refundable) == (PaymentStatus.SUCCESS, 50_000)


def test_a_success_after_failure_calls_a_person(context: JobContext, paystack: ScriptedPaystack) -> None:
    payment = pay(context.database)
    at_paystack(context, payment)
    for status in ("failed", "processed"):
        paystack.refunds[0]["status"] = status
        receive(context, event(f"refund.{status}", payment))
        look_and_send(context)
    now = payment_now(context.database, payment.id)
    assert (now.status, now.review_reason) == (PaymentStatus.SUCCESS, "refund_contradicted")


def test_every_refund_that_an_event_could_mean_is_looked_at_and_no_other(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment, other = pay(context.database), pay(context.database, transaction_id=7002)
    done, open_one, refused = (at_paystack(context, payment, amount) for amount in (10_000, 5_000, 6_000))
    at_paystack(context, other)
    for refund, status in ((done, "processed"), (refused, "failed")):
        paystack.refunds[refund.gateway_refund_id - 900 if refund.gateway_refund_id else 0]["status"] = status
    pass_time(context.database, 61)
    look_and_send(context)
    paystack.calls.clear()
    receive(context, event("refund.processing", payment), event("refund.needs-attention", payment, id="901"))
    look_and_send(context)
    assert [call.path for call in paystack.calls] == [f"/refund/{open_one.gateway_refund_id}"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (event_body("transfer.success", {"reference": "1976435206", "domain": "test"}), "unknown reference"),
        (event_body("transfer.failed", {"id": 1}), "unknown reference"),
        (event_body("refund.failed", []), "an event Payfleet does not act on"),
        (event_body("refund.failed", {"transaction_reference": 7}), "unknown reference"),
        (event_body("refund.unheard-of", {}), "an event Payfleet does not act on"),
    ],
)
def test_events_that_are_none_of_our_business_are_ignored_with_the_reason(
    context: JobContext, body: bytes, reason: str
) -> None:
    receive(context, body)
    assert verdicts(context.database) == [("ignored", reason)]


def test_events_of_the_other_domain_and_of_payments_without_refunds_are_ignored(context: JobContext) -> None:
    payment = pay(context.database)
    receive(context, event("refund.processed", payment, domain="live"), event("refund.processed", payment))
    assert verdicts(context.database) == [
        ("ignored", "an event of the live domain"),
        ("ignored", "no refund of ours that it could tell something new of"),
    ]


def test_a_charge_and_a_refund_of_one_payment_are_told_in_one_batch(
    context: JobContext, paystack: ScriptedPaystack
) -> None:
    payment = pay(context.database)
    at_paystack(context, payment)
    charge = event_body("charge.success", transaction_data(payment, id=7001))
    receive(context, event("refund.processed", payment), charge)
    assert [verdict for verdict, _ in verdicts(context.database)] == ["applied", "ignored"]
